"""The images that the suite brings, and how they are built.

===========================  ======================================================
``proxyproof/agent:py3.11``  the reference on the oldest Python that it runs on
``proxyproof/agent:py3.13``  the same on a newer one: what an upgrade leads to
``proxyproof/redis``         a redis-server to stand behind a proxy
``proxyproof/echo``          an application that echoes
===========================  ======================================================

A context holds the files of one folder of ``fixtures/images`` and what an image adds, in one order and without dates:
the same content is the same context, and the engine knows what it has built before.
"""

from __future__ import annotations

import io
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import docker
from docker.errors import APIError, BuildError
from docker.models.images import Image as DockerImage

from conformance.containers import bases, wheelhouse
from conformance.containers.bases import Base
from conformance.containers.engine import EngineError
from proxyproof import data

_BOOKWORM = Base(suite="bookworm", packages=("python3-venv",))
_TRIXIE = Base(suite="trixie", packages=("python3-venv", "redis-server"))
_QUOTED_LINES = 5


@dataclass(frozen=True, kw_only=True)
class Image:
    """An image: its folder, the base it takes from a registry, and the one it takes where there is none.

    ``python`` is that of the wheels that it installs; empty when it installs none.
    """

    name: str
    folder: str
    registry_base: str
    base: Base
    python: str = ""


AGENT, NEWER_AGENT, REDIS, ECHO = IMAGES = (
    Image(
        name="proxyproof/agent:py3.11",
        folder="agent",
        registry_base="python:3.11-slim",
        base=_BOOKWORM,
        python="3.11",
    ),
    Image(
        name="proxyproof/agent:py3.13",
        folder="agent",
        registry_base="python:3.13-slim",
        base=_TRIXIE,
        python="3.13",
    ),
    Image(name="proxyproof/redis:latest", folder="redis", registry_base="python:3.13-slim", base=_TRIXIE),
    Image(name="proxyproof/echo:latest", folder="echo", registry_base="python:3.13-slim", base=_TRIXIE),
)


def build(
    client: docker.DockerClient, *, offline: bool, source: Path, announce: Callable[[str], None]
) -> None:
    """Build all images; ``offline`` upon bases made here. Raises :class:`EngineError` when one cannot be built."""
    wheelhouse.demand(source)  # before minutes are spent on bases
    with tempfile.TemporaryDirectory(prefix="proxyproof-images-") as folder, ThreadPoolExecutor() as others:
        # Bases wait for packages and wheels for an index: at the same time they wait half as long.
        wanted = {image.base for image in IMAGES} if offline else set()
        made = [others.submit(bases.make, client, base) for base in wanted]
        wheels = _wheels(Path(folder), source)
        for waiting in made:
            waiting.result()
        for base in sorted(base.image for base in wanted):
            announce(base)
        # The installer in each is one that works alone: beside each other they leave no processor idle.
        building = {
            image.name: others.submit(
                build_one,
                client,
                name=image.name,
                context=context(data.path("fixtures", "images", image.folder), wheels.get(image.python, ())),
                base=image.base.image if offline else image.registry_base,
                offline=offline,
            )
            for image in IMAGES
        }
        for name, built in building.items():
            built.result()
            announce(name)


def remove(client: docker.DockerClient, announce: Callable[[str], None]) -> None:
    """Remove the images and their bases."""
    for name in [*(image.name for image in IMAGES), *sorted({image.base.image for image in IMAGES})]:
        if client.images.list(name=name):
            client.images.remove(name, force=True)
            announce(name)


def context(folder: Path, added: Iterable[Path] = ()) -> io.BytesIO:
    """The build context of a folder, with more files in its folder ``wheelhouse``: a tar."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    files |= {f"wheelhouse/{path.name}": path for path in added}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, path in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = path.stat().st_size, 0o644
            with path.open("rb") as content:
                archive.addfile(entry, content)
    packed.seek(0)
    return packed


def _wheels(folder: Path, source: Path) -> Mapping[str, tuple[Path, ...]]:
    """For each Python what is installed on it."""
    wheel = wheelhouse.project(source, folder)
    gathered = {}
    for python in sorted({image.python for image in IMAGES if image.python}):
        house = folder / python
        wheelhouse.fill(house, wheel, python=python)
        gathered[python] = tuple(house.iterdir())
    return gathered


def build_one(
    client: docker.DockerClient, *, name: str, context: io.BytesIO, base: str = "", offline: bool = True
) -> None:
    """Build an image in place of the one that has its name. Raises :class:`EngineError` when it cannot be built."""
    before = client.images.list(name=name)
    try:
        client.images.build(
            fileobj=context,
            custom_context=True,
            tag=name,
            buildargs={"BASE_IMAGE": base} if base else {},
            network_mode="none" if offline else "default",
            rm=True,
            forcerm=True,
        )
    except BuildError as error:
        said = "".join(str(line.get("stream", "")) for line in error.build_log)
        quoted = "; ".join(said.strip().splitlines()[-_QUOTED_LINES:])
        raise EngineError(f"{name} cannot be built: {error.msg}; the build said: {quoted}") from error
    except APIError as error:
        hint = "" if offline else "; where no registry answers, build with --offline"
        raise EngineError(f"{name} cannot be built: {error.explanation or error}{hint}") from error
    for old in before:
        _remove_nameless(old)


def _remove_nameless(image: DockerImage) -> None:
    """Remove an image that has no name any more, unless something runs from it."""
    image.reload()
    if not image.tags:
        with suppress(APIError):
            image.remove()
