"""What the simulator found, each as the short story that it made of it."""

from __future__ import annotations

import pytest

from reference.supervisor.simulation.schedule import parse
from reference.supervisor.simulation.story import play

STORIES = {
    "children of an adopted proxy whose zombie nobody collects yet": """
        world lazy-init
        0  start
        1  define web program=family
        2  stop
        3  start
        4  crash web
        """,
    "children of a proxy that ended while no agent was there": """
        0  start
        1  define web program=family
        2  stop
        3  crash web
        4  start
        """,
    "the same, and the snapshot is lost": """
        0  start
        1  define web program=family
        2  stop
        3  crash web
        3  lose
        4  start
        """,
    "an outdated proxy whose agent is killed before it has ended": """
        0  start
        1  define api program=deaf
        2  stop
        3  define api program=polite
        4  start
        5  kill
        6  start
        """,
    "a pid file from before a reboot": """
        0  start
        1  define web program=dawdling
        2  remove web
        3  reboot
        4  start
        """,
    "a snapshot that could not be written": """
        0  start
        1  define web
        2  fill
        3  crash web
        4  free
        """,
}


@pytest.mark.parametrize("story", STORIES)
def test_it_breaks_no_rule_any_more(story: str) -> None:
    outcome = play(parse(STORIES[story]))
    assert not outcome.rule, "\n".join((outcome.breach, *outcome.chronicle.lines))
