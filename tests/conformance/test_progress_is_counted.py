"""What the live view says of a moment, and which watcher suits which console; no process, terminal or clock."""

from __future__ import annotations

import sys
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from conformance.report.model import CheckResult
from conformance.report.progress import Lines, View, Watcher, watching
from conformance.report.verdict import Verdict

PASSED = CheckResult(requirement="area/one/01", name="check_a", verdict=Verdict.PASS)
FAILED = replace(PASSED, name="check_b", verdict=Verdict.FAIL, reason="it is [wrong]\nsecond line")


class Moment:
    """A view on a paper of its own, and a clock that stands still until it is set."""

    def __init__(self, *, width: int = 100) -> None:
        self.now = 1000.0
        self.width = width
        self.paper = StringIO()
        self.redrawn = 0
        self.view = View(self.console(self.paper, width), redraw=self._redraw, clock=lambda: self.now)

    def _redraw(self) -> None:
        self.redrawn += 1

    @staticmethod
    def console(paper: StringIO, width: int, colours: str | None = None) -> Console:
        return Console(
            file=paper, width=width, highlight=False, color_system=colours, force_terminal=bool(colours)
        )

    def drawn(self, *, colours: str | None = None) -> str:
        paper = StringIO()
        self.console(paper, self.width, colours).print(self.view.drawn())
        return paper.getvalue()


@pytest.fixture
def moment() -> Moment:
    return Moment()


def test_what_is_expected_is_drawn_at_once(moment: Moment) -> None:
    moment.view.expects({"area": 3, "other": 1})
    assert moment.redrawn == 1
    text = moment.drawn()
    assert "0 of 4" in text
    assert "area 0/3" in text
    assert "other 0/1" in text
    assert text.startswith("\n")


def test_results_are_counted_by_area_and_verdict_the_worst_first(moment: Moment) -> None:
    moment.view.expects({"area": 3, "other": 1})
    for result in (PASSED, FAILED, replace(PASSED, requirement="other/one/01")):
        moment.view.over(result)
    text = moment.drawn()
    assert "3 of 4 1 fail 2 pass" in " ".join(text.split())
    assert "area 2/3 1 failed" in text
    assert "other 1/1" in text
    assert "other 1/1 " not in text.rstrip()
    assert "error" not in text


def test_time_is_told_of_the_run_and_of_each_check_that_is_under_way(moment: Moment) -> None:
    moment.view.begun("area/one/01", "check_a")
    moment.now += 5
    moment.view.begun("area/one/02", "check_b")
    moment.now += 7
    lines = moment.drawn().splitlines()
    assert lines[1].endswith(" 12 s")
    assert lines[-2:] == ["   12 s  area/one/01  check_a", "    7 s  area/one/02  check_b"]


def test_what_is_over_is_no_longer_under_way(moment: Moment) -> None:
    moment.view.expects({"area": 2})
    moment.view.begun("area/one/01", "check_a")
    moment.view.begun("area/one/01", "check_a #2")
    moment.view.over(replace(PASSED, repetition=2))
    assert "check_a" in moment.drawn()
    assert "#2" not in moment.drawn()
    moment.view.over(PASSED)
    assert "check_a" not in moment.drawn()


@pytest.mark.parametrize("verdict", [Verdict.FAIL, Verdict.ERROR])
def test_a_failure_is_told_with_the_first_line_of_its_reason(moment: Moment, verdict: Verdict) -> None:
    moment.view.expects({"area": 1})
    moment.view.over(replace(FAILED, verdict=verdict))
    heading, reason = moment.paper.getvalue().splitlines()
    assert heading.startswith(f"{verdict.word} ")
    assert reason == "         it is [wrong]"
    assert "1 failed" in moment.drawn()


def test_a_failure_without_a_reason_is_one_line(moment: Moment) -> None:
    moment.view.expects({"area": 1})
    moment.view.over(replace(FAILED, reason=""))
    assert len(moment.paper.getvalue().splitlines()) == 1


def test_a_long_reason_is_not_broken_and_a_long_title_is_cut() -> None:
    moment = Moment(width=40)
    moment.view.expects({"area": 1})
    moment.view.over(replace(FAILED, reason="long " * 20))
    assert len(moment.paper.getvalue().splitlines()) == 2
    before = moment.drawn().splitlines()
    moment.view.begun("area/one/01", "check_" + "long" * 20)
    *others, last = moment.drawn().splitlines()
    assert others == before
    assert last.endswith("…")


@pytest.mark.parametrize(
    "result", [PASSED, replace(FAILED, verdict=Verdict.SKIP), replace(FAILED, expected="it is old")]
)
def test_of_all_else_the_numbers_are_enough(moment: Moment, result: CheckResult) -> None:
    moment.view.expects({"area": 1})
    moment.view.over(result)
    assert moment.paper.getvalue() == ""
    assert "area 1/1" in moment.drawn()
    assert "failed" not in moment.drawn()


@pytest.mark.parametrize("expected", [1, 4])
def test_the_bar_is_as_long_as_what_is_over(moment: Moment, expected: int) -> None:
    moment.view.expects({"area": expected})
    for over in range(1, expected + 1):
        moment.view.over(replace(PASSED, repetition=over))
        done = moment.drawn(colours="standard").partition("\x1b[0m")[0]
        assert done.count("━") == over * (100 // 3) // expected


def test_the_bar_leaves_room_and_is_red_once_something_failed() -> None:
    wide = Moment(width=400)
    wide.view.expects({"area": 1, "other": 3})
    wide.view.over(PASSED)
    bar = wide.drawn(colours="standard").partition("1 of 4")[0]
    assert sum(map(bar.count, "━╺╸")) == 40
    assert "\x1b[32m━" in wide.drawn(colours="standard")
    wide.view.over(replace(FAILED, requirement="other/one/01"))
    assert "\x1b[31m━" in wide.drawn(colours="standard")


def test_areas_are_dim_before_they_begin_and_green_or_red_after(moment: Moment) -> None:
    moment.view.expects({"new": 1, "begun": 2, "good": 1, "bad": 2})
    for area in ("begun", "good"):
        moment.view.over(replace(PASSED, requirement=f"{area}/one/01"))
    moment.view.over(replace(FAILED, requirement="bad/one/01"))
    text = moment.drawn(colours="standard")
    assert "\x1b[2mnew 0/1" in text
    assert "\x1b[32mgood 1/1" in text
    assert "\x1b[1;31mbad 1/2 1 failed" in text
    assert "\x1b[39mbegun 1/2" in text


def test_a_view_that_nobody_draws_takes_everything(moment: Moment) -> None:
    view = View(moment.console(StringIO(), 80))
    view.expects({})
    assert view.drawn() is not None


def test_a_line_is_printed_for_each_check_that_is_over() -> None:
    paper = StringIO()
    lines = Lines(Console(file=paper, width=100))
    lines.expects({"area": 2})
    lines.begun("area/one/01", "check_a")
    assert paper.getvalue() == ""
    lines.over(PASSED)
    lines.over(FAILED)
    assert [line.split()[:3] for line in paper.getvalue().splitlines()] == [
        ["pass", "area/one/01", "check_a"],
        ["fail", "area/one/01", "check_b"],
    ]


def _watcher(**console: object) -> Watcher:
    with watching(Console(file=StringIO(), **console)) as watcher:  # type: ignore[arg-type]
        return watcher


def test_who_watches_is_drawn_for_and_nobody_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with open(tmp_path / "terminal", "w") as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.delenv("CI", raising=False)
        assert isinstance(_watcher(force_terminal=True), View)
        assert isinstance(_watcher(force_terminal=False), Lines)
        monkeypatch.setenv("CI", "true")
        assert isinstance(_watcher(force_terminal=True), Lines)
        monkeypatch.delenv("CI")
        monkeypatch.setenv("TERM", "dumb")
        assert isinstance(_watcher(force_terminal=True), Lines)


def test_a_live_view_is_drawn_again_when_checks_are_known_and_gone_at_the_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "terminal"
    with open(path, "w") as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", "100")
        monkeypatch.delenv("CI", raising=False)
        with watching(Console(file=StringIO(), force_terminal=True)) as watcher:
            watcher.expects({"area": 3})
            drawn = path.read_text()
            assert "area 0/3" in drawn
            assert "\x1b[?25l" in drawn
    end = path.read_text().rpartition("area 0/3")[2]
    assert "\x1b[?25h" in end
    assert "\x1b[2K" in end
