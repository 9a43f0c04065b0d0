"""Two paths to one application, measured in turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from conformance.bench.load import LoadError

#: As many rounds there are at least.
ROUNDS = 4


@dataclass(frozen=True, kw_only=True)
class Paths:
    """The ports of ``redis`` itself, and of the upstream of ``web`` that leads there.

    ``patience`` is for how long (s) a round begins while the bound is missed, since what disturbs a measurement for a
    while is no fault of who is measured.
    """

    application: int
    upstream: int
    patience: float

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
            ends = time.monotonic() + self.patience
            while True:
                direct.append(measure(self.application))
                proxied.append(measure(self.upstream))
                late = time.monotonic() > ends
                if len(proxied) >= ROUNDS and (late or enough(best(direct), best(proxied))):
                    break
        except (LoadError, OSError) as problem:
            raise AssertionError(f"the load was not carried: {problem}") from problem
        return best(direct), best(proxied)
