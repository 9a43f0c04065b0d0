"""Bases for images where no registry answers: Debian, made on this machine by mmdebstrap.

They are made once, and used until they are removed (``proxyproof images remove``).
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import docker
from docker.errors import ImageNotFound

from conformance.containers.engine import EngineError

REPOSITORY = "proxyproof/base"
_QUOTED_LINES = 5
#: What no container of the suite reads, and a dpkg that does not wait for the disk: it is a tar in the end.
_OPTIONS = (
    "--variant=minbase",
    "--dpkgopt=force-unsafe-io",
    *(f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in ("doc", "info", "locale", "man")),
)


@dataclass(frozen=True, kw_only=True)
class Base:
    """A release of Debian, and what the images upon it need of it: a build has no network."""

    suite: str
    packages: tuple[str, ...]

    @property
    def image(self) -> str:
        """The name of the image."""
        return f"{REPOSITORY}:{self.suite}"


def make(client: docker.DockerClient, base: Base) -> None:
    """Make the image of a base unless there is one. Raises :class:`EngineError` when it cannot be made."""
    try:
        client.images.get(base.image)
    except ImageNotFound:
        pass
    else:
        return
    if shutil.which("mmdebstrap") is None:
        raise EngineError("images are built offline upon a base from mmdebstrap, which is not installed here")
    with tempfile.TemporaryDirectory(prefix="proxyproof-base-") as folder:
        archive = Path(folder) / f"{base.suite}.tar"
        _run(command(base, archive, mirror=_mirror()))
        client.api.import_image_from_file(str(archive), repository=REPOSITORY, tag=base.suite)


def command(base: Base, archive: Path, *, mirror: str) -> list[str]:
    """How the archive of a base is made; ``mirror`` may be empty."""
    return [
        "mmdebstrap",
        *_OPTIONS,
        f"--include={','.join(base.packages)}",
        base.suite,
        str(archive),
        *([mirror] if mirror else []),
    ]


def _mirror() -> str:
    """Where the package manager of this machine takes Debian from; empty where it does not say."""
    asked = ["apt-get", "indextargets", "--format", "$(SITE)", "Identifier: Packages", "Origin: Debian"]
    try:
        told = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.split()
    except OSError:
        return ""
    return told[0] if told else ""


def _run(arguments: Sequence[str]) -> None:
    finished = subprocess.run(arguments, capture_output=True, text=True, check=False)
    if finished.returncode != 0:
        said = "; ".join(finished.stderr.strip().splitlines()[-_QUOTED_LINES:])
        raise EngineError(f"{arguments[0]} ended with exit code {finished.returncode}: {said}")
