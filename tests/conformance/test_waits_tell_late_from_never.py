"""A wait ends with the thing itself, or says how late it was, or that it never came."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest

from conformance.budgets import PATIENCE, Budget, Budgets, load
from conformance.instruments.api import Unreachable
from conformance.instruments.history import History
from conformance.plugin.waits import CheckFailure, Late, Never, Waits

BUDGET = 0.2


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("conformance.plugin.waits.time", clock)
    return clock


@pytest.fixture
def waits() -> Waits:
    table = {"short": Budget(name="short", seconds=BUDGET, meaning="a test")}
    return Waits(Budgets(table=table), History())


def after(seconds: float, clock: Clock) -> Callable[[], bool]:
    began = clock.now
    return lambda: clock.now - began >= seconds


def test_what_was_found_is_returned_and_timed(waits: Waits) -> None:
    assert waits.until("short", lambda: "it", what="it is there") == "it"
    (timing,) = waits.timings
    assert (timing.budget, timing.what, timing.outcome) == ("short", "it is there", "in time")
    assert timing.seconds <= timing.allowed == BUDGET


def test_late(waits: Waits, clock: Clock) -> None:
    with pytest.raises(Late, match=r"late: it comes took .* budget short is 0\.2 s"):
        waits.until("short", after(BUDGET * 1.2, clock), what="it comes")
    assert waits.timings[0].outcome == "late"


@pytest.mark.parametrize("seconds", [0.05, 1.0, 10.0, 60.0])
def test_what_comes_just_within_its_budget_is_in_time(clock: Clock, seconds: float) -> None:
    table = {"one": Budget(name="one", seconds=seconds, meaning="a test")}
    waits = Waits(Budgets(table=table), History())
    waits.until("one", after(max(seconds - 0.11, seconds / 2), clock), what="it comes")
    assert waits.timings[0].outcome == "in time"


@pytest.mark.parametrize(("seconds", "looks"), [(0.5, 20), (10.0, 50), (60.0, 150)])
def test_what_takes_long_is_looked_at_less_often(clock: Clock, seconds: float, looks: int) -> None:
    table = {"one": Budget(name="one", seconds=seconds, meaning="a test")}
    seen: list[float] = []
    with pytest.raises(Never):
        Waits(Budgets(table=table, patience=1.0), History()).until(
            "one", lambda: seen.append(clock.now), what="it comes"
        )
    assert len(seen) <= looks
    assert max(later - sooner for sooner, later in pairwise(seen)) <= 0.5


def test_never(waits: Waits, clock: Clock) -> None:
    began = clock.now
    with pytest.raises(Never, match=r"never: it comes did not happen"):
        waits.until("short", lambda: None, what="it comes")
    assert clock.now - began >= BUDGET * PATIENCE
    assert waits.timings[0].outcome == "never"


def test_never_comes_sooner_to_the_impatient(clock: Clock) -> None:
    table = {"short": Budget(name="short", seconds=BUDGET, meaning="a test")}
    waits = Waits(Budgets(table=table, patience=1.0), History())
    with pytest.raises(Never, match="1 times the budget short"):
        waits.until("short", after(BUDGET * 2, clock), what="it comes")


@pytest.mark.parametrize(
    "error", [AssertionError("not yet"), Unreachable("not yet"), ProcessLookupError("not yet")]
)
def test_what_may_still_come_is_quoted_in_the_end(waits: Waits, error: Exception) -> None:
    def fails() -> bool:
        raise error

    with pytest.raises(Never, match=r"last: not yet"):
        waits.until("short", fails, what="it comes")


def test_a_final_failure_ends_the_wait_at_once(waits: Waits) -> None:
    def fails() -> bool:
        raise CheckFailure("no use")

    with pytest.raises(CheckFailure, match="no use"):
        waits.until("short", fails, what="it comes")
    assert waits.timings == []


def test_a_mistake_of_the_check_is_not_waited_for(waits: Waits) -> None:
    with pytest.raises(ZeroDivisionError):
        waits.until("short", lambda: 1 // 0, what="it comes")


def test_what_holds_is_watched_for_the_whole_budget(waits: Waits, clock: Clock) -> None:
    began = clock.now
    waits.holds("short", lambda: True, what="it stays")
    assert clock.now - began >= BUDGET
    assert waits.timings[0].outcome == "held"


def test_what_does_not_hold_fails_as_soon_as_seen(waits: Waits, clock: Clock) -> None:
    gone = after(BUDGET / 4, clock)
    with pytest.raises(CheckFailure, match=r"broken after .*: it stays"):
        waits.holds("short", lambda: not gone(), what="it stays")
    assert waits.timings[0].outcome == "broken"


def test_an_unknown_budget_is_named(waits: Waits) -> None:
    with pytest.raises(KeyError, match=r"no time budget is called 'shot'; known are short"):
        waits.until("shot", lambda: True, what="it comes")


def test_the_table_is_scaled_and_each_budget_has_a_meaning() -> None:
    plain, double = load(), load(2.0)
    for name, budget in plain.table.items():
        assert budget.seconds > 0
        assert budget.meaning
        assert double[name] == 2 * plain[name]
