"""Lifecycle: any sequence of what operators and accidents do, as the model of the lifecycle demands."""

from __future__ import annotations

from contextlib import closing

from hypothesis import strategies as st

from conformance import lifecycle_model as model
from conformance.checks._situations import ALLOW_API
from conformance.plugin.examples import Counterexample, for_all
from conformance.plugin.lab import Lab
from conformance.plugin.marks import requirement
from conformance.scenarios import ProcessWorld
from proxyproof.scenarios import Ending, Scenario, tell

#: One service over HTTP and two in files; programs that end when they are asked to, alone and with a child.
_ACTIONS = model.actions(("web", "api", "db"), ("polite", "family"))
#: The first two restarts come at once; later ones would be waited for.
_CRASHES = 2


@requirement("lifecycle/sequence/01")
def check_any_sequence_of_actions(lab: Lab) -> None:
    """Draw sequences of what operators and accidents do to an agent with up to three services: start, stop, kill,
    define, change, remove, the crash of a proxy, a reboot, a torn and a lost snapshot. Do each to an agent of its own.

    After each step the processes are those that the model of the lifecycle demands. Source: hardening.
    """

    def prove(story: Scenario) -> None:
        with lab.afresh() as own, closing(ProcessWorld(own, options=ALLOW_API)) as world:
            told = tell(story, world)
        if told.ending is not Ending.FULFILLED:
            raise Counterexample(f"{told.reason}\n{model.words(story, until=told.steps)}")

    sequences = st.lists(st.sampled_from(_ACTIONS), min_size=24, max_size=32)
    stories = sequences.map(lambda actions: model.story(actions, most_crashes=_CRASHES))
    for_all(lab, stories, prove, examples=3, tell=model.words)
