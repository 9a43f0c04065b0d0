"""Standard output as a log file that the proxy keeps small by itself, losing no line.

The agent that starts the proxy opens the file and says in the environment how large it may become. From then on it is
the proxy's: it renames a full one (``<file>.1`` is the newest, ``<file>.<n>`` the oldest that is kept) and opens a new
one in its place, also while no agent is there; and it moves on to a new file when somebody else has renamed the old
one. Lines that other threads write meanwhile land in one or the other. A lock on the file tells the agent that it is
looked after.
"""

from __future__ import annotations

import fcntl
import os
import stat
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Protocol

#: How often a rename by somebody else is looked for (s).
_LOOK_SECONDS = 1.0


class Output(Protocol):
    """Where lines go."""

    def write(self, line: bytes) -> None:
        """Write one line. Raises :class:`OSError`."""


class Plain:
    """A descriptor as it is."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, line: bytes) -> None:
        os.write(self._descriptor, line)


class LogFile:
    """The file behind a descriptor, which is called ``path``; from ``limit`` bytes on it is put aside."""

    def __init__(self, descriptor: int, path: str, *, limit: int, keep: int) -> None:
        self._descriptor = descriptor
        self._path = path
        self._limit = limit
        self._keep = keep
        self._size = os.fstat(descriptor).st_size
        self._look_at = 0.0
        self._moving = threading.Lock()
        self._claim(descriptor)

    def write(self, line: bytes) -> None:
        now = time.monotonic()
        due = self._size >= self._limit or now >= self._look_at
        # Whoever comes meanwhile writes to the old file, which is not lost.
        if due and self._moving.acquire(blocking=False):
            try:
                self._look_at = now + _LOOK_SECONDS
                with suppress(OSError):
                    self._move_on()
            finally:
                self._moving.release()
        written = os.write(self._descriptor, line)
        self._size += written

    def _move_on(self) -> None:
        """Put the file aside if it is full, and open a new one if it is not the one of its name any more."""
        mine = os.fstat(self._descriptor)
        self._size = mine.st_size
        try:
            named = os.stat(self._path, follow_symlinks=False)
            renamed = (named.st_dev, named.st_ino) != (mine.st_dev, mine.st_ino)
        except FileNotFoundError:
            renamed = True
        if not renamed:
            if self._size < self._limit:
                return
            last = next(n for n in range(1, self._keep + 1) if n == self._keep or not self._aside(n))
            for number in range(last - 1, 0, -1):
                os.replace(f"{self._path}.{number}", f"{self._path}.{number + 1}")
            os.replace(self._path, f"{self._path}.1")
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        fresh = os.open(self._path, flags, 0o600)
        try:
            self._claim(fresh)
            self._size = os.fstat(fresh).st_size
            os.dup2(fresh, self._descriptor)
        finally:
            os.close(fresh)

    def _aside(self, number: int) -> bool:
        return os.path.lexists(f"{self._path}.{number}")

    @staticmethod
    def _claim(descriptor: int) -> None:
        """The lock belongs to the open file, so it lasts as long as any copy of its descriptor."""
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def standard_output(environment: Mapping[str, str]) -> Output:
    """Standard output, looked after where it is a file and the environment says how large it may become."""
    limit = environment.get("CONNECT_PROXY_LOG_ROTATE_BYTES", "")
    keep = environment.get("CONNECT_PROXY_LOG_ROTATE_MAX_FILES", "1")
    if limit.isdecimal() and int(limit) > 0 and keep.isdecimal() and int(keep) > 0:
        with suppress(OSError):
            path = os.readlink("/proc/self/fd/1")
            if stat.S_ISREG(os.fstat(1).st_mode) and os.path.lexists(path):
                return LogFile(1, path, limit=int(limit), keep=int(keep))
    return Plain(1)
