"""Who a process is, and how it is signalled without ever meeting anybody else.

Identity is pid, kernel start time and boot id, held by a pidfd: a pid alone is never trusted, since pids recycle.
"""

from __future__ import annotations

import errno
import signal
from contextlib import suppress

from reference.supervisor.kernel import Kernel
from reference.supervisor.spec import Process


def identify(kernel: Kernel, pid: int, boot: str) -> Process | None:
    """The identity of a live process; ``None`` when it is gone or a zombie."""
    found = kernel.stat(pid)
    if found is None or found.ended:
        return None
    return Process(pid=pid, start_time=found.start_time, boot_id=boot)


def hold(kernel: Kernel, process: Process) -> int | None:
    """A pidfd that holds exactly this process; ``None`` when it is gone, or its pid is someone else's by now.

    A thread's id is refused by the kernel. Opened first and compared afterwards, so that nobody can take the pid
    in between.
    """
    try:
        descriptor = kernel.open_pidfd(process.pid)
    except OSError:
        return None
    if identify(kernel, process.pid, process.boot_id) == process:
        return descriptor
    kernel.close_pidfd(descriptor)
    return None


def may_signal(kernel: Kernel, process: Process) -> bool:
    """Whether this process is there and takes signals from here; another user's does not."""
    descriptor = hold(kernel, process)
    if descriptor is None:
        return False
    try:
        kernel.signal(descriptor, 0)
    except OSError:
        return False
    finally:
        kernel.close_pidfd(descriptor)
    return True


def signal_group(kernel: Kernel, descriptor: int, pid: int, number: int) -> None:
    """Signal the process that ``descriptor`` holds and, where it leads its group, the whole group.

    Does nothing when the process is gone; raises :class:`PermissionError` when it is another user's.
    """
    with suppress(ProcessLookupError):
        found = kernel.stat(pid)
        if found is None or found.group != pid:
            kernel.signal(descriptor, number)
            return
        try:
            kernel.signal_group(descriptor, number)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOSYS):
                raise
            # An older kernel: make sure that the leader is there, then take the group by its number.
            kernel.signal(descriptor, 0)
            kernel.kill_group(pid, number)


def kill_remnants(kernel: Kernel, leader: Process) -> None:
    """Kill what is left of the session of a leader that is gone.

    While any member lives the kernel gives the leader's pid to nobody else; so if that pid is taken again, the
    session was empty, and whoever is found in a session of that number is a stranger. The leader itself may still be
    there, as a zombie: its end is known before init has collected it, and some init never does.
    """
    found = kernel.stat(leader.pid)
    if found is not None and found.start_time != leader.start_time:
        return
    for pid in kernel.pids():
        found = kernel.stat(pid)
        if found is None or found.session != leader.pid or found.ended:
            continue
        kill(kernel, Process(pid=pid, start_time=found.start_time, boot_id=leader.boot_id))


def kill(kernel: Kernel, process: Process) -> None:
    """Send SIGKILL to exactly this process; nothing happens when it is gone or another user's."""
    descriptor = hold(kernel, process)
    if descriptor is None:
        return
    try:
        with suppress(OSError):
            kernel.signal(descriptor, signal.SIGKILL)
    finally:
        kernel.close_pidfd(descriptor)
