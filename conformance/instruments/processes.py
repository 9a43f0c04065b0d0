"""The process table, read from ``/proc``: identities that survive the recycling of pids.

A :class:`Process` is a pid together with the kernel's start time of that process (field 22 of ``/proc/<pid>/stat``,
in clock ticks since boot). A zombie has ended: it is not alive. Reading another user's environment needs root.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
_TCP_LISTEN = "0A"
#: How long a process may take to become another program.
_EXECUTING_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class _Table:
    """Where processes are looked up, and whether orphans there become children of this process."""

    proc: str = "/proc"
    own_orphans: bool = True


_table = _Table()


def look_at(proc: str = "/proc") -> None:
    """Have pids mean those of another process table, such as a container's; ``/proc`` is that of the suite."""
    global _table
    _table = _Table(proc=proc, own_orphans=proc == "/proc")


def own_orphans() -> bool:
    """Whether orphans become children of this process, which must reap them."""
    return _table.own_orphans


@dataclass(frozen=True, kw_only=True)
class Stat:
    """A moment of a process: its state letter, parent, process group, session and effective user."""

    state: str
    ppid: int
    pgid: int
    sid: int
    uid: int


@dataclass(frozen=True)
class Process:
    """One process, for good: another process that gets the same pid later is not equal to it.

    Methods that read raise :class:`ProcessLookupError` when the process has ended.
    """

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> Process:
        """The process that has ``pid`` now."""
        return cls(pid, int(_stat_fields(pid)[19]))

    def alive(self) -> bool:
        """Whether it still runs. A zombie does not, unless other threads of it are left: they may hold its ports."""
        try:
            fields = _stat_fields(self.pid)
        except ProcessLookupError:
            return False
        ended = fields[0] == "X" or (fields[0] == "Z" and int(fields[17]) <= 1)
        return int(fields[19]) == self.started and not ended

    def environment(self) -> dict[str, str]:
        """The variables that it was started with. Raises :class:`PermissionError` for what stays closed to us.

        While a process becomes another program, nobody but root may look at it: so it is asked again for a moment.
        """
        deadline = time.monotonic() + _EXECUTING_SECONDS
        while True:
            try:
                return dict(item.partition("=")[::2] for item in self._zero_separated("environ"))
            except PermissionError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.001)  # no event tells

    def argv(self) -> list[str]:
        """Its command line."""
        return self._zero_separated("cmdline")

    def executable(self) -> Path:
        """The program that it executes, links resolved."""
        with _gone_as_lookup_error(self.pid):
            target = Path(os.readlink(_folder(self.pid) / "exe"))
        self._still_there()
        return target

    def directory(self) -> Path:
        """Its working directory."""
        with _gone_as_lookup_error(self.pid):
            target = Path(os.readlink(_folder(self.pid) / "cwd"))
        self._still_there()
        return target

    def stat(self) -> Stat:
        """State, parent, group, session and effective uid. A zombie still has them."""
        fields = _stat_fields(self.pid)
        with _gone_as_lookup_error(self.pid):
            status = (_folder(self.pid) / "status").read_text()
        if int(fields[19]) != self.started:
            raise ProcessLookupError(f"process {self.pid} has ended")
        uid = next(line.split()[2] for line in status.splitlines() if line.startswith("Uid:"))
        return Stat(
            state=fields[0], ppid=int(fields[1]), pgid=int(fields[2]), sid=int(fields[3]), uid=int(uid)
        )

    def cpu(self) -> float:
        """The seconds of processors that it has taken so far."""
        fields = _stat_fields(self.pid)
        self._still_there()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def signal(self, number: signal.Signals | int) -> None:
        """Send a signal to this very process, never to a successor of its pid."""
        with _gone_as_lookup_error(self.pid):
            # To this call such a folder is a pidfd, whichever process table it belongs to.
            descriptor = os.open(_folder(self.pid), os.O_RDONLY | os.O_DIRECTORY)
        try:
            self._still_there()
            signal.pidfd_send_signal(descriptor, number)
        finally:
            os.close(descriptor)

    def file_size_limit(self) -> tuple[str, str]:
        """How far it may write into a file, and how far it may have that raised: bytes, or ``unlimited``."""
        with _gone_as_lookup_error(self.pid):
            lines = (_folder(self.pid) / "limits").read_text().splitlines()
        soft, hard = next(line for line in lines if line.startswith("Max file size")).split()[3:5]
        return soft, hard

    def threads(self) -> list[Process]:
        """Its threads other than the first, which has its pid, as if they were processes."""
        with _gone_as_lookup_error(self.pid):
            numbers = [int(task.name) for task in (_folder(self.pid) / "task").iterdir()]
        return [Process.of(number) for number in numbers if number != self.pid]

    def descriptors(self) -> dict[int, str]:
        """Its open file descriptors, and what each stands for, as ``/proc/<pid>/fd`` tells."""
        found = {}
        with _gone_as_lookup_error(self.pid):
            for link in (_folder(self.pid) / "fd").iterdir():
                with suppress(FileNotFoundError):
                    found[int(link.name)] = os.readlink(link)
        return found

    def listening_ports(self) -> set[int]:
        """The TCP ports (IPv4 and IPv6) on which it listens."""
        inodes = set(self.descriptors().values())
        ports = set()
        for table in ("tcp", "tcp6"):
            with _gone_as_lookup_error(self.pid):
                rows = (_folder(self.pid) / "net" / table).read_text().splitlines()[1:]
            for fields in map(str.split, rows):
                if fields[3] == _TCP_LISTEN and f"socket:[{fields[9]}]" in inodes:
                    ports.add(int(fields[1].rpartition(":")[2], 16))
        return ports

    def _zero_separated(self, name: str) -> list[str]:
        with _gone_as_lookup_error(self.pid):
            data = (_folder(self.pid) / name).read_bytes()
        self._still_there()
        return [os.fsdecode(item) for item in data.rstrip(b"\0").split(b"\0")] if data else []

    def _still_there(self) -> None:
        if not self.alive():
            raise ProcessLookupError(f"process {self.pid} has ended")


class _gone_as_lookup_error:
    """``/proc`` says that a process has gone in several ways; the caller learns of it in one."""

    def __init__(self, pid: int) -> None:
        self._pid = pid

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, FileNotFoundError | ProcessLookupError):
            raise ProcessLookupError(f"process {self._pid} has ended") from None


def _folder(pid: int) -> Path:
    return Path(_table.proc, str(pid))


def _stat_fields(pid: int) -> list[str]:
    """The fields of ``/proc/<pid>/stat`` after the command name, which may itself hold spaces and brackets."""
    with _gone_as_lookup_error(pid):
        text = _read(pid, "stat").decode(errors="replace")
    return text.rpartition(")")[2].split()


def _read(pid: int, name: str) -> bytes:
    """A file of ``/proc/<pid>``, with as few calls as can be: the suite reads hundreds of them a second."""
    descriptor = os.open(f"{_table.proc}/{pid}/{name}", os.O_RDONLY)
    try:
        data = b""
        while piece := os.read(descriptor, 1 << 16):
            data += piece
        return data
    finally:
        os.close(descriptor)


def _pids() -> Iterator[int]:
    return (int(name) for name in os.listdir(_table.proc) if name.isdigit())


def table() -> Iterator[Process]:
    """Every process that this one may see, zombies included."""
    for pid in _pids():
        with suppress(ProcessLookupError):
            yield Process.of(pid)


def carrying(variable: str, value: str) -> list[Process]:
    """The live processes whose environment has ``variable`` with exactly ``value``, oldest first."""
    wanted = os.fsencode(f"{variable}={value}")
    found = []
    for pid in _pids():
        # The search for the bytes comes first: it is cheap, and says no to nearly every process of the machine.
        if wanted in (block := raw_environment(pid)) and wanted in block.split(b"\0"):
            with suppress(ProcessLookupError):
                found.append(Process.of(pid))
    return sorted(
        (process for process in found if process.alive()), key=lambda process: (process.started, process.pid)
    )


def raw_environment(pid: int) -> bytes:
    """The environment block of whoever has ``pid`` now; empty when it has gone or is not ours to read."""
    try:
        return _read(pid, "environ")
    except OSError:
        return b""


def descendants(pid: int) -> list[Process]:
    """The children of ``pid``, their children and so on, zombies included; the nearest first."""
    children: dict[int, list[Process]] = {}
    for candidate in _pids():
        with suppress(ProcessLookupError):
            fields = _stat_fields(candidate)
            children.setdefault(int(fields[1]), []).append(Process(candidate, int(fields[19])))
    found: list[Process] = []
    parents = [pid]
    while parents:
        generation = [child for parent in parents for child in children.get(parent, ())]
        found += generation
        parents = [child.pid for child in generation]
    return found


def adopt_orphans() -> None:
    """Make this process the reaper of its orphaned descendants (``PR_SET_CHILD_SUBREAPER``).

    A proxy outlives its agent by design; thus it is re-parented to the suite, which can find and reap it,
    rather than to an init that a container may not even have.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER) failed")


def reap(process: Process) -> None:
    """Collect an orphan that has ended, if it is ours to collect. Never waits."""
    with suppress(ChildProcessError):
        os.waitpid(process.pid, os.WNOHANG)
