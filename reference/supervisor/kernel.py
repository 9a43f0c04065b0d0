"""What the world asks of a machine: processes, time and files, in calls about as small as the kernel's own.

The world (:mod:`~reference.supervisor.real`) and the rules about identities (:mod:`~reference.supervisor.processes`)
are written against this port alone. So they run on this machine (:mod:`~reference.supervisor.linux`) and, the same
code, on a simulated one, where an agent can be killed between any two of these calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

import msgspec

from reference.files import Files


class Stat(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of ``/proc/<pid>/stat`` that identify a process and its family; ``start_time`` in clock ticks."""

    state: str
    threads: int
    group: int
    session: int
    start_time: int

    @property
    def ended(self) -> bool:
        """Whether it only waits to be collected. With threads left a zombie still runs, and may hold its ports."""
        return self.state == "X" or (self.state == "Z" and self.threads <= 1)


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """How a process is started: in a session of its own, without standard input, no descriptor but its output.

    ``output`` are the descriptors of standard output and error, none for silence. ``dies_with_parent`` has the kernel
    kill it when its parent dies, however that dies.
    """

    arguments: Sequence[str]
    executable: str
    environment: Mapping[str, str]
    directory: str | None
    output: tuple[int, int] | None
    dies_with_parent: bool


class Child(Protocol):
    """A process that this very agent started; a zombie once it ended, until somebody waits for it."""

    @property
    def pid(self) -> int:
        """Its own for as long as nobody has waited for it."""

    def wait(self) -> int:
        """Collect a child that has ended: its exit code, or minus the signal that ended it."""

    def abandon(self) -> None:
        """It goes on without this agent."""


class Alarm(Protocol):
    """Something that will happen."""

    def cancel(self) -> None:
        """It will not."""


class Kernel(Protocol):
    """A machine as one agent sees it. Process calls raise :class:`OSError` as the operating system does."""

    @property
    def files(self) -> Files:
        """Its disk."""

    def now(self) -> float:
        """Seconds since boot, for every process the same; never set back."""

    def call_later(self, seconds: float, action: Callable[[], None]) -> Alarm:
        """Do something ``seconds`` from now."""

    def boot_id(self) -> str:
        """The kernel's name for this boot of the machine."""

    def pids(self) -> Iterable[int]:
        """Every process id there is but the agent's own, threads not counted."""

    def stat(self, pid: int) -> Stat | None:
        """What the kernel says of a process or thread; ``None`` when there is none."""

    def environment(self, pid: int) -> Mapping[str, str] | None:
        """The environment a process was started with; ``None`` when it is gone or another user's."""

    def arguments(self, pid: int) -> tuple[str, ...]:
        """The command line of a process; empty when it is gone."""

    def launch(self, launch: Launch) -> Child:
        """Start a process. Raises :class:`OSError` or :class:`ValueError` when nothing runs."""

    def open_pidfd(self, pid: int) -> int:
        """A descriptor that holds this process, also when its pid is given to another; no thread has one."""

    def close_pidfd(self, descriptor: int) -> None:
        """Let go of the process."""

    def on_exit(self, descriptor: int, action: Callable[[], None]) -> None:
        """Do something when the process that ``descriptor`` holds has ended, or at once if it has."""

    def forget_exit(self, descriptor: int) -> None:
        """Do nothing of the kind."""

    def signal(self, descriptor: int, number: int) -> None:
        """Signal the process that ``descriptor`` holds."""

    def signal_group(self, descriptor: int, number: int) -> None:
        """Signal the process group that it leads. Old kernels cannot: then :class:`OSError` and ``EINVAL``."""

    def kill_group(self, group: int, number: int) -> None:
        """Signal a process group by its number."""
