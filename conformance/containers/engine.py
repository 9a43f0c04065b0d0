"""The container engine: how it is reached, and whose containers and networks are whose.

Everything that the suite makes carries :data:`RUN`, the folder of the run that made it. A run holds a lock of its
folder for as long as it lives, so a container whose run has no folder, or one that nobody holds, belongs to nobody.
"""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from pathlib import Path

import docker
from docker.errors import APIError, DockerException, NotFound
from docker.models.containers import Container
from docker.models.networks import Network

from conformance.targets.errors import TargetError

#: The label that names the folder of a run.
RUN = "proxyproof.run"
#: Longer than the engine takes for anything that is asked of it, on a machine that does other work (s).
_ANSWER_SECONDS = 120


class EngineError(TargetError):
    """The container engine cannot be used; the message is one sentence for the operator."""


def connect() -> docker.DockerClient:
    """A client of the engine of this machine. Raises :class:`EngineError` when none answers.

    Only an engine that is reached by a unix socket can be used: agents share folders, processes and networks with
    the suite, which must hence run on the same machine.
    """
    where = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    if not where.startswith("unix://"):
        raise EngineError(
            f"DOCKER_HOST={where}: the suite shares folders and networks with its containers, so the engine must run "
            "on this machine; unset DOCKER_HOST or name a unix socket"
        )
    try:
        # The library would leave its own attempt open, and say in three sentences what went wrong.
        with socket.socket(socket.AF_UNIX) as attempt:
            attempt.connect(where.removeprefix("unix://"))
        return docker.DockerClient(base_url=where, version="auto", timeout=_ANSWER_SECONDS)
    except PermissionError as error:
        raise EngineError(
            f"uid {os.geteuid()} may not speak to the container engine at {where}; run this as root, with sudo"
        ) from error
    except (OSError, DockerException) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise EngineError(
            f"no container engine answers at {where} ({reason}); start Docker, or set DOCKER_HOST"
        ) from error


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold the lock of a run's folder: what carries its name belongs to somebody."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def is_over(folder: Path) -> bool:
    """Whether the run of that folder has ended, however it ended."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        return True
    finally:
        os.close(descriptor)


def clear(client: docker.DockerClient, run: Path) -> int:
    """Remove what the run of that folder made; how many containers and networks that were."""
    return _remove(client, f"{RUN}={run}", lambda folder: True)


def clear_dead(client: docker.DockerClient) -> int:
    """Remove what runs made that have ended without clearing away, as a killed one does."""
    return _remove(client, RUN, is_over)


def _remove(client: docker.DockerClient, label: str, unwanted: Callable[[Path], bool]) -> int:
    found: list[Container | Network] = [
        # Without asking for the details of each, for it may have gone meanwhile.
        *client.containers.list(all=True, filters={"label": label}, sparse=True),
        *client.networks.list(filters={"label": label}),
    ]
    removed = [one for one in found if unwanted(Path(one.attrs["Labels"][RUN]))]
    for one in removed:
        remove(one)
    return len(removed)


def remove(one: Container | Network) -> None:
    """Remove a container with all that runs in it, or a network; nothing when it has gone already."""
    with suppress(NotFound):
        if isinstance(one, Container):
            with _already_being_removed():
                one.remove(force=True, v=True)
        else:
            one.remove()


@contextmanager
def _already_being_removed() -> Iterator[None]:
    try:
        yield
    except APIError as error:
        if error.status_code != HTTPStatus.CONFLICT:
            raise
