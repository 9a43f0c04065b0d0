"""What a story may say, what is said of one that does not come true, and the command that tells them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from proxyproof import scenarios
from proxyproof.scenarios import (
    Action,
    Ending,
    Expectation,
    Impossible,
    ScenarioError,
    Unavailable,
    Unfulfilled,
)
from proxyproof.scenarios.cli import FULFILLED, UNFULFILLED, USAGE, WORLDS, main

STORY = """
title = "A story"
story = "Once upon a time."
[[steps]]
tell = "It begins."
do = [{do}]
then = [{then}]
"""


def story(do: str = '"start"', then: str = '"web runs"') -> scenarios.Scenario:
    return scenarios.parse("story", STORY.format(do=do, then=then))


class Pretended:
    """A world that can do little."""

    name = "pretended"

    def __init__(self, *, impossible: str = "", unfulfilled: str = "") -> None:
        self.done: list[str] = []
        self._impossible = impossible
        self._unfulfilled = unfulfilled

    def do(self, action: Action) -> str:
        self.done.append(action.words)
        if self._impossible == action.verb:
            raise Impossible("not here")
        return "as if" if action.verb == "reboot" else ""

    def expect(self, expectation: Expectation) -> None:
        self.done.append(expectation.words)
        if self._unfulfilled == expectation.state:
            raise Unfulfilled("there is none")


def test_what_is_done_comes_before_what_is_expected() -> None:
    world = Pretended()
    assert scenarios.tell(story('"start", "define web program=deaf"'), world).ending is Ending.FULFILLED
    assert world.done == ["start", "define web program=deaf", "web runs"]


def test_a_story_ends_where_it_does_not_come_true() -> None:
    told = scenarios.tell(story(then='"web runs", "web gone"'), Pretended(unfulfilled="runs"))
    assert (told.ending, told.reason) == (Ending.UNFULFILLED, "step 1, web runs: there is none")


def test_what_a_world_cannot_do_is_no_success() -> None:
    told = scenarios.tell(story('"reboot", "start"'), Pretended(impossible="start"))
    assert (told.ending, told.reason) == (Ending.IMPOSSIBLE, "step 1, start: not here")
    assert told.imitated == ("reboot: as if",)


@pytest.mark.parametrize(
    ("do", "then", "complaint"),
    [
        ('"fly"', '"web runs"', '"fly" says nothing'),
        ('"define"', '"web runs"', '"define" says nothing'),
        ('"define mail"', '"web runs"', '"define mail" says nothing'),
        ('"define web program=evil"', '"web runs"', "program=evil"),
        ('"define web port=1"', '"web runs"', "options other than"),
        ('"start"', '"web flies"', '"web flies" says nothing'),
        ('"start"', '"mail runs"', '"mail runs" says nothing'),
        ('"start', "", "story: "),
    ],
)
def test_what_says_nothing_is_refused(do: str, then: str, complaint: str) -> None:
    with pytest.raises(ScenarioError, match=complaint):
        story(do, then)


def test_what_is_missing_is_named() -> None:
    with pytest.raises(ScenarioError, match="story: title is missing"):
        scenarios.parse("story", "steps = []")


Output = pytest.CaptureFixture[str]


def test_stories_and_words_are_listed(capsys: Output) -> None:
    assert main(["list"]) == main(["words"]) == FULFILLED
    out = capsys.readouterr().out
    assert all(name in out for name in scenarios.names())
    assert all(word in out for word in (*scenarios.ACTIONS, *scenarios.EXPECTATIONS))


def test_a_story_is_told_by_name(capsys: Output) -> None:
    assert main(["run", "crash-loop", "--world", "simulated"]) == FULFILLED
    assert capsys.readouterr().out.splitlines()[-1] == "1 fulfilled"


def test_a_story_that_does_not_come_true_is_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    world = contextlib.nullcontext(Pretended(unfulfilled="runs"))
    monkeypatch.setitem(WORLDS, "simulated", lambda: world)  # type: ignore[arg-type]
    assert main(["run", "crash-loop", "--world", "simulated"]) == UNFULFILLED
    assert "step 1, redis runs: there is none" in capsys.readouterr().out


@contextlib.contextmanager
def nowhere() -> Iterator[Pretended]:
    raise Unavailable("there is no engine")
    yield Pretended()


def test_a_world_that_is_not_there_is_said_once_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    for name in WORLDS:
        world = nowhere if name == "containers" else lambda: contextlib.nullcontext(Pretended())
        monkeypatch.setitem(WORLDS, name, world)  # type: ignore[arg-type]
    assert main(["run", "crash-loop", "torn-snapshot"]) == FULFILLED
    said = capsys.readouterr().out
    assert said.count("NOT TOLD     containers any of them: there is no engine\n") == 1
    assert said.endswith("4 fulfilled\n")


def test_a_world_that_is_asked_for_and_not_there_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setitem(WORLDS, "containers", nowhere)  # type: ignore[arg-type]
    assert main(["run", "crash-loop", "--world", "containers"]) == USAGE
    assert capsys.readouterr().err == "Error: --world containers: there is no engine\n"


def test_a_story_that_is_not_there_is_one_sentence(capsys: Output) -> None:
    assert main(["run", "happy-end"]) == USAGE
    assert capsys.readouterr().err.count("\n") == 1
