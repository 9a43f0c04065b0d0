"""Each story of ``scenarios/`` is told in every world; a world that is wrong does not get away with it.

``tests/containers`` tells them in containers.
"""

from __future__ import annotations

import pytest

from proxyproof import scenarios
from proxyproof.scenarios import Ending
from proxyproof.scenarios.cli import WORLDS
from reference.supervisor.simulation.safeguards import Safeguard
from reference.supervisor.simulation.scenarios import SimulatedWorld


@pytest.mark.parametrize("name", scenarios.names())
@pytest.mark.parametrize("world", [world for world in WORLDS if world != "containers"])
def test_a_story_comes_true(name: str, world: str) -> None:
    with WORLDS[world]() as made:
        told = scenarios.tell(scenarios.load(name), made)
    assert told.ending is Ending.FULFILLED, told.reason
    assert told.world == world


@pytest.mark.parametrize(
    ("name", "safeguards"),
    [
        ("torn-snapshot", {Safeguard.SEARCH}),
        ("pid-reuse-after-reboot", {Safeguard.BOOT_ID, Safeguard.START_TIME}),
        ("port-range-exhausted", {Safeguard.BIND_TEST}),
        ("everything-at-once", {Safeguard.SEARCH}),
        ("deregistered-meanwhile", {Safeguard.GROUP_KILL, Safeguard.REMNANTS}),
    ],
)
def test_a_story_misses_its_safeguards(name: str, safeguards: set[Safeguard]) -> None:
    told = scenarios.tell(scenarios.load(name), SimulatedWorld(without=frozenset(safeguards)))
    assert told.ending is Ending.UNFULFILLED


def test_every_word_is_used_by_some_story() -> None:
    """Otherwise nobody would notice that a world has forgotten it."""
    steps = [step for name in scenarios.names() for step in scenarios.load(name).steps]
    verbs = {action.verb for step in steps for action in step.do}
    states = {expectation.state for step in steps for expectation in step.then}
    assert verbs == {action.split()[0] for action in scenarios.ACTIONS}
    assert states == {expectation.split()[1] for expectation in scenarios.EXPECTATIONS}
    programs = {action.options.get("program", "builtin") for step in steps for action in step.do}
    assert programs == set(scenarios.PROGRAMS)


def test_every_step_is_told_and_has_an_end() -> None:
    for name in scenarios.names():
        scenario = scenarios.load(name)
        assert len(scenario.story) > 80
        assert all(step.tell.endswith(".") and step.then for step in scenario.steps), name
