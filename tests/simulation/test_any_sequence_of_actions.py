"""The suite's model of the lifecycle (:mod:`conformance.lifecycle_model`) on the simulated machine: what it tells a few
times with real processes it tells here many times, with more programs and services, and misses its safeguards.

``PROXYPROOF_STORIES`` says how many.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from conformance import lifecycle_model as model
from proxyproof.scenarios import PROGRAMS, SERVICES, Ending, Scenario, Told, tell
from reference.supervisor.simulation.safeguards import Safeguard
from reference.supervisor.simulation.scenarios import SimulatedWorld

_CRASHES = 3


def stories(*, least: int, most: int) -> st.SearchStrategy[Scenario]:
    """Stories of so many actions; those that are not possible where they stand are left out."""
    sequences = st.lists(
        st.sampled_from(model.actions(SERVICES, tuple(PROGRAMS))), min_size=least, max_size=most
    )
    return sequences.map(lambda actions: model.story(actions, most_crashes=_CRASHES))


def told(story: Scenario, *without: Safeguard) -> Told:
    return tell(story, SimulatedWorld(without=frozenset(without)))


@settings(
    max_examples=int(os.environ.get("PROXYPROOF_STORIES", "100")),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
@given(stories(least=20, most=60))
def test_the_model_comes_true(story: Scenario) -> None:
    outcome = told(story)
    assert outcome.ending is Ending.FULFILLED, f"{outcome.reason}\n{model.words(story)}"


class _Missed(Exception):
    """A story that a safeguard was taken from; its steps."""


@pytest.mark.parametrize(
    ("safeguard", "deeds"),
    [
        (Safeguard.SEARCH, {"lose", "tear"}),
        (Safeguard.SYNC, {"reboot"}),
        (Safeguard.GROUP_KILL, {"remove", "define", "crash"}),
    ],
)
def test_the_model_misses_a_safeguard_and_says_why_in_few_words(
    safeguard: Safeguard, deeds: set[str]
) -> None:
    shortest: list[Scenario] = []

    @settings(
        max_examples=1000,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    @given(stories(least=10, most=40))
    def look(story: Scenario) -> None:
        if told(story, safeguard).ending is not Ending.FULFILLED:
            shortest[:] = [story]
            raise _Missed

    with pytest.raises(_Missed):
        look()
    verbs = [action.verb for step in shortest[0].steps for action in step.do]
    assert len(verbs) <= 6, model.words(shortest[0])
    assert deeds & set(verbs), model.words(shortest[0])


def test_a_story_is_told_in_lines() -> None:
    found = {action.words: action for action in model.actions(["api"], ["polite", "deaf"])}
    chosen = [
        "define api program=polite",
        "start",
        "start",
        "kill",
        "define api program=deaf",
        "tear",
        "start",
    ]
    story = model.story([found[words] for words in [*chosen, "remove api"]], most_crashes=1)
    assert model.words(story) == (
        "  1. define api program=polite\n"
        "  2. start                           → api runs\n"
        "  3. kill                            → api unchanged\n"
        "  4. define api program=deaf\n"
        "  5. tear\n"
        "  6. start                           → api replaced\n"
        "  7. remove api                      → api gone"
    )
