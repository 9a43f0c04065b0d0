"""Generated examples: the shortest that fails is told, with how to find it again; the same ones are drawn each time."""

from __future__ import annotations

import json
from pathlib import Path

from conformance.report.verdict import Verdict
from tests.conformance.tiny import Suite

_FAILS_FROM_TEN = """
from hypothesis import strategies as st
from conformance.plugin.examples import for_all
def prove(number):
    assert number < 10, f"{number} is too much"
for_all(lab, st.integers(0, 1000), prove, examples=20, tell=str)
"""
_PASSES = _FAILS_FROM_TEN.replace("number < 10", "number < 2000")
_NEVER_TWICE = """
from hypothesis import strategies as st
from conformance.plugin.examples import for_all
tried = []
def prove(number):
    assert number not in tried, "the example was tried before"
    tried.append(number)
    assert number < 10, f"{number} is too much"
    lab.skip("hypothesis found nothing") if len(tried) > 500 else None
for_all(lab, st.integers(0, 1000), prove, examples=20, tell=str)
"""


def drawn(suite: Suite) -> list[str]:
    (check,) = suite.report().checks
    lines = (suite.folder / "proxyproof-report" / check.history).read_text().splitlines()
    return [event["words"] for event in map(json.loads, lines) if event["kind"] == "example"]


def test_the_shortest_is_told(tmp_path: Path) -> None:
    suite = Suite.of(tmp_path, {"tiny/any/01": _FAILS_FROM_TEN})
    assert suite.run("--seed", "7").returncode == 1
    reason = suite.report().checks[0].reason
    assert "10 is too much\n" in reason
    assert "with 10\n(--seed 7 --examples 20)" in reason
    assert "Falsifying" not in reason


def test_no_example_is_tried_twice(tmp_path: Path) -> None:
    suite = Suite.of(tmp_path, {"tiny/any/01": _NEVER_TWICE})
    assert suite.run().returncode == 1
    assert "is too much" in suite.report().checks[0].reason


def test_when_time_is_up_the_best_so_far_is_told(tmp_path: Path) -> None:
    # A budget of 40 ms, each example costs 10: a failure is found at once, the shortest is not.
    slow = _FAILS_FROM_TEN.replace("def prove(number):", "def prove(number):\n    time.sleep(0.01)")
    suite = Suite.of(tmp_path, {"tiny/any/01": slow})
    # So short a budget is none for the canary, so the exit code says nothing of the check.
    suite.run("--time-scale", "0.001", "--examples", "1000")
    (check,) = suite.report().checks
    assert check.verdict is Verdict.FAIL
    assert "is too much" in check.reason


def test_a_seed_draws_the_same_examples_and_another_others(tmp_path: Path) -> None:
    suite = Suite.of(tmp_path, {"tiny/any/01": _PASSES})
    seen = []
    for arguments in ((), (), ("--seed", "1"), ("--examples", "40")):
        assert suite.run(*arguments).returncode == 0
        seen.append(drawn(suite))
    assert seen[0] == seen[1] != seen[2]
    assert len(set(seen[3])) > len(set(seen[0]))
