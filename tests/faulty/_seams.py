"""Seams of the supervisor's core that several faults patch."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from reference.supervisor import core, events
from reference.supervisor.core import Supervisor
from reference.supervisor.spec import ProxyState, Timings


def handles(state: ProxyState, event: type[events.Event], handler: Any) -> None:
    """Have another handler in the table of the core."""
    changed = {**core.TRANSITIONS, (state, event): replace(core.TRANSITIONS[state, event], handler=handler)}
    setattr(core, "TRANSITIONS", changed)  # noqa: B010


def timed(**times: Any) -> None:
    """Have other defaults of the supervisor; what it is told otherwise still counts."""
    honest, defaults = Supervisor.__init__, Timings()

    def other(self: Supervisor, *, timings: Timings | None = None, **rest: Any) -> None:
        told = timings or defaults
        unless_told = {
            name: value for name, value in times.items() if getattr(told, name) == getattr(defaults, name)
        }
        honest(self, timings=replace(told, **unless_told), **rest)

    Supervisor.__init__ = other  # type: ignore[method-assign,assignment]
