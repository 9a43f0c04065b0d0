"""How the tests in containers call the suite, and what they look for on the machine afterwards."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import docker
from docker.models.containers import Container
from docker.models.networks import Network

from conformance.containers import engine
from conformance.report.model import Report, decode

Found = TypeVar("Found")

AGENT, NEXT_AGENT = "proxyproof/agent:py3.11", "proxyproof/agent:py3.13"
_DEADLINE_SECONDS = 120.0


def command(report: Path, *arguments: str, image: str = AGENT) -> list[str]:
    """The command line that judges an image."""
    return [
        *(sys.executable, "-m", "proxyproof", "run", "--target", "container", "--image", image),
        *("--next-image", image if image != AGENT else NEXT_AGENT, "--report", str(report), *arguments),
    ]


def judge(report: Path, *arguments: str, image: str = AGENT) -> tuple[int, Report]:
    """Judge an image to the end: the exit code and the report."""
    finished = subprocess.run(
        command(report, *arguments, image=image), stdout=subprocess.PIPE, text=True, check=False
    )
    print(finished.stdout)  # pytest shows it with a failure
    return finished.returncode, decode((report / "report.json").read_bytes())


def until(found: Callable[[], Found]) -> Found:
    """Wait for something true."""
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while not (result := found()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)
    return result


def runs_of(client: docker.DockerClient, folder: Path) -> Sequence[str]:
    """The folders of runs below that folder which have containers or networks now."""
    containers = client.containers.list(all=True, filters={"label": engine.RUN}, sparse=True)
    return sorted({*at_work(client, folder), *_below(folder, containers)})


def at_work(client: docker.DockerClient, folder: Path) -> Sequence[str]:
    """Those of which a check runs now, for it has a network."""
    return _below(folder, client.networks.list(filters={"label": engine.RUN}))


def _below(folder: Path, found: Iterable[Container | Network]) -> Sequence[str]:
    names = {one.attrs["Labels"][engine.RUN] for one in found}
    return sorted(name for name in names if name.startswith(str(folder)))
