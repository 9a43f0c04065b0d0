"""What the agent measures: samples by name, in intervals of ten seconds as the original keeps them, and in all.

Names begin with ``telemetry.metrics_prefix``, and have the parts of the original's: ``consul.http.GET.v1.agent.self``.
``telemetry.prefix_filter`` and ``filter_default`` choose among them. Pure, but for the clocks.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping

import msgspec

from reference.config.model import Telemetry

#: How long an interval is (s), and how many are kept.
INTERVAL, _KEPT = 10.0, 6


class Aggregate(msgspec.Struct):
    """What several values of one name come to; ``mean`` and ``spread`` as Welford keeps them, which loses no digits."""

    count: int = 0
    sum: float = 0.0
    mean: float = 0.0
    spread: float = 0.0
    least: float = math.inf
    most: float = -math.inf

    def add(self, value: float) -> None:
        """One value more."""
        self.count += 1
        self.sum += value
        before = self.mean
        self.mean += (value - before) / self.count
        self.spread += (value - before) * (value - self.mean)
        self.least = min(self.least, value)
        self.most = max(self.most, value)

    @property
    def deviation(self) -> float:
        """The standard deviation of a sample, 0 of fewer than two."""
        return math.sqrt(self.spread / (self.count - 1)) if self.count > 1 else 0.0


class Interval(msgspec.Struct):
    """One interval: when it began (s since the epoch), and what was sampled in it."""

    began: float
    samples: dict[str, Aggregate] = msgspec.field(default_factory=dict)


class Metrics:
    """Collects samples (milliseconds). ``now`` gives seconds since the epoch."""

    def __init__(self, options: Telemetry, *, now: Callable[[], float] = time.time) -> None:
        self._options = options
        self._now = now
        self._intervals: list[Interval] = []
        self._totals: dict[str, Aggregate] = {}
        self._wanted: dict[str, bool] = {}
        self._listener: Callable[[str, float], None] | None = None

    def listen(self, listener: Callable[[str, float], None]) -> None:
        """Tell of each sample from now on: its full name, and its milliseconds."""
        self._listener = listener

    @property
    def totals(self) -> Mapping[str, Aggregate]:
        """Everything that was sampled since the agent began."""
        return self._totals

    def name(self, *parts: str) -> str:
        """The full name of a metric."""
        prefix = self._options.metrics_prefix
        return ".".join((prefix, *parts) if prefix else parts)

    def sample(self, *parts: str, milliseconds: float) -> None:
        """Something took a time."""
        name = self.name(*parts)
        if not self.wanted(name):
            return
        self._current().samples.setdefault(name, Aggregate()).add(milliseconds)
        self._totals.setdefault(name, Aggregate()).add(milliseconds)
        if self._listener is not None:
            self._listener(name, milliseconds)

    def wanted(self, name: str) -> bool:
        """Whether the filters let a name through: the longest prefix decides."""
        known = self._wanted.get(name)
        if known is None:
            known = self._wanted[name] = self._decide(name)
        return known

    def interval(self) -> Interval:
        """The latest interval that is over, or the first of all."""
        current = self._current()
        return self._intervals[-2] if len(self._intervals) > 1 else current

    def _current(self) -> Interval:
        began = math.floor(self._now() / INTERVAL) * INTERVAL
        if not self._intervals or self._intervals[-1].began != began:
            self._intervals.append(Interval(began))
            del self._intervals[:-_KEPT]
        return self._intervals[-1]

    def _decide(self, name: str) -> bool:
        prefixes = {
            **dict.fromkeys(self._options.allowed_prefixes, True),
            **dict.fromkeys(self._options.blocked_prefixes, False),
        }
        longest = max((prefix for prefix in prefixes if name.startswith(prefix)), key=len, default=None)
        return self._options.filter_default if longest is None else prefixes[longest]
