"""Checks of what is generated: a few examples of a strategy, the same ones each time, and the shortest that fails.

An example of real processes costs seconds, so the search for a shorter one ends after the budget ``shrinking``, and
none is tried twice. ``--seed`` and ``--examples`` explore what no run has tried before.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis.configuration import set_hypothesis_home_dir
from hypothesis.strategies import SearchStrategy

from conformance.plugin.lab import Lab
from conformance.plugin.waits import CheckFailure

Example = TypeVar("Example")


class Counterexample(CheckFailure):
    """A failure whose text tells its example by itself, and what of it matters."""


class Falsified(CheckFailure):
    """An example did not do as required; the text tells the shortest that was found, and how to find it again."""


def for_all(
    lab: Lab,
    strategy: SearchStrategy[Example],
    prove: Callable[[Example], None],
    *,
    examples: int,
    tell: Callable[[Example], str],
) -> None:
    """Draw ``examples`` of the strategy and have each proven; one that raises an AssertionError is made shorter
    unless the operator does not want that.

    ``tell`` puts an example into words; examples of the same words are the same. Raises :class:`Falsified`.
    """
    known: dict[str, AssertionError | None] = {}
    gives_up: list[float] = []
    count = lab.tuning.examples or examples

    def judge(example: Example) -> None:
        words = tell(example)
        if words not in known:
            if gives_up and time.monotonic() > gives_up[0]:
                return
            known[words] = _proven(prove, example)
            lab.history.record("example", words=words, failed=known[words] is not None)
        if (failure := known[words]) is not None:
            gives_up[:] = gives_up or [time.monotonic() + lab.budget("shrinking")]
            told = str(failure) if isinstance(failure, Counterexample) else f"{failure}\nwith {words}"
            raise Falsified(f"{told}\n(--seed {lab.tuning.seed} --examples {count})")

    # What hypothesis keeps of Unicode and the like is of no use to another run.
    set_hypothesis_home_dir(lab.workspace / "hypothesis")
    engine = settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink) if lab.tuning.shortening else (Phase.generate,),
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
        verbosity=Verbosity.quiet,
        print_blob=False,
    )
    try:
        seed(lab.tuning.seed)(engine(given(strategy)(judge)))()
    except Falsified as error:
        raise Falsified(str(error)) from None  # without what hypothesis notes for its own users


def _proven(prove: Callable[[Example], None], example: Example) -> AssertionError | None:
    try:
        prove(example)
    except AssertionError as failure:
        return failure
    return None
