"""Reaps orphans at once, as an init does.

The suite is the parent of every orphaned proxy (:func:`conformance.instruments.processes.adopt_orphans`). A proxy that
ended and is not reaped still has its pid, and an agent that adopted it by asking "does this pid exist?" would take
it for alive: the suite would make a conforming agent fail.
"""

from __future__ import annotations

import os
import select
import threading
from contextlib import suppress

from conformance.instruments.processes import Process

#: How soon to look again at a process that ended while it still was somebody else's child, in milliseconds.
_AGAIN_MILLISECONDS = 50


class Reaper:
    """A thread that sleeps until one of the watched processes ends, and collects it if it is ours by then.

    Watches by pidfd, hence never a successor of a pid. Processes that this one started itself must not be watched:
    whoever started them wants their exit code.
    """

    def __init__(self) -> None:
        self._watched: dict[int, Process] = {}
        self._arrivals: list[Process] = []
        self._lock = threading.Lock()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="reaper", daemon=True)
        self._thread.start()

    def watch(self, process: Process) -> None:
        """Reap ``process`` when it has ended and has become a child of this process."""
        with self._lock:
            self._arrivals.append(process)
        os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        """Stop watching."""
        self._closing = True
        os.eventfd_write(self._wake, 1)
        self._thread.join()
        os.close(self._wake)

    def _run(self) -> None:
        ended: set[int] = set()
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        while not self._closing:
            for descriptor, _ in poll.poll(_AGAIN_MILLISECONDS if ended else None):
                if descriptor == self._wake:
                    os.eventfd_read(self._wake)
                    for arrived in self._arrived():
                        poll.register(arrived, select.POLLIN)
                else:
                    poll.unregister(descriptor)
                    ended.add(descriptor)
            for descriptor in [descriptor for descriptor in ended if self._settled(descriptor)]:
                ended.discard(descriptor)
                self._forget(descriptor)
        for descriptor in list(self._watched):
            self._forget(descriptor)

    def _arrived(self) -> list[int]:
        """The pidfds of the processes that came to be watched since the last look."""
        with self._lock:
            arrivals, self._arrivals = self._arrivals, []
        descriptors = []
        for process in arrivals:
            with suppress(ProcessLookupError):
                descriptor = os.pidfd_open(process.pid)
                self._watched[descriptor] = process
                descriptors.append(descriptor)
        return descriptors

    def _settled(self, descriptor: int) -> bool:
        """Whether nobody needs to reap this ended process any more."""
        try:
            return os.waitid(os.P_PIDFD, descriptor, os.WEXITED | os.WNOHANG) is not None
        except ChildProcessError:
            # Somebody else's child, who will reap it, or who dies too and leaves it to us.
            try:
                self._watched[descriptor].stat()
            except ProcessLookupError:
                return True
            return False

    def _forget(self, descriptor: int) -> None:
        del self._watched[descriptor]
        os.close(descriptor)
