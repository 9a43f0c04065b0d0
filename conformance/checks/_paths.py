"""Two paths to one application, measured in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from conformance.bench.load import LoadError

#: As many rounds there are at least, and at most: another one follows while the bound is missed, since what disturbs a
#: measurement for a while is no fault of who is measured. The most take longer than most of what a run does besides.
ROUNDS, MOST_ROUNDS = 4, 60


@dataclass(frozen=True, kw_only=True)
class Paths:
    """The ports of ``redis`` itself, and of the upstream of ``web`` that leads there."""

    application: int
    upstream: int

    def in_turn(
        self,
        measure: Callable[[int], float],
        *,
        best: Callable[[Iterable[float]], float],
        enough: Callable[[float, float], bool],
    ) -> tuple[float, float]:
        """The best that is measured directly and through the proxies. Fails when a path carries nothing."""
        direct: list[float] = []
        proxied: list[float] = []
        try:
            for number in range(1, MOST_ROUNDS + 1):
                direct.append(measure(self.application))
                proxied.append(measure(self.upstream))
                if number >= ROUNDS and enough(best(direct), best(proxied)):
                    break
        except (LoadError, OSError) as problem:
            raise AssertionError(f"the load was not carried: {problem}") from problem
        return best(direct), best(proxied)
