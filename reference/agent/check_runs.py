"""What checks are made of: where their results go, what is remembered of them, and how one stands that is under way."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Protocol

import msgspec

from reference.agent.looking import Look
from reference.catalog.model import Check, Status
from reference.config.checks import CheckDefinition

#: Seconds between looks at a proxy that listens, and the most that a look may take.
INTERVAL = 10.0


class Board(Protocol):
    """Where results are shown: the catalog."""

    def put_check(self, check: Check) -> None:
        """Show a result."""

    def remove_check(self, check_id: str) -> None:
        """Show it no longer."""


class CheckMemory(Protocol):
    """Remembers what TTL checks were told, over the end of the agent. Times are seconds since the epoch."""

    def remember_result(self, check_id: str, status: Status, output: str, *, expires: float) -> None:
        """Remember a result. Raises :class:`~reference.agent.services.KeeperError`."""

    def recall_result(self, check_id: str) -> tuple[Status, str] | None:
        """The result that has not expired."""


class CheckSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for all checks; times in seconds.

    ``output_delay`` is how long a new output may stay unknown to the mesh when the status is the same: every change
    wakes whoever waits for the service.
    """

    node: str = ""
    proxy_notes: str = ""
    proxy_interval: float = INTERVAL
    output_delay: float = 300.0
    discard_output: bool = False
    reap_interval: float = 30.0
    reap_after_min: float = 60.0


class Run(msgspec.Struct, kw_only=True, eq=False):
    """A check under way; ``check`` is its result, ``shown`` what the mesh knows of it."""

    check: Check
    shown: Check
    definition: CheckDefinition | None = None
    look: Look | None = None
    #: A proxy is looked at closely until it listens.
    target: tuple[str, int] | None = None
    #: What a TTL check was told last, and what to add when a proxy does not listen.
    told: str = ""
    trouble: str = ""
    critical_since: float | None = None
    #: Ends the pause between two looks, which come closely again where it was told to start over.
    wake: asyncio.Event = msgspec.field(default_factory=asyncio.Event)
    start_over: bool = False
    task: asyncio.Task[None] | None = None
    timer: asyncio.TimerHandle | None = None
    late: asyncio.TimerHandle | None = None

    def cancel(self) -> None:
        """Let nothing happen any more."""
        for handle in (self.task, self.timer, self.late):
            if handle is not None:
                handle.cancel()


def worst_of(checks: Iterable[Check]) -> tuple[Status, str]:
    """What an alias of these checks says."""
    known = sorted(checks, key=lambda check: check.id)
    for status in (Status.CRITICAL, Status.WARNING):
        for check in known:
            if check.status is status:
                return status, f'Aliased check "{check.name}" failing: {check.output}'
    return Status.PASSING, "All checks passing." if known else "No checks found."
