"""What happened, in the order in which it happened: the trace that people read and machines compare."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened at ``time`` (virtual seconds) to ``who``; ``kind`` is one word that a picture goes by.

    Kinds: ``deed`` (somebody did something), ``begin`` and ``end`` (of an agent, a process, a boot), ``signal``,
    ``note``, ``breach``.
    """

    time: float
    who: str
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.time:12.3f}  {self.who:<16} {self.text}"


class Chronicle:
    """The entries of one story. Equal stories have equal :attr:`digest`, on whatever machine and day."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def add(self, time: float, who: str, kind: str, text: str) -> None:
        self.entries.append(Entry(time, who, kind, text))

    @property
    def lines(self) -> list[str]:
        """The trace as text, an entry a line."""
        return [str(entry) for entry in self.entries]

    @property
    def digest(self) -> str:
        """A hash of the whole trace, hexadecimal."""
        return hashlib.sha256("\n".join(self.lines).encode()).hexdigest()
