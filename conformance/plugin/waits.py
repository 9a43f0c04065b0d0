"""Waiting on observables: every wait has a named budget, and its duration is part of the result.

======================  ======================================================================================
:class:`CheckFailure`   the implementation did wrong; the check ends here
:class:`StartFailed`    the agent ended instead of coming up
:class:`Late`           what was awaited happened, but only after its budget
:class:`Never`          it had not happened when the suite lost its patience, after three budgets
======================  ======================================================================================
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from conformance.budgets import Budgets
from conformance.instruments.api import Unreachable
from conformance.instruments.history import History
from conformance.report.model import TimedWait

Found = TypeVar("Found")

#: Seconds between two looks: of what has to hold, and of what is about to run out of its budget.
_CLOSE = 0.1
#: Of what is awaited: part of the time that it has already taken, seconds at least, and at most.
_PART, _SHORTEST, _LONGEST = 0.25, 0.005, 0.5


class CheckFailure(AssertionError):
    """A failure that no waiting will mend: ``until`` passes it on at once."""


class StartFailed(CheckFailure):
    """The agent ended instead of coming up."""


class Late(CheckFailure):
    """It happened, but not within its budget."""


class Never(CheckFailure):
    """It did not happen while the suite had patience."""


class Waits:
    """The waits of one check, and a record of each."""

    def __init__(self, budgets: Budgets, history: History) -> None:
        self._budgets = budgets
        self._history = history
        self._began = time.monotonic()
        self.timings: list[TimedWait] = []

    def budget(self, name: str) -> float:
        """The seconds of a named budget, scaled for this machine."""
        return self._budgets[name]

    def patience(self, name: str) -> float:
        """The seconds after which the suite no longer waits for what has a named budget: several times as many."""
        return self.budget(name) * self._budgets.patience

    def until(self, budget_name: str, predicate: Callable[[], Found], *, what: str) -> Found:
        """Poll ``predicate`` until it returns something true, and return that.

        An :class:`AssertionError`, an unreachable API or a process that has gone mean "not yet", and are quoted
        if it stays so. Raises :class:`Late` when it comes true after its budget, :class:`Never` when it does not
        within as many as the suite has patience for.
        """
        allowed, patience = self.budget(budget_name), self.patience(budget_name)
        began = time.monotonic()
        last = ""
        while True:
            found, reason = _attempt(predicate)
            took = time.monotonic() - began
            last = reason or last
            if found and took <= allowed:
                self._record(budget_name, what, took, "in time")
                return found
            seen = f" (last: {last})" if last else ""
            if found:
                self._record(budget_name, what, took, "late")
                raise Late(
                    f"late: {what} took {took:.2f} s, and the budget {budget_name} is {allowed:g} s{seen}"
                )
            if took > patience:
                self._record(budget_name, what, took, "never")
                raise Never(
                    f"never: {what} did not happen within {took:.2f} s, {self._budgets.patience:g} times the "
                    f"budget {budget_name}{seen}"
                )
            time.sleep(_pause(took, allowed))

    def holds(self, budget_name: str, predicate: Callable[[], object], *, what: str) -> None:
        """Watch for the whole of a budget that ``predicate`` stays true: for things that must not happen.

        Raises :class:`CheckFailure` the first time that it does not, quoting an :class:`AssertionError` of it.
        """
        allowed = self.budget(budget_name)
        began = time.monotonic()
        while True:
            found, reason = _attempt(predicate)
            took = time.monotonic() - began
            if not found:
                self._record(budget_name, what, took, "broken")
                raise CheckFailure(f"broken after {took:.2f} s: {what}" + (f" ({reason})" if reason else ""))
            if took >= allowed:
                self._record(budget_name, what, took, "held")
                return
            time.sleep(min(_CLOSE, allowed - took))

    def _record(self, budget: str, what: str, took: float, outcome: str) -> None:
        timing = TimedWait(
            at=round(time.monotonic() - self._began - took, 4),
            budget=budget,
            what=what,
            seconds=round(took, 4),
            allowed=self.budget(budget),
            outcome=outcome,
        )
        self.timings.append(timing)
        self._history.record("wait", budget=budget, what=what, took=timing.seconds, outcome=outcome)


def _pause(took: float, allowed: float) -> float:
    """Seconds until the next look at what has not come yet.

    A look costs work, of the suite and of what it judges, which others beside it wait for. What comes just within its
    budget is seen just within it.
    """
    pause = min(max(took * _PART, _SHORTEST), _LONGEST)
    return min(pause, max((allowed - took) / 2, _CLOSE)) if took < allowed else pause


def _attempt(predicate: Callable[[], Found]) -> tuple[Found | None, str]:
    try:
        return predicate(), ""
    except CheckFailure:
        raise
    except (AssertionError, Unreachable, ProcessLookupError) as error:
        return None, str(error)
