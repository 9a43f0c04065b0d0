"""A report comes back as it was written; one that was cut short, or says two things, is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.report.junit import junit
from conformance.report.model import CheckResult, Report, ReportError, combined, decode, encode
from conformance.report.verdict import ProfileResult, Verdict
from tests.conformance.reports import patient, reports, reports_of, results


@patient
@given(reports)
def test_round_trip(report: Report) -> None:
    assert decode(encode(report)) == report


@patient
@given(reports, st.data())
def test_truncated_text_is_refused(report: Report, data: st.DataObject) -> None:
    text = encode(report)
    cut = data.draw(st.integers(0, len(text.rstrip()) - 1))
    with pytest.raises(ReportError):
        decode(text[:cut])


@patient
@given(reports, st.data())
def test_lost_lines_are_never_a_better_report(report: Report, data: st.DataObject) -> None:
    lines = encode(report).splitlines()
    lost = data.draw(st.sets(st.integers(0, len(lines) - 1), min_size=1, max_size=3))
    try:
        again = decode("\n".join(line for number, line in enumerate(lines) if number not in lost))
    except ReportError:
        return
    assert again.exit_code == report.exit_code
    assert again.profiles == report.profiles
    assert again.verdicts == report.verdicts


@patient
@given(reports, st.data())
def test_a_result_that_never_came_is_never_a_success(report: Report, data: st.DataObject) -> None:
    lost = data.draw(st.sampled_from(report.checks))
    unheard = CheckResult(requirement=lost.requirement, name=lost.name, repetition=lost.repetition)
    without = replace(report, checks=tuple(unheard if check is lost else check for check in report.checks))
    feature = next(entry.feature for entry in report.requirements if entry.id == lost.requirement)
    assert without.exit_code in (3, 130)
    assert without.profiles[feature] in (ProfileResult.PARTIAL, ProfileResult.FAILURE)


@patient
@given(reports, results)
def test_another_result_never_makes_a_report_better(report: Report, another: CheckResult) -> None:
    more = replace(report, checks=combined([*report.checks, another]))
    assert report.exit_code == 0 or more.exit_code != 0
    assert all(more.verdicts[name] >= verdict for name, verdict in report.verdicts.items())
    for name, result in report.profiles.items():
        if result is ProfileResult.FAILURE:
            assert more.profiles[name] is ProfileResult.FAILURE


@patient
@given(reports)
def test_a_lost_result_is_refused(report: Report) -> None:
    document = json.loads(encode(report))
    del document["checks"][0]
    with pytest.raises(ReportError):
        decode(json.dumps(document))


@patient
@given(reports_of(results.filter(lambda result: result.verdict is not Verdict.PASS)))
def test_a_verdict_that_was_changed_is_refused(report: Report) -> None:
    document = json.loads(encode(report))
    document["checks"][0]["verdict"] = "pass"
    with pytest.raises(ReportError):
        decode(json.dumps(document))


@patient
@given(reports)
def test_a_failure_shows_in_profile_and_exit_code(report: Report) -> None:
    features = {entry.id: entry.feature for entry in report.requirements}
    for check in report.checks:
        if check.counted >= Verdict.FAIL:
            assert report.profiles[features[check.requirement]] is ProfileResult.FAILURE
            assert report.exit_code != 0


@patient
@given(reports)
def test_a_known_failure_is_never_a_success(report: Report) -> None:
    features = {entry.id: entry.feature for entry in report.requirements}
    for check in report.checks:
        if check.verdict is not Verdict.PASS:
            assert report.profiles[features[check.requirement]] is not ProfileResult.SUCCESS


@patient
@given(reports)
def test_untested_and_tested_requirements_are_all_that_were_selected(report: Report) -> None:
    tested = {check.requirement for check in report.checks}
    untested = {entry.id for entry in report.untested}
    assert not tested & untested
    assert {entry.id for entry in report.requirements if entry.selected} <= tested | untested


@patient
@given(reports)
def test_junit_counts_what_it_lists(report: Report) -> None:
    root = ElementTree.fromstring(junit(report))
    cases = root.findall("testsuite/testcase")
    assert len(cases) == len(report.checks) == int(root.attrib["tests"])
    for attribute, element, verdict in (
        ("failures", "failure", Verdict.FAIL),
        ("errors", "error", Verdict.ERROR),
    ):
        expected = sum(check.verdict is verdict for check in report.checks)
        assert int(root.attrib[attribute]) == expected == len(root.findall(f"testsuite/testcase/{element}"))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": "something/else", "complete": true}'])
def test_foreign_text_is_refused(text: str) -> None:
    with pytest.raises(ReportError):
        decode(text)
