"""The buffers that relays move bytes with, shared by all connections of a loop."""

from __future__ import annotations

#: The most that one TLS record carries.
RECORD = 16_384
#: What a turn reads into.
BIG_BUFFER = 1 << 20
#: The same where connections carry streams: who moves more at once is woken, and wakes others, less often.
STREAM_BUFFER = 1 << 22
#: What is read from a TLS socket at once, and encrypted at once: OpenSSL's memory for it stays with the connection.
PIECE = 1 << 16
#: The same for streams: fewer calls are worth the memory there.
STREAM_PIECE = 1 << 19
#: Stuck directions keep so much in big buffers; further ones get modest ones, so that slow readers cost little.
KEPT = 1 << 24


class Buffers:
    """The pool of one loop.

    ``current`` is what a turn reads into. Whoever cannot pass on what it has read in the same turn takes the buffer
    away with :meth:`keep`, and brings it back with :meth:`give`: so an idle connection has none, and a busy one whose
    sink is never full has no work with it. ``raw`` is for what is still encrypted, within a turn.
    """

    def __init__(self, big: int = BIG_BUFFER, piece: int = PIECE) -> None:
        self._big = big
        # Room for a piece, and for the beginning of a record that came before.
        self._modest = piece + RECORD
        self.current = memoryview(bytearray(big))
        self.raw = memoryview(bytearray(piece))
        self._spare: memoryview | None = None
        self._big_kept = 0

    def keep(self) -> memoryview:
        """Take the current buffer away; the next turn gets another one."""
        kept = self.current
        if len(kept) == self._big:
            self._big_kept += 1
        if self._big_kept * self._big >= KEPT:
            self.current = memoryview(bytearray(self._modest))
        else:
            self.current = self._spare or memoryview(bytearray(self._big))
            self._spare = None
        return kept

    def give(self, buffer: memoryview) -> None:
        """Bring a kept buffer back."""
        if len(buffer) != self._big:
            return
        self._big_kept -= 1
        if len(self.current) == self._big:
            self._spare = buffer
        else:
            self.current = buffer
