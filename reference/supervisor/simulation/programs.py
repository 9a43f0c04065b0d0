"""How the programs of a simulated machine behave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Program:
    """A program that is run as a proxy. Times in seconds.

    ``interrupt`` is how long it takes to end when it is asked to, ``None`` when it does not care; ``kill`` how long
    the kernel takes to end it; ``run`` after how long it crashes by itself. ``children`` care for no polite signal.
    """

    interrupt: float | None = 0.05
    kill: float = 0.01
    run: float | None = None
    children: int = 0
    executable: bool = True

    @property
    def sound(self) -> bool:
        """Whether it keeps running once it is started."""
        return self.executable and self.run is None


#: By the name that schedules and traces have for them.
PROGRAMS: Mapping[str, Program] = {
    "polite": Program(),
    "slow": Program(interrupt=3.0),
    "dawdling": Program(interrupt=6.5),
    "deaf": Program(interrupt=None),
    "wedged": Program(interrupt=None, kill=2.5),
    "family": Program(children=2),
    "crashing": Program(run=0.4),
    "fleeting": Program(run=0.0),
    "flaky": Program(run=12.0),
    "missing": Program(executable=False),
}
