"""The kernel of this machine: processes from ``/proc``, signals through pidfds, the event loop's timers."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from reference.files import LinuxFiles
from reference.supervisor.kernel import Child, Launch, Stat

_PROC = Path("/proc")
#: Clock ticks per second, in which the kernel gives start times.
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
_PR_SET_PDEATHSIG = 1
#: ``pidfd_send_signal`` to the whole process group that the process leads (Linux 6.9).
_PIDFD_SIGNAL_PROCESS_GROUP = 1 << 2


class Linux:
    """This machine. Lives in the thread of its event loop, which watches and waits."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.files = LinuxFiles()

    def now(self) -> float:
        # The system's clock since boot, which the next agent shares; a loop's own clock may begin anywhere.
        return time.monotonic()

    def call_later(self, seconds: float, action: Callable[[], None]) -> asyncio.TimerHandle:
        return self._loop.call_later(seconds, action)

    def boot_id(self) -> str:
        return boot_id()

    def pids(self) -> Iterator[int]:
        return (pid for pid in pids() if pid != os.getpid())

    def stat(self, pid: int) -> Stat | None:
        return stat(pid)

    def environment(self, pid: int) -> dict[str, str] | None:
        return environment(pid)

    def arguments(self, pid: int) -> tuple[str, ...]:
        return arguments(pid)

    def launch(self, launch: Launch) -> Child:
        stdout, stderr = launch.output or (subprocess.DEVNULL, subprocess.DEVNULL)
        return _LinuxChild(
            subprocess.Popen(
                launch.arguments,
                executable=launch.executable,
                env=launch.environment,
                cwd=launch.directory,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
                preexec_fn=partial(_die_with, os.getpid()) if launch.dies_with_parent else None,
            )
        )

    def open_pidfd(self, pid: int) -> int:
        return os.pidfd_open(pid)

    def close_pidfd(self, descriptor: int) -> None:
        os.close(descriptor)

    def on_exit(self, descriptor: int, action: Callable[[], None]) -> None:
        self._loop.add_reader(descriptor, action)

    def forget_exit(self, descriptor: int) -> None:
        self._loop.remove_reader(descriptor)

    def signal(self, descriptor: int, number: int) -> None:
        signal.pidfd_send_signal(descriptor, number)

    def signal_group(self, descriptor: int, number: int) -> None:
        signal.pidfd_send_signal(descriptor, number, None, _PIDFD_SIGNAL_PROCESS_GROUP)

    def kill_group(self, group: int, number: int) -> None:
        os.killpg(group, number)


class _LinuxChild:
    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        self._popen = popen

    @property
    def pid(self) -> int:
        return self._popen.pid

    def wait(self) -> int:
        return self._popen.wait()

    def abandon(self) -> None:
        # Popen would complain of a running child.
        self._popen.returncode = 0


def _die_with(agent: int) -> None:
    """In the child, before exec: have the kernel kill it when the agent dies, however the agent dies."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != agent:  # it died before we asked
        os.kill(os.getpid(), signal.SIGKILL)


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
