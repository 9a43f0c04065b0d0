"""Loops for connections that carry a stream, each on a thread of its own.

As long as a turn of a stream takes, everybody else on its loop waits. OpenSSL and the kernel work without the
interpreter's lock, so streams on threads of their own use other cores, and conversations stay quick on the loop where
they began. Connections are set up there as well: several loops at it are slower than one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from reference.proxy.buffers import PIECE, STREAM_PIECE
from reference.proxy.loop import Loop

#: So many streams of a loop get the memory for large pieces: it stays with a connection for as long as that lives.
FAST = 32


class Bulk:
    """At most ``count`` loops, started when they are first needed. Usable from every loop."""

    def __init__(self, count: int, *, on_crash: Callable[[Exception], None]) -> None:
        self._count = count
        self._on_crash = on_crash
        self._lock = threading.Lock()
        self._carried: dict[Loop, int] = {}

    @property
    def carried(self) -> list[int]:
        """How many streams each loop carries."""
        with self._lock:
            return list(self._carried.values())

    def stop(self) -> None:
        """End the loops, whatever they carry."""
        with self._lock:
            for loop in self._carried:
                loop.post(loop.stop)

    def take(self) -> Loop | None:
        """The loop that carries the fewest streams, for one more; None when there are to be no such loops."""
        with self._lock:
            if len(self._carried) < self._count and all(self._carried.values()):
                loop = Loop(on_crash=self._on_crash, bulk=True)
                threading.Thread(target=loop.run, name="bulk", daemon=True).start()
                self._carried[loop] = 0
            if not self._carried:
                return None
            least = min(self._carried, key=self._carried.__getitem__)
            self._carried[least] += 1
            return least

    def piece(self, loop: Loop) -> int:
        """How much the stream that has just come to ``loop`` is to read or encrypt at once."""
        with self._lock:
            return STREAM_PIECE if self._carried[loop] <= FAST else PIECE

    def leave(self, loop: Loop) -> None:
        """A stream on ``loop`` has ended."""
        with self._lock:
            if loop in self._carried:
                self._carried[loop] -= 1
