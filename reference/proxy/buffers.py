"""The buffers that relays move bytes with, shared by all connections of a loop."""

from __future__ import annotations

BIG_BUFFER = 1 << 20
#: What is read from a TLS socket at once, and encrypted at once: OpenSSL's memory for it stays with the connection.
PIECE = 1 << 16
#: The same where connections carry streams: fewer calls are worth the memory there.
STREAM_PIECE = 1 << 18
#: Room for a piece, and for the beginning of a record that came before.
MODEST_BUFFER = PIECE + (1 << 14)
#: As many directions may be stuck with a big buffer; further ones get modest ones, so that slow readers cost little.
BIG_BUFFERS = 16


class Buffers:
    """The pool of one loop.

    ``current`` is what a turn reads into. Whoever cannot pass on what it has read in the same turn takes the buffer
    away with :meth:`keep`, and brings it back with :meth:`give`: so an idle connection has none, and a busy one whose
    sink is never full has no work with it. ``raw`` is for what is still encrypted, within a turn, and has the size
    ``piece``.
    """

    def __init__(self, piece: int = PIECE) -> None:
        self.piece = piece
        self.current = memoryview(bytearray(BIG_BUFFER))
        self.raw = memoryview(bytearray(piece))
        self._spare: memoryview | None = None
        self._big_kept = 0

    def keep(self) -> memoryview:
        """Take the current buffer away; the next turn gets another one."""
        kept = self.current
        if len(kept) == BIG_BUFFER:
            self._big_kept += 1
        if self._big_kept >= BIG_BUFFERS:
            self.current = memoryview(bytearray(MODEST_BUFFER))
        else:
            self.current = self._spare or memoryview(bytearray(BIG_BUFFER))
            self._spare = None
        return kept

    def give(self, buffer: memoryview) -> None:
        """Bring a kept buffer back."""
        if len(buffer) != BIG_BUFFER:
            return
        self._big_kept -= 1
        if len(self.current) == BIG_BUFFER:
            self._spare = buffer
        else:
            self.current = buffer
