"""A known failure does not count, as long as it fails in the known way, until the known day."""

from __future__ import annotations

import datetime
import re
from dataclasses import replace
from pathlib import Path

import pytest

from conformance.cli import main
from conformance.report.expectations import Expectation, ExpectationError, apply, load
from conformance.report.model import CheckResult
from conformance.report.verdict import ProfileResult, Verdict
from tests.conformance.tiny import Suite

TODAY = datetime.date(2026, 11, 24)
KNOWN = Expectation(
    requirement="area/one/01",
    reason="it is old",
    pattern=re.compile("gone after"),
    link="https://example.org/1",
)
FAILED = CheckResult(
    requirement="area/one/01", name="check_a", verdict=Verdict.FAIL, reason="it was gone after 3 s"
)


def judged(result: CheckResult, expectation: Expectation = KNOWN) -> CheckResult:
    (counted,) = apply([expectation], [result], today=TODAY)
    return counted


def test_a_failure_in_the_known_way_counts_as_not_shown() -> None:
    result = judged(FAILED)
    assert (result.verdict, result.counted) == (Verdict.FAIL, Verdict.SKIP)
    assert result.expected == "it is old (https://example.org/1)"


def test_a_failure_in_another_way_counts() -> None:
    result = judged(replace(FAILED, reason="it never came"))
    assert result.counted is Verdict.FAIL
    assert "expected to fail in another way: gone after" in result.reason


def test_a_pass_counts_as_a_failure_until_the_entry_is_removed() -> None:
    result = judged(replace(FAILED, verdict=Verdict.PASS, reason=""))
    assert result.counted is Verdict.FAIL
    assert "remove the expectation" in result.reason


@pytest.mark.parametrize(("expires", "counts"), [(TODAY, False), (TODAY - datetime.timedelta(days=1), True)])
def test_an_entry_holds_through_its_last_day(expires: datetime.date, counts: bool) -> None:
    expectation = Expectation(
        requirement=KNOWN.requirement, reason=KNOWN.reason, pattern=KNOWN.pattern, expires=expires
    )
    assert (judged(FAILED, expectation).counted is Verdict.FAIL) == counts


@pytest.mark.parametrize("verdict", [Verdict.UNKNOWN, Verdict.DISABLED, Verdict.SKIP, Verdict.ERROR])
def test_what_says_nothing_of_the_implementation_stays_what_it_is(verdict: Verdict) -> None:
    result = replace(FAILED, verdict=verdict)
    assert judged(result) == result


def test_an_entry_may_be_about_one_of_several_checks() -> None:
    other = replace(FAILED, name="check_b")
    only_b = Expectation(
        requirement="area/one/01", check="check_b", reason="it is old", pattern=re.compile("")
    )
    assert [result.counted for result in apply([only_b], [FAILED, other], today=TODAY)] == [
        Verdict.FAIL,
        Verdict.SKIP,
    ]


GOOD = '[[expected]]\nrequirement = "a/b/01"\nreason = "r"\npattern = "p"\n'


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[[expected]", "is not valid TOML"),
        ("[[unexpected]]", "not ['unexpected']"),
        ('expected = ["a"]', "entry 1 is no table"),
        (GOOD + 'because = "x"\n', "unknown key because"),
        (GOOD.replace('"r"', '""'), "reason is missing or empty"),
        (GOOD.replace('"p"', '"("'), "pattern is no regular expression"),
        (GOOD.replace("a/b/01", "a/b/02"), "no requirement is called a/b/02"),
        (GOOD + "expires = 2027\n", "expires is no date"),
        (GOOD + GOOD, "entry 2 (a/b/01) is there twice"),
    ],
)
def test_a_faulty_file_is_refused_with_the_entry(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "known.toml"
    path.write_text(text)
    with pytest.raises(ExpectationError) as refusal:
        load(path, known=["a/b/01"])
    assert str(path) in str(refusal.value)
    assert complaint in str(refusal.value)


def test_entries_come_in_the_order_of_the_file_with_what_they_say(tmp_path: Path) -> None:
    path = tmp_path / "known.toml"
    second = (
        GOOD.replace('"p"', '"p.q"')
        + 'check = "check_a"\nlink = "https://example.org"\nexpires = 2027-12-31\n'
    )
    path.write_text('implementation = "it"\n' + GOOD + second)
    every, one = load(path, known=["a/b/01"])
    assert (every.requirement, every.reason, every.check, every.link, every.expires) == (
        "a/b/01",
        "r",
        "",
        "",
        None,
    )
    assert (one.check, one.link, one.expires) == (
        "check_a",
        "https://example.org",
        datetime.date(2027, 12, 31),
    )
    assert one.pattern.search("p\nq"), "a pattern may go over lines"


def test_a_file_that_is_not_there_or_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "known.toml"
    with pytest.raises(ExpectationError, match="cannot be read"):
        load(path, known=[])
    path.write_bytes(b"\xff")
    with pytest.raises(ExpectationError, match="is not valid TOML"):
        load(path, known=[])


def test_a_run_with_known_failures_conforms_and_is_partial(tmp_path: Path) -> None:
    suite = Suite.of(tmp_path, {"tiny/good/01": "pass", "tiny/bad/01": 'assert False, "it is wrong"'})
    known = tmp_path / "known.toml"
    known.write_text(
        '[[expected]]\nrequirement = "tiny/bad/01"\nreason = "a defect"\npattern = "it is wrong"\n'
    )
    finished = suite.run("--expected", str(known))
    assert finished.returncode == 0, finished.stdout + finished.stderr
    report = suite.report()
    assert (report.exit_code, report.profiles["core"]) == (0, ProfileResult.PARTIAL)
    assert "expected: tiny/bad/01 a defect" in finished.stdout
    assert "1 fail (1 as expected)" in finished.stdout


def test_a_missing_file_is_a_usage_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--expected", str(tmp_path / "none.toml")]) == 2
    assert "none.toml cannot be read" in capsys.readouterr().err
