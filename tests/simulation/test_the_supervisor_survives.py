"""The simulated world: no seed breaks a rule, each safeguard is needed, and a seed tells the same story everywhere."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from reference.supervisor.simulation.safeguards import ABLATIONS, Safeguard
from reference.supervisor.simulation.seeds import SABOTAGE, generate
from reference.supervisor.simulation.story import play

HOURS = 0.5
#: Each safeguard must be missed within so many seeds.
BUDGET = 200


@pytest.mark.parametrize("first", range(0, 80, 20))
def test_no_seed_breaks_a_rule(first: int) -> None:
    for seed in range(first, first + 20):
        schedule = generate(seed, hours=HOURS)
        outcome = play(schedule)
        assert not outcome.rule, "\n".join((f"seed {seed}: {outcome.breach}", *outcome.chronicle.lines[-40:]))
        assert schedule.faults > 50, "a story without accidents shows nothing"


@pytest.mark.parametrize("safeguard", Safeguard)
def test_each_safeguard_is_missed(safeguard: Safeguard) -> None:
    ablated = frozenset({safeguard})
    assert any(play(generate(seed, hours=HOURS), without=ablated).rule for seed in range(BUDGET))


def test_every_safeguard_can_be_taken_away() -> None:
    assert ABLATIONS.keys() == set(Safeguard)


@pytest.mark.parametrize("seed", range(len(SABOTAGE)))
def test_each_canary_is_caught(seed: int) -> None:
    """A rule that is broken on purpose, behind the supervisor's back: the watchman must see it."""
    outcome = play(generate(seed, hours=0.1, canary=True))
    assert outcome.rule == SABOTAGE[seed], outcome.breach


def test_a_seed_tells_the_same_story_twice_and_another_seed_another() -> None:
    digests = [play(generate(seed, hours=HOURS)).chronicle.digest for seed in (7, 7, 8)]
    assert digests[0] == digests[1] != digests[2]


def test_a_seed_tells_the_same_story_in_every_process() -> None:
    """Whatever order sets and dictionaries of strings have there."""
    program = (
        "from reference.supervisor.simulation.seeds import generate\n"
        "from reference.supervisor.simulation.story import play\n"
        f"print(play(generate(11, hours={HOURS})).chronicle.digest)"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert digests == {play(generate(11, hours=HOURS)).chronicle.digest + "\n"}
