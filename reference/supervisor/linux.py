"""Processes as Linux shows them: identities from ``/proc``, signals through pidfds."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from reference.supervisor.spec import Process

_PROC = Path("/proc")
#: ``pidfd_send_signal`` to the whole process group that the process leads (Linux 6.9).
_PIDFD_SIGNAL_PROCESS_GROUP = 1 << 2


@dataclass(frozen=True, kw_only=True)
class Stat:
    """The fields of ``/proc/<pid>/stat`` that identify a process and its family."""

    state: str
    threads: int
    group: int
    session: int
    start_time: int

    @property
    def ended(self) -> bool:
        """Whether it only waits to be collected. With threads left a zombie still runs, and may hold its ports."""
        return self.state == "X" or (self.state == "Z" and self.threads <= 1)


def boot_id() -> str:
    """The kernel's name for this boot of the machine."""
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()


def stat(pid: int) -> Stat | None:
    """What the kernel says of a process; ``None`` when there is none."""
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except (OSError, UnicodeDecodeError):
        return None
    # The second field is the command's name in parentheses, and may hold spaces and parentheses itself.
    fields = text[text.rindex(")") + 2 :].split()
    return Stat(
        state=fields[0],
        threads=int(fields[17]),
        group=int(fields[2]),
        session=int(fields[3]),
        start_time=int(fields[19]),
    )


def identify(pid: int, boot: str) -> Process | None:
    """The identity of a live process; ``None`` when it is gone or a zombie."""
    found = stat(pid)
    if found is None or found.ended:
        return None
    return Process(pid=pid, start_time=found.start_time, boot_id=boot)


def environment(pid: int) -> dict[str, str] | None:
    """The environment a process was started with; ``None`` when it is gone or another user's."""
    try:
        text = (_PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return None
    pairs = (entry.partition(b"=") for entry in text.split(b"\0") if entry)
    return {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs}


def arguments(pid: int) -> tuple[str, ...]:
    """The command line of a process; empty when it is gone."""
    try:
        text = (_PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return ()
    return tuple(os.fsdecode(part) for part in text.removesuffix(b"\0").split(b"\0"))


def pids() -> Iterator[int]:
    """Every process id there is, threads not counted."""
    for entry in _PROC.iterdir():
        if entry.name.isdecimal():
            yield int(entry.name)


def open_process(process: Process) -> int | None:
    """A pidfd that holds exactly this process; ``None`` when it is gone, or its pid is someone else's by now.

    A thread's id is refused by the kernel. Opened first and compared afterwards, so that nobody can take the pid
    in between.
    """
    try:
        descriptor = os.pidfd_open(process.pid)
    except OSError:
        return None
    if identify(process.pid, process.boot_id) == process:
        return descriptor
    os.close(descriptor)
    return None


def signal_group(descriptor: int, pid: int, number: int) -> None:
    """Signal the process that ``descriptor`` holds and, where it leads its group, the whole group.

    Does nothing when the process is gone; raises :class:`PermissionError` when it is another user's.
    """
    with suppress(ProcessLookupError):
        if os.getpgid(pid) != pid:
            signal.pidfd_send_signal(descriptor, number)
            return
        try:
            signal.pidfd_send_signal(descriptor, number, None, _PIDFD_SIGNAL_PROCESS_GROUP)
        except OSError as error:
            if isinstance(error, ProcessLookupError | PermissionError):
                raise
            # An older kernel: make sure that the leader is there, then take the group by its number.
            signal.pidfd_send_signal(descriptor, 0)
            os.killpg(pid, number)


def kill_remnants(leader: Process) -> None:
    """Kill what is left of the session of a leader that is gone.

    While any member lives the kernel gives the leader's pid to nobody else; so if that pid is taken again, the
    session was empty, and whoever is found in a session of that number is a stranger.
    """
    if stat(leader.pid) is not None:
        return
    for pid in pids():
        found = stat(pid)
        if found is None or found.session != leader.pid or found.ended:
            continue
        member = Process(pid=pid, start_time=found.start_time, boot_id=leader.boot_id)
        descriptor = open_process(member)
        if descriptor is None:
            continue
        try:
            with suppress(OSError):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        finally:
            os.close(descriptor)
