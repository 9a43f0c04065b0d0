"""Where the agents of one check run: the only way by which the suite starts them.

A site is entered before a check and left after it. On this machine it is nothing but :class:`LocalSite`; a target
that reaches its agents through an adapter or a container brings its own.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from conformance.instruments.processes import Process
from conformance.targets.program import Program

_INHERITED = ("PATH", "LANG", "LC_ALL", "TZ", "PYTHONPATH", "LD_LIBRARY_PATH")


@dataclass(frozen=True, kw_only=True)
class Order:
    """How to start one agent.

    ``name`` is unique in its site. ``flags`` are the agent's, with one dash; ``prefix`` is the command that makes it
    run as somebody else, and ``uid`` and ``gid`` tell whom. Standard output and error are appended to ``output``;
    ``environment`` is the whole of it.
    """

    name: str
    flags: tuple[str, ...]
    prefix: tuple[str, ...]
    uid: int
    gid: int
    environment: Mapping[str, str]
    directory: Path
    output: Path


class Running(Protocol):
    """An agent that was started. ``pid`` is one of this machine, whatever the agent itself takes it for."""

    @property
    def pid(self) -> int: ...

    def exit_code(self) -> int | None:
        """The exit code (negative: signal), ``None`` while it runs."""
        ...

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the agent, and to nothing else. Raises :class:`ProcessLookupError` when it has gone."""
        ...

    def end(self) -> None:
        """SIGKILL without ceremony, and its exit code collected; nothing when it has ended."""
        ...


class Neighbour(Protocol):
    """A service in a container of its own, beside the machine."""

    @property
    def address(self) -> str: ...

    def run(self, *command: str) -> str:
        """What a command says that is executed beside the service."""
        ...

    def kill(self) -> None:
        """End the service, and its container with it."""
        ...


class Machine(Protocol):
    """What agents run in, where that is not the machine of the suite: it can be treated as machines are."""

    @property
    def address(self) -> str:
        """Under which its neighbours reach it."""
        ...

    def crash(self) -> None:
        """End all that runs in it at once, as a power cut does, and have it run again; its files are left."""
        ...

    def paused(self) -> AbstractContextManager[None]:
        """Freeze all that runs in it for the length of a block."""
        ...

    def neighbour(self, service: str) -> Neighbour:
        """A service in a container of its own beside it: ``redis`` or ``echo``."""
        ...


class Site(Protocol):
    """Starts agents for as long as it is entered."""

    @property
    def machine(self) -> Machine | None:
        """What agents run in; ``None`` for the machine of the suite."""
        ...

    @property
    def python(self) -> str:
        """A Python that agents can execute."""
        ...

    def inherited(self) -> Mapping[str, str]:
        """What agents get of the environment of where they run: enough to execute, and no surprises."""
        ...

    def stranger(self, command: Sequence[str], uid: int) -> AbstractContextManager[Process]:
        """A process of that user that is no agent's, where agents run."""
        ...

    def upgrade(self) -> None:
        """Have what agents run in replaced by its next release; only the files of the check are left.

        Asked only of targets that claim the feature ``containers``.
        """
        ...

    def start(self, order: Order) -> Running:
        """Start an agent without waiting for anything. Raises :class:`OSError` when it cannot be executed."""
        ...

    def install(self, place: str) -> None:
        """Have the program at a place of this name, from where agents start from now on.

        It is gone from the place before; the same name again is a new file where the old one was. Asked only of
        targets that do not say that they cannot.
        """
        ...


class ThisMachine:
    """What a site has whose agents run beside the suite."""

    machine: Machine | None = None

    @property
    def python(self) -> str:
        """That of the suite."""
        return os.path.realpath(sys.executable)

    def inherited(self) -> Mapping[str, str]:
        """A part of the suite's own."""
        return {name: os.environ[name] for name in _INHERITED if name in os.environ}

    @contextmanager
    def stranger(self, command: Sequence[str], uid: int) -> Iterator[Process]:
        """A child of the suite."""
        user = uid if uid != os.geteuid() else None
        with subprocess.Popen(command, user=user, group=user, start_new_session=True) as running:
            try:
                yield Process.of(running.pid)
            finally:
                running.kill()

    def upgrade(self) -> None:
        """Nobody asks for that: this machine has no next release."""
        raise NotImplementedError("this target has said that it cannot")


class LocalSite(ThisMachine):
    """Starts agents as children of the suite: ``prefix`` followed by an agent's flags.

    ``program`` can be installed in ``folder``, if there is one.
    """

    def __init__(self, prefix: Sequence[str], *, folder: Path, program: Program | None = None) -> None:
        self._prefix = prefix
        self._folder = folder
        self._program = program
        self._home: Path | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is held: whoever started an agent ends it."""

    def start(self, order: Order) -> Running:
        """Start the program, in a session of its own."""
        with order.output.open("ab") as output:
            return _Child(
                subprocess.Popen(
                    [*order.prefix, *self._prefix, *order.flags],
                    cwd=order.directory,
                    env=dict(order.environment),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            )

    def install(self, place: str) -> None:
        """A folder of that name."""
        assert self._program is not None, "this target has said that it cannot"
        if self._home is not None:
            shutil.rmtree(self._home)
        self._home = self._folder / place
        self._home.mkdir(mode=0o755)
        self._prefix = self._program.install(self._home)


class _Child:
    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self._child = child
        self._process = Process.of(child.pid)

    @property
    def pid(self) -> int:
        return self._child.pid

    def exit_code(self) -> int | None:
        return self._child.poll()

    def signal(self, number: signal.Signals) -> None:
        self._process.signal(number)

    def end(self) -> None:
        if self._child.poll() is None:
            self._child.kill()
            self._child.wait()
