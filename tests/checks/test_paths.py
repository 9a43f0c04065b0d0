"""How often both paths are measured: a disturbance passes, a lack does not."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import pytest

from conformance.bench.load import LoadError
from conformance.checks._paths import ROUNDS, Paths

DIRECT, PROXIED = 1, 2
PATIENT = Paths(application=DIRECT, upstream=PROXIED, patience=60)
IMPATIENT = Paths(application=DIRECT, upstream=PROXIED, patience=0)


def measured(proxied: Callable[[int], float]) -> tuple[list[int], Callable[[int], float]]:
    """The rounds so far, and a measurement: 10 directly, and so much through the proxies in each round."""
    rounds: list[int] = []
    numbers = count(1)

    def measure(port: int) -> float:
        if port == DIRECT:
            return 10.0
        rounds.append(next(numbers))
        return proxied(rounds[-1])

    return rounds, measure


def half(direct: float, proxied: float) -> bool:
    return proxied >= direct / 2


def test_who_is_good_enough_is_measured_a_few_times() -> None:
    rounds, measure = measured(lambda _: 5.0)
    assert PATIENT.in_turn(measure, best=max, enough=half) == (10.0, 5.0)
    assert len(rounds) == ROUNDS


def test_a_disturbance_passes() -> None:
    rounds, measure = measured(lambda number: 6.0 if number > ROUNDS + 3 else 1.0)
    assert PATIENT.in_turn(measure, best=max, enough=half) == (10.0, 6.0)
    assert len(rounds) == ROUNDS + 4


def test_who_is_never_good_enough_is_not_measured_for_ever() -> None:
    rounds, measure = measured(lambda number: number / 100)
    assert IMPATIENT.in_turn(measure, best=max, enough=half) == (10.0, ROUNDS / 100)
    assert len(rounds) == ROUNDS


def test_a_path_that_carries_nothing_fails() -> None:
    def measure(_port: int) -> float:
        raise LoadError("nothing arrived within 30 s")

    with pytest.raises(AssertionError, match="nothing arrived"):
        PATIENT.in_turn(measure, best=min, enough=half)
