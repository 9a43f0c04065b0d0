"""A log file that begins anew after a time or a number of bytes: ``log_file``, ``log_rotate_duration``, ``…_bytes``.

As in the original each file has the time of its beginning in its name: of ``/var/log/agent.log`` comes
``/var/log/agent-<nanoseconds since the epoch>.log``. Nothing is ever removed.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

_MODE = 0o640


class TimedFile(logging.Handler):
    """Writes records to the current file. ``most`` bytes of 0 means: as many as come."""

    def __init__(
        self, path: Path, *, seconds: float, most: int, clock: Callable[[], int] = time.time_ns
    ) -> None:
        """Raises :class:`OSError` when the first file cannot be made."""
        super().__init__()
        self._path, self._seconds, self._most, self._clock = path, seconds, most, clock
        self._file = self._begin()

    def emit(self, record: logging.LogRecord) -> None:
        """Called by the logging library, which holds the lock of this handler."""
        try:
            line = self.format(record) + "\n"
            full = self._most and self._written >= self._most
            if full or self._clock() - self._began >= self._seconds * 1e9:
                self._file.close()
                self._file = self._begin()
            self._file.write(line)
            self._file.flush()
            self._written += len(line.encode(errors="replace"))
        except (OSError, ValueError):
            self.handleError(record)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()
        super().close()

    def _begin(self) -> TextIO:
        self._began, self._written = self._clock(), 0
        suffix = self._path.suffix or ".log"
        path = self._path.with_name(f"{self._path.stem}-{self._began}{suffix}")
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, _MODE)
        return open(descriptor, "w", encoding="utf-8", errors="replace")
