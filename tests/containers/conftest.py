"""These take a container engine and root, and say loudly that they were not run where one of them is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing

import docker
import pytest

from conformance.containers import engine
from conformance.containers.engine import EngineError

_REASON = pytest.StashKey[str]()


def _missing() -> str:
    if os.geteuid() != 0:
        return "the suite looks into containers as root only"
    try:
        engine.connect().close()
    except EngineError as error:
        return str(error)
    return ""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    here = [item for item in items if item.path.parent.name == "containers"]
    if here and (reason := _missing()):
        config.stash[_REASON] = reason
        for item in here:
            item.add_marker(pytest.mark.skip(reason=f"NOT RUN: {reason}"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if reason := config.stash.get(_REASON, ""):
        terminalreporter.section("NOTHING WAS RUN IN CONTAINERS", sep="!", red=True)
        terminalreporter.line(reason)


@pytest.fixture(scope="session")
def client() -> Iterator[docker.DockerClient]:
    with closing(engine.connect()) as connected:
        yield connected


@pytest.fixture(scope="session")
def images(client: docker.DockerClient) -> None:
    """The suite's own images, built as the command builds them."""
    command = [sys.executable, "-m", "proxyproof", "images", "build", "--offline"]
    subprocess.run(command, check=True)
