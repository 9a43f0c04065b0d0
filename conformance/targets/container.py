"""A container image: each check has a machine of its own that is a container, on a network of its own.

The suite executes agents in it and looks at them from within its network and its process table, which takes root.
"""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL, Signals
from types import TracebackType
from typing import Self

import docker
from docker.errors import APIError, ContainerError, ImageNotFound

from conformance.containers import engine
from conformance.containers.machine import Execution, Machine
from conformance.instruments.processes import Process
from conformance.requirements import Feature
from conformance.targets.errors import TargetError
from conformance.targets.privileges import NOBODY, Access, Privileges
from conformance.targets.site import Order, Running, Site

#: What the suite executes beside the agent: to start it, and as proxies that tell what they were given.
_NEEDED = ("sh", "sleep", "python3")
_ONE_FILE = (
    "which files of the image are the program is not known; give --one-file if its first word is all of it"
)


@dataclass(frozen=True, kw_only=True)
class ContainerTarget:
    """An image. ``prefix`` is what starts an agent in it, ``next_image`` what an upgrade leads to."""

    image: str
    next_image: str
    prefix: tuple[str, ...]
    client: docker.DockerClient
    one_file: bool
    name: str = "container"
    version: str = ""
    features: frozenset[Feature] = frozenset(Feature)
    expected: Path | None = None
    simulation: tuple[str, ...] = ()

    @property
    def cannot(self) -> Mapping[str, str]:
        """Everything else is a matter of the engine."""
        return {} if self.one_file else {"install": _ONE_FILE}

    def command(self, flags: Sequence[str]) -> list[str]:
        """The image, and what is executed in it."""
        return [self.image, *self.prefix, *flags]

    def privileges(self, user: str | None) -> Privileges:
        """Any user of the container. Raises :class:`TargetError` where the suite cannot look into containers."""
        if os.geteuid() != 0:
            raise TargetError(
                "--target container enters the network and the process table of its containers, which only root may; "
                "run it as root, with sudo (to be of the group docker is not enough)"
            )
        if user is not None and (not user.isdigit() or int(user) == 0):
            raise TargetError(
                f"--user {user}: give the number of an unprivileged user, for the container has names of its own"
            )
        for image in dict.fromkeys((self.image, self.next_image)):
            self._probe(image)
        uid = NOBODY if user is None else int(user)
        return Privileges(unprivileged=_as(uid), root=_as(0))

    @contextmanager
    def run(self, folder: Path) -> Iterator[None]:
        """Around all checks: clears away what dead runs left, and in the end what this one did."""
        engine.clear_dead(self.client)
        with engine.held(folder):
            try:
                yield
            finally:
                engine.clear(self.client, folder)

    def site(self, workspace: Path) -> AbstractContextManager[Site]:
        """A machine of its own."""
        return ContainerSite(
            Machine(self.client, self.image, workspace=workspace),
            prefix=self.prefix,
            next_image=self.next_image,
            folder=workspace,
        )

    def _probe(self, image: str) -> None:
        """Raise :class:`TargetError` unless the image can execute the agent, and what the suite needs beside it."""
        script = 'for word; do command -v "$word" >/dev/null || echo "$word"; done'
        try:
            with tempfile.TemporaryDirectory(prefix="proxyproof-") as folder, self.run(Path(folder)):
                missing = self.client.containers.run(
                    image,
                    [script, "sh", self.prefix[0], *_NEEDED],
                    entrypoint=["/bin/sh", "-c"],
                    network_mode="none",
                    remove=True,
                    labels={engine.RUN: folder},
                )
        except (ContainerError, APIError) as error:
            raise TargetError(f"the image {image} cannot execute /bin/sh: {error}") from error
        lacking = missing.decode().split()
        if self.prefix[0] in lacking:
            raise TargetError(f"the image {image} has no {self.prefix[0]}; name its agent with --command")
        if lacking:
            raise TargetError(
                f"the image {image} lacks {' and '.join(lacking)}, which the suite executes beside the agent; "
                "judge a variant of it that has that"
            )


def container(*, image: str, next_image: str | None, command: str | None, one_file: bool) -> ContainerTarget:
    """The target of an image. Raises :class:`TargetError` when it cannot be used."""
    client = engine.connect()
    entry = _entry_points(client, image, next_image or image)
    prefix = tuple(shlex.split(command)) if command else entry
    if not prefix:
        raise TargetError(f"the image {image} names no agent, for it has no ENTRYPOINT; give its --command")
    return ContainerTarget(
        image=image, next_image=next_image or image, prefix=prefix, client=client, one_file=one_file
    )


def _entry_points(client: docker.DockerClient, image: str, next_image: str) -> tuple[str, ...]:
    """The entry point of the first image; both must be there."""
    try:
        found = [client.images.get(name) for name in (image, next_image)]
    except ImageNotFound as error:
        raise TargetError(
            f"{error.explanation or error}; pull it, or build the suite's own with proxyproof images build"
        ) from error
    except APIError as error:
        raise TargetError(f"--image {image}: {error.explanation or error}") from error
    return tuple(found[0].attrs["Config"]["Entrypoint"] or ())


def _as(uid: int) -> Access:
    return Access(way=f"uid {uid} of the container", prefix=(), uid=uid, gid=uid)


class ContainerSite:
    """Starts agents in a machine that is a container."""

    def __init__(self, machine: Machine, *, prefix: Sequence[str], next_image: str, folder: Path) -> None:
        self.machine = machine
        self._prefix = tuple(prefix)
        self._next_image = next_image
        self._folder = folder
        self._home: Path | None = None

    def __enter__(self) -> Self:
        self.machine.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.machine.__exit__(kind, error, trace)

    @property
    def python(self) -> str:
        """Where the machine has it: the target was asked for it before the run."""
        return self.machine.which("python3") or "python3"

    def inherited(self) -> Mapping[str, str]:
        """Nothing: the image has an environment of its own."""
        return {}

    def start(self, order: Order) -> Running:
        """Execute an agent."""
        return _Agent(
            self.machine.execute(
                [*order.prefix, *self._prefix, *order.flags],
                uid=order.uid,
                gid=order.gid,
                output=order.output,
                directory=order.directory,
                environment=order.environment,
            )
        )

    def install(self, place: str) -> None:
        """A copy of the program in a folder of the workspace."""
        home = self._folder / place
        home.mkdir(mode=0o755, exist_ok=True)
        copy = home / Path(self._prefix[0]).name
        script = 'cp "$(command -v "$1")" "$2.new" && mv "$2.new" "$2" && if [ -n "$3" ]; then rm -r "$3"; fi'
        old = "" if self._home in (None, home) else str(self._home)
        self.machine.run("sh", "-c", script, "sh", self._prefix[0], str(copy), old)
        self._home = home
        self._prefix = (str(copy), *self._prefix[1:])

    def upgrade(self) -> None:
        """A container of the next image in place of this one."""
        self.machine.replace(self._next_image)

    @contextmanager
    def stranger(self, command: Sequence[str], uid: int) -> Iterator[Process]:
        """A process that is no agent's."""
        running = self.machine.execute(command, uid=uid, gid=uid, output=Path("/dev/null"))
        try:
            yield running.process
        finally:
            with suppress(ProcessLookupError):
                running.process.signal(SIGKILL)


class _Agent:
    def __init__(self, execution: Execution) -> None:
        self._execution = execution
        self.pid = execution.process.pid

    def exit_code(self) -> int | None:
        return self._execution.exit_code()

    def signal(self, number: Signals) -> None:
        self._execution.process.signal(number)

    def end(self) -> None:
        if self._execution.process.alive():
            self._execution.process.signal(SIGKILL)
