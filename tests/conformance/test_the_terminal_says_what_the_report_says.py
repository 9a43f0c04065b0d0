"""The summary in the terminal: each failure with its account, each reason once, and where the time went."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from conformance.report.model import (
    CheckResult,
    Claim,
    FeatureEntry,
    Measurement,
    Presence,
    Proof,
    ProofResult,
    Report,
    TimedWait,
)
from conformance.report.terminal import announce, style_of, summarize
from conformance.report.verdict import Verdict
from conformance.requirements import Feature, Level
from tests.conformance.reports import WORKING, report_of

NOWHERE = Path("/nowhere")
PASSED = CheckResult(requirement="area/one/01", name="check_a", verdict=Verdict.PASS, seconds=1.25)
FAILED = replace(PASSED, verdict=Verdict.FAIL, reason="it is [wrong]\nsecond line")
KNOWN = replace(FAILED, requirement="area/one/02", expected="a [defect]")


def told(report: Report, folder: Path = NOWHERE, *, width: int = 100, colours: bool = False) -> str:
    text = StringIO()
    colour = "standard" if colours else None
    console = Console(file=text, width=width, highlight=False, color_system=colour)
    summarize(console, report, folder)
    return text.getvalue()


def line_of(result: CheckResult) -> str:
    text = StringIO()
    announce(Console(file=text, width=40), result)
    return text.getvalue()


def test_a_check_is_one_line_however_narrow_the_terminal() -> None:
    assert line_of(PASSED) == f"pass     {'area/one/01':<32} check_a 1.2 s\n"


def test_a_known_failure_says_so_and_a_repetition_its_number() -> None:
    assert line_of(replace(KNOWN, repetition=2)).endswith("check_a #2 1.2 s (expected)\n")
    assert "(expected)" not in line_of(FAILED)


@pytest.mark.parametrize("verdict", Verdict)
def test_known_failures_are_less_loud_than_others_and_every_verdict_has_its_style(verdict: Verdict) -> None:
    assert style_of(verdict)
    assert style_of(verdict, expected=True) == style_of(Verdict.SKIP) != style_of(Verdict.FAIL)


def test_a_failure_comes_with_what_is_required_and_how_it_failed() -> None:
    account = "fail area/one/01 check_a\n  required: It does.\n  it is [wrong]\n  second line\n"
    report = report_of(FAILED)
    first, *others = report.requirements
    report = replace(report, requirements=(*(replace(entry, text="It is.") for entry in others), first))
    assert account in told(report)
    assert account.replace("fail", "error", 1) in told(report_of(replace(FAILED, verdict=Verdict.ERROR)))


@pytest.mark.parametrize("result", [PASSED, KNOWN, replace(FAILED, verdict=Verdict.SKIP)])
def test_nothing_else_has_an_account(result: CheckResult) -> None:
    assert "required:" not in told(report_of(result))


def test_a_failure_quotes_the_end_of_its_history_each_event_in_a_line(tmp_path: Path) -> None:
    events = [{"at": float(number), "kind": "seen", "what": "[x] " + "long " * 50} for number in range(10)]
    (tmp_path / "history.jsonl").write_text("\n".join(map(json.dumps, events)))
    lines = told(report_of(replace(FAILED, history="history.jsonl")), tmp_path).splitlines()
    quoted = [line for line in lines if "seen:" in line]
    assert [line.split()[0] for line in quoted] == [f"{number}.000" for number in range(2, 10)]
    assert all(line.startswith("  ") and line.endswith("…") and len(line) <= 2 + 160 for line in quoted)
    assert "seen: what=[x] long" in quoted[0]


def test_each_reason_for_not_judging_is_given_once_with_its_number() -> None:
    skips = [
        replace(PASSED, requirement=name, verdict=verdict, reason=reason)
        for name, verdict, reason in (
            ("area/one/01", Verdict.SKIP, "no [root]"),
            ("area/one/02", Verdict.SKIP, "no [root]"),
            ("area/two/01", Verdict.DISABLED, "not claimed"),
        )
    ]
    text = told(report_of(*skips, replace(FAILED, requirement="other/one/01")))
    assert "disabled 1: not claimed\nskip 2: no [root]\n" in text
    assert "fail 1" not in text


def test_known_failures_are_named_with_their_reason() -> None:
    text = told(report_of(PASSED, KNOWN))
    assert [line for line in text.splitlines() if line.startswith("expected:")] == [
        "expected: area/one/02 a [defect]"
    ]


def test_only_claims_that_contradict_what_was_seen_are_told() -> None:
    report = report_of(PASSED)
    absent = FeatureEntry(
        feature=Feature.CORE, claim=Claim.DECLARED, presence=Presence.ABSENT, seen="a [404]"
    )
    present = replace(absent, feature=Feature.SIDECAR, presence=Presence.PRESENT)
    text = told(replace(report, target=replace(report.target, features=(absent, present))), width=20)
    (line,) = [line for line in text.splitlines() if line.startswith("feature")]
    assert line == f"feature core is declared and absent: a [404]; {absent.contradiction}"


def test_what_was_measured_is_told() -> None:
    figures = (
        Measurement(name="rate", value=2.5, unit="Gbit/s"),
        Measurement(name="[p]", value=0.5, unit="", bound="at most 1"),
    )
    text = told(report_of(replace(PASSED, measurements=figures), replace(PASSED, name="check_b")))
    assert [line for line in text.splitlines() if line.startswith("measured")] == [
        "measured area/one/01 check_a: rate 2.5 Gbit/s, [p] 0.5 (at most 1)"
    ]


def test_profiles_count_their_own_checks() -> None:
    text = told(
        report_of(
            FAILED,
            replace(PASSED, name="check_b"),
            replace(PASSED, name="check_c"),
            replace(PASSED, requirement="area/one/02"),
        )
    )
    rows = dict(re.findall(r"^ +(\S+) +((?:success|failure).*?) *$", text, re.MULTILINE))
    assert {name: row.split() for name, row in rows.items()} == {
        "core": ["failure", "1", "2"],
        "hardening": ["success", "1"],
    }
    assert re.search(r"profile +result +error +fail +pass +skip +disabled +unknown", text)


def test_untested_requirements_are_named_by_level_up_to_a_number() -> None:
    report = report_of(PASSED)
    entry = report.requirements[0]

    def untested(number: int, level: Level) -> Report:
        missing = [replace(entry, id=f"area/new/{n:02}", level=level) for n in range(1, number + 1)]
        return replace(report, requirements=(entry, *missing))

    assert "untested SHOULD: 2 (area/new/01, area/new/02)\n" in told(untested(2, Level.SHOULD))
    assert "MUST" not in told(untested(2, Level.SHOULD))
    assert "area/new/12)\n" in told(untested(12, Level.MUST))
    assert "area/new/12 and 2 more)\n" in told(untested(14, Level.MUST))


def test_where_the_time_went_names_the_longest_areas_and_checks() -> None:
    wait = TimedWait(at=0.0, budget="b", what="w", seconds=3.0, allowed=10.0, outcome="in time")
    checks = [
        replace(PASSED, requirement=f"area{number}/x/01", seconds=float(number), cpu=2.0, waits=(wait,))
        for number in range(1, 7)
    ]
    entry = report_of().requirements[0]
    entries = tuple(replace(entry, id=check.requirement) for check in checks)
    text = told(report_of(*checks, requirements=entries))
    assert (
        "time: 21 s of checks, of which 18 s waiting; 12 s of CPU; most in area6 6 s, area5 5 s, area4 4 s\n"
        in text
    )
    slowest = ", ".join(f"area{number}/x/01 {number}.0 s" for number in (6, 5, 4, 3, 2))
    assert f"slowest: {slowest}\n" in text


def test_the_last_lines_say_who_was_judged_how_and_with_what_outcome() -> None:
    text = told(report_of(replace(PASSED, version="1.4.3"), replace(FAILED, name="check_b"), KNOWN))
    assert text.endswith(
        "target process 1.4.3: /usr/bin/agent agent\n"
        "unprivileged agents: the user who runs the suite; root: none: this machine permits neither\n"
        "1 pass, 2 fail (1 as expected) in 10.0 s; report in /nowhere\n"
    )


def test_a_run_without_checks_says_so() -> None:
    text = told(report_of())
    assert text.endswith("\nno checks in 10.0 s; report in /nowhere\n")
    assert "target process: /usr/bin/agent agent\n" in text
    assert "slowest" not in text


def test_only_failures_are_counted_as_expected() -> None:
    assert "\n1 pass, 1 fail in" in told(report_of(PASSED, replace(FAILED, name="check_b")))


def test_an_interrupted_run_and_a_random_order_are_named() -> None:
    text = told(report_of(PASSED, interrupted=True, random_order=7))
    assert text.endswith("1 pass interrupted after 10.0 s, in random order 7; report in /nowhere\n")


def test_a_broken_suite_is_told_with_what_broke() -> None:
    assert "\nthe suite broke it [fell] over\n" in told(report_of(PASSED, broken=("it [fell] over",)))


def test_the_instrument_stands_first_and_is_missed() -> None:
    assert told(report_of(PASSED)).startswith(
        "works canary: so it is\nworks honesty probe: so it is\nworks double run: so it is\n"
    )
    assert "nothing below is a success" not in told(report_of(PASSED))
    broken = (Proof(name="canary", result=ProofResult.BROKEN, detail="it [sang]"), *WORKING[1:])
    text = told(report_of(PASSED, instrument=broken))
    assert text.startswith("broken canary: it [sang]\n")
    assert "the instrument was not seen to work: nothing below is a success\n" in text


def test_lines_are_as_long_as_they_are_whatever_the_width(tmp_path: Path) -> None:
    (tmp_path / "h.jsonl").write_text(json.dumps({"at": 1.0, "kind": "seen", "what": "this and that"}))
    figure = Measurement(name="rate", value=2.5, unit="Gbit/s", bound="at least as much as was asked for")
    checks = (
        replace(FAILED, verdict=Verdict.ERROR, reason="it is wrong in so many ways", history="h.jsonl"),
        replace(PASSED, name="check_b", measurements=(figure,), version="1.4.3"),
        replace(PASSED, name="check_c", verdict=Verdict.SKIP, reason="this machine has not what it takes"),
        replace(KNOWN, expected="it was never otherwise in this release"),
    )
    broken = (
        Proof(name="canary", result=ProofResult.BROKEN, detail="it sang when it should not"),
        *WORKING[1:],
    )
    report = report_of(
        *checks, broken=("it fell over, and nobody knows why",), instrument=broken, random_order=7
    )

    def lines(width: int) -> list[str]:
        text = told(report, tmp_path, width=width)
        account = ("  required:", "  it is wrong", "  1.000 seen:")
        return [line for line in text.splitlines() if not line.startswith(" ") or line.startswith(account)]

    assert lines(10) == lines(500)
    assert {line.split()[0] for line in lines(500) if line} >= {
        "required:",
        "it",
        "1.000",
        "slowest:",
        "untested",
    }


def test_colours_are_for_terminals() -> None:
    assert "\x1b" not in told(report_of(FAILED))
    assert "\x1b[1;31mfail\x1b[0m" in told(report_of(FAILED), colours=True)
