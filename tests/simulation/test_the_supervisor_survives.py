"""The simulated world: no seed breaks a rule, each safeguard is needed, and a seed tells the same story twice."""

from __future__ import annotations

import pytest

from reference.supervisor.simulation.story import tell
from reference.supervisor.simulation.world import Safeguard


@pytest.mark.parametrize("first", range(0, 100, 25))
def test_no_seed_breaks_a_rule(first: int) -> None:
    for seed in range(first, first + 25):
        outcome = tell(seed)
        assert outcome.breach is None, "\n".join((f"seed {seed}: {outcome.breach}", *outcome.trace[-40:]))
        assert outcome.faults > 10, "a story without accidents shows nothing"


@pytest.mark.parametrize("safeguard", Safeguard)
def test_each_safeguard_is_missed_within_200_seeds(safeguard: Safeguard) -> None:
    assert any(tell(seed, without=frozenset({safeguard})).breach for seed in range(200))


def test_a_seed_tells_the_same_story_twice() -> None:
    first, second, other = tell(7), tell(7), tell(8)
    assert first.trace_hash == second.trace_hash
    assert first.trace_hash != other.trace_hash
