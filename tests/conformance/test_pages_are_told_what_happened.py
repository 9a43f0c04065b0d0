"""The facts that every page is made of, each from a report that was made for it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from conformance.report import facts
from conformance.report.badge import badge
from conformance.report.facts import Row
from conformance.report.folder import FILES, write
from conformance.report.junit import junit
from conformance.report.model import CheckResult, Measurement, Report, TimedWait, decode
from conformance.report.pages import cell, markdown
from conformance.report.verdict import Verdict
from tests.conformance.reports import report_of

PASSED = CheckResult(requirement="area/one/01", name="check_a", verdict=Verdict.PASS, seconds=1.25)
FAILED = replace(PASSED, name="check_b", verdict=Verdict.FAIL, reason="it is wrong\nsecond line")
KNOWN = replace(FAILED, name="check_c", expected="it is old")
BROKEN = replace(FAILED, name="check_d", verdict=Verdict.ERROR)
SKIPPED = replace(PASSED, name="check_e", verdict=Verdict.SKIP, reason="no root")
WAIT = TimedWait(at=0.0, budget="agent_ready", what="it is up", seconds=1.0, allowed=10.0, outcome="in time")


def row(*checks: CheckResult) -> Row:
    return facts.areas(report_of(*checks))["area"][0]


@pytest.mark.parametrize(
    ("report", "words"),
    [
        (report_of(PASSED), "conforms"),
        (report_of(PASSED, KNOWN), "conforms but for 1 known failure"),
        (report_of(KNOWN, replace(KNOWN, repetition=2)), "conforms but for 2 known failures"),
        (report_of(FAILED, KNOWN), "does not conform"),
        (report_of(BROKEN, FAILED), "the suite broke"),
        (report_of(PASSED, instrument=()), "the suite broke"),
        (report_of(FAILED, interrupted=True), "interrupted"),
    ],
)
def test_the_conclusion_is_a_few_words(report: Report, words: str) -> None:
    assert facts.conclusion(report) == words
    assert facts.total(report).result == words
    assert f": {words}" in badge(report)


@pytest.mark.parametrize(
    ("checks", "state", "group", "expected"),
    [
        ((), "untested", "open", False),
        ((PASSED,), "pass", "passed", False),
        ((PASSED, SKIPPED), "pass", "passed", False),
        ((SKIPPED,), "skip", "open", False),
        ((PASSED, FAILED), "fail", "failed", False),
        ((PASSED, KNOWN), "fail", "known", True),
        ((FAILED, KNOWN), "fail", "failed", False),
        ((BROKEN,), "error", "failed", False),
    ],
)
def test_a_requirement_is_in_the_group_that_readers_look_for(
    checks: tuple[CheckResult, ...], state: str, group: str, expected: bool
) -> None:
    told = row(*checks)
    assert (told.state, told.group, told.expected) == (state, group, expected)


def test_groups_are_counted_in_the_order_in_which_readers_care() -> None:
    groups = facts.groups([row(PASSED), row(), row(PASSED, FAILED), row(KNOWN), row(SKIPPED)])
    assert list(groups.items()) == [("failed", 1), ("known", 1), ("open", 2), ("passed", 1)]
    assert list(facts.groups([row(PASSED)])) == ["passed"]


def test_the_tightest_wait_is_the_one_nearest_to_its_budget() -> None:
    tight = replace(WAIT, seconds=3.0, allowed=4.0)
    held = replace(WAIT, seconds=5.0, allowed=5.0, outcome="held")
    without_budget = replace(WAIT, seconds=9.0, allowed=0.0)
    waits = (held, WAIT, tight, replace(held, outcome="broken"), without_budget)
    assert row(replace(PASSED, waits=waits), replace(FAILED, waits=(WAIT,))).tightest == tight
    assert row(replace(PASSED, waits=(held,))).tightest is None
    assert (tight.share, without_budget.share) == (0.75, 0.0)


def test_a_requirement_takes_as_long_as_its_checks() -> None:
    assert row(PASSED, FAILED).seconds == 2.5


def test_lines_count_verdicts_worst_first_and_known_failures_apart() -> None:
    core, hardening = facts.profiles(
        report_of(PASSED, FAILED, KNOWN, BROKEN, SKIPPED, replace(PASSED, requirement="area/one/02"))
    )
    assert (core.name, core.result, core.counts, core.expected) == ("core", "failure", (1, 2, 1, 1, 0, 0), 1)
    assert (core.total, core.passed) == (5, 1)
    assert (hardening.name, hardening.result, hardening.total, hardening.passed) == (
        "hardening",
        "success",
        1,
        1,
    )
    assert [verdict.word for verdict in facts.seen([core, hardening])] == ["error", "fail", "pass", "skip"]
    assert [part for part in facts.segments(core) if part[2]] == [
        ("error", "error", 1),
        ("fail", "fail", 1),
        ("skip", "known to fail", 1),
        ("pass", "pass", 1),
        ("skip", "skip", 1),
    ]


def test_an_area_is_judged_as_a_profile_is() -> None:
    line = facts.tally_of("area", [row(PASSED, KNOWN), row(SKIPPED)])
    assert (line.name, line.result, line.total, line.expected) == ("area", "partial", 3, 1)


def test_time_is_added_up_by_area_the_longest_first() -> None:
    long = replace(
        PASSED, requirement="other/one/01", seconds=9.0, cpu=2.0, waits=(WAIT, replace(WAIT, at=1.0))
    )
    other, area, all_ = facts.spent(report_of(PASSED, FAILED, long))
    assert (other.name, other.checks, other.seconds, other.waited, other.cpu) == ("other", 1, 9.0, 2.0, 2.0)
    assert (area.name, area.checks, area.seconds) == ("area", 2, 2.5)
    assert (all_.name, all_.checks, all_.seconds) == ("all", 3, 11.5)


def test_the_ten_slowest_checks_are_named_longest_first() -> None:
    checks = [replace(PASSED, repetition=number, seconds=float(number)) for number in range(1, 13)]
    assert [check.seconds for check in facts.slowest(report_of(*checks))] == [
        float(n) for n in range(12, 2, -1)
    ]


def test_a_history_is_quoted_from_its_end_and_says_what_is_left_out(tmp_path: Path) -> None:
    check = replace(FAILED, history="history/b.jsonl")
    (tmp_path / "history").mkdir()
    events = [
        json.dumps({"at": number, "kind": "seen", "n": number, "empty": "", "none": None})
        for number in range(201)
    ]
    (tmp_path / check.history).write_text("\n".join(events))
    told = facts.history(tmp_path, check)
    assert told[:2] == ("… 1 earlier events are in history/b.jsonl", "   1.000 seen: n=1")
    assert (len(told), told[-1]) == (201, " 200.000 seen: n=200")
    (tmp_path / check.history).write_text("\n".join(events[:200]))
    assert facts.history(tmp_path, check)[0] == "   0.000 seen: n=0"


def test_a_history_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert facts.history(tmp_path, replace(FAILED, history="history/none.jsonl")) == ()
    assert facts.history(tmp_path, FAILED) == ()


def test_the_badge_names_profiles_only_of_what_conforms_throughout() -> None:
    passed, failed = (replace(check, requirement="area/one/02") for check in (PASSED, FAILED))
    skipped = replace(SKIPPED, requirement="other/one/01")
    assert ">proxyproof: conforms: core, hardening<" in badge(report_of(PASSED, passed, skipped))
    assert ">proxyproof: conforms<" in badge(report_of(SKIPPED))
    assert ">proxyproof: does not conform<" in badge(report_of(PASSED, failed))


def test_the_badge_is_as_wide_as_its_words_and_each_stands_in_the_middle_of_its_half() -> None:
    image = ElementTree.fromstring(badge(report_of(PASSED)))
    space = "{http://www.w3.org/2000/svg}"
    left, right = image.findall(f"{space}rect")
    widths = [int(half.attrib["width"]) for half in (left, right)]
    assert int(image.attrib["width"]) == sum(widths)
    assert int(right.attrib["x"]) == widths[0]
    words = image.findall(f"{space}g/{space}text")
    assert [word.text for word in words] == ["proxyproof", "conforms: core"]
    for word, width, begin in zip(words, widths, (0, widths[0]), strict=True):
        assert float(word.attrib["x"]) == begin + width / 2
        assert 0 < width - int(word.attrib["textLength"]) < width / 2
    assert widths[0] / len("proxyproof") == pytest.approx(widths[1] / len("conforms: core"), rel=0.1)


def test_the_badge_has_a_colour_for_each_outcome() -> None:
    reports = (
        report_of(PASSED),
        report_of(KNOWN),
        report_of(FAILED),
        report_of(BROKEN),
        report_of(interrupted=True),
    )
    assert len({badge(report).split('fill="')[2] for report in reports}) == 5


def test_junit_has_a_suite_for_each_area_and_a_case_for_each_check() -> None:
    figure = Measurement(name="rate", value=2.5, unit="Gbit/s")
    other = replace(
        PASSED, requirement="a/first/01", measurements=(figure,), history="history/a.jsonl", repetition=2
    )
    text = junit(report_of(PASSED, FAILED, BROKEN, SKIPPED, other))
    root = ElementTree.fromstring(text)
    assert text.startswith("<?xml")
    assert text.endswith("</testsuites>\n")
    assert root.attrib == {
        "name": "proxyproof",
        "tests": "5",
        "failures": "1",
        "errors": "1",
        "skipped": "1",
        "time": "6.250",
    }
    first, area = root
    assert (first.attrib["name"], first.attrib["time"], area.attrib["name"]) == ("a", "1.250", "area")
    assert (area.attrib["timestamp"], area.attrib["hostname"]) == ("2026-01-01T00:00:00+00:00", "process")
    (measured,) = first
    assert measured.attrib == {"classname": "a/first/01", "name": "check_a #2", "time": "1.250"}
    assert [(found.attrib["name"], found.attrib["value"]) for found in measured.iter("property")] == [
        ("rate", "2.5 Gbit/s")
    ]
    assert measured.findtext("system-out") == "history: history/a.jsonl"
    passed, failed, broken, skipped = area
    assert list(passed) == []
    assert [element.tag for element in (failed[0], broken[0], skipped[0])] == ["failure", "error", "skipped"]
    assert (failed[0].attrib["message"], failed[0].text) == ("it is wrong", "it is wrong\nsecond line")


def test_junit_says_something_of_every_check_and_nothing_that_is_not_xml() -> None:
    unheard = replace(PASSED, verdict=Verdict.UNKNOWN)
    text = junit(report_of(unheard, replace(FAILED, reason="\x00\ud800 it\tfell\x0b")))
    unknown, failed = ElementTree.fromstring(text)[0]
    assert unknown[0].attrib["message"] == "unknown"
    assert failed[0].text == "\N{REPLACEMENT CHARACTER}" * 2 + " it\tfell\N{REPLACEMENT CHARACTER}"


def test_a_folder_has_every_face_of_the_report(tmp_path: Path) -> None:
    report = report_of(PASSED, FAILED)
    write(report, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(FILES)
    assert decode((tmp_path / "report.json").read_text()) == report
    assert (tmp_path / "summary.md").read_text() == markdown(report)
    assert all((tmp_path / name).read_text().endswith("\n") for name in FILES)


def test_a_summary_leaves_one_line_free_between_its_parts() -> None:
    text = markdown(report_of(PASSED, FAILED, KNOWN, broken=("it fell over",)))
    assert "\n\n\n" not in text
    assert re.search(r"[^\n]\n$", text)


def test_a_cell_is_one_line_without_borders() -> None:
    assert cell(" a\n b | c ") == r"a b \| c"


def test_figures_have_three_digits_a_unit_and_what_they_are_judged_by() -> None:
    assert Measurement(name="n", value=1234.5, unit="").words == "1.23e+03"
    figure = Measurement(name="rate", value=0.25, unit="Gbit/s", bound="at least 0.2")
    assert figure.words == "0.25 Gbit/s (at least 0.2)"
    assert "| `check_a` | rate | 0.25 Gbit/s (at least 0.2) |" in markdown(
        report_of(replace(PASSED, measurements=(figure,)))
    )
