"""The one port through which the supervisor's decisions touch anything."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from reference.supervisor.events import Command, Event, Memory

#: How a world answers: it may be called while a command is carried out, or at any time later.
Post = Callable[[Event], None]


class World(Protocol):
    """Processes, files and the clock, real or simulated."""

    def now(self) -> float:
        """Monotonic time, in seconds."""

    def remember(self) -> tuple[Memory, ...]:
        """What the snapshot says; nothing where there is none, or none that can be used."""

    def execute(self, command: Command) -> None:
        """Carry out one command other than :class:`~.events.Report`.

        ``Seek`` and ``Spawn`` are each answered by exactly one event, ``SetTimer`` by one unless it is cancelled;
        a process that ``Sought`` or ``Started`` named is watched until one ``Exited``. Never raises: what the
        machine refuses is answered (``StartFailed``) or logged and put right by a later command.
        """

    def detach(self) -> None:
        """Stop watching and waiting, and leave every process alone."""
