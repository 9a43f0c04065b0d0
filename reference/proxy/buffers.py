"""The buffers that relays move bytes with, shared by all connections of a loop."""

from __future__ import annotations

BIG_BUFFER = 1 << 20
MODEST_BUFFER = 1 << 16
#: As many directions may be stuck with a big buffer; further ones get modest ones, so that slow readers cost little.
BIG_BUFFERS = 16
#: Buffers kept for the next turn: a turn needs one.
SPARE_BUFFERS = 2


class Buffers:
    """The pool of one loop. A buffer is a memoryview; whoever takes one gives it back."""

    def __init__(self) -> None:
        self._spare: list[memoryview] = []
        self._big_lent = 0

    def take(self) -> memoryview:
        if self._big_lent >= BIG_BUFFERS:
            return memoryview(bytearray(MODEST_BUFFER))
        self._big_lent += 1
        return self._spare.pop() if self._spare else memoryview(bytearray(BIG_BUFFER))

    def give(self, buffer: memoryview) -> None:
        if len(buffer) == BIG_BUFFER:
            self._big_lent -= 1
            if len(self._spare) < SPARE_BUFFERS:
                self._spare.append(buffer)
