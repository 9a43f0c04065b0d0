"""What a run proves of the suite itself, and that nothing is a success without it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.canary import CAUGHT, CHECK
from conformance.instrument import DoubleRun, canary, honesty
from conformance.report.model import CheckResult, ProofResult, Report
from conformance.report.verdict import ProfileResult, Verdict
from conformance.requirements import Feature, load
from tests.conformance.reports import WORKING, patient, reports

WORKS, BROKEN, UNAVAILABLE = ProofResult.WORKS, ProofResult.BROKEN, ProofResult.UNAVAILABLE


class Anything:
    """Claims whatever it is asked for."""

    def __contains__(self, feature: object) -> bool:
        return True

    def __iter__(self) -> object:
        return iter(Feature)


def met(verdict: Verdict, reason: str = "", *, repetition: int = 1) -> CheckResult:
    return CheckResult(
        requirement=CHECK.requirement, name=CHECK.name, verdict=verdict, reason=reason, repetition=repetition
    )


@pytest.mark.parametrize(
    ("results", "outcome"),
    [
        ([met(Verdict.FAIL, f"AssertionError: {CAUGHT}")], WORKS),
        ([], BROKEN),
        ([met(Verdict.PASS)], BROKEN),
        ([met(Verdict.UNKNOWN)], BROKEN),
        ([met(Verdict.SKIP, "no way was found")], BROKEN),
        ([met(Verdict.ERROR, CAUGHT)], BROKEN),
        ([met(Verdict.FAIL, "the liar did not come up")], BROKEN),
        ([met(Verdict.FAIL, CAUGHT), met(Verdict.PASS, repetition=2)], BROKEN),
    ],
)
def test_the_canary_must_fail_each_time_for_its_own_reason(
    results: list[CheckResult], outcome: ProofResult
) -> None:
    assert canary(results).result is outcome


@pytest.mark.parametrize(
    ("script", "outcome"),
    [
        ("echo the same", WORKS),
        ("echo $$", BROKEN),
        ("echo the same; exit 1", BROKEN),
        ("true", BROKEN),
    ],
)
def test_two_runs_of_one_world_are_compared(script: str, outcome: ProofResult) -> None:
    assert DoubleRun(("sh", "-c", script)).proof().result is outcome


def test_a_target_without_a_world_is_none_the_worse() -> None:
    assert DoubleRun(()).proof().result is UNAVAILABLE


@patient
@given(reports)
def test_an_honest_report_knows_nothing_of_what_nobody_knows(report: Report) -> None:
    assert honesty(report, load(), frozenset(Feature)).result is WORKS


@patient
@given(reports)
def test_whoever_claims_everything_is_not_honest(report: Report) -> None:
    proof = honesty(report, load(), Anything())  # type: ignore[arg-type]
    assert proof.result is BROKEN
    assert "the target claims" in proof.detail


@patient
@given(reports, st.sampled_from(["canary", "honesty probe"]))
def test_nothing_is_a_success_without_canary_and_honesty(report: Report, missing: str) -> None:
    without = replace(report, instrument=tuple(proof for proof in WORKING if proof.name != missing))
    assert without.exit_code in (3, 130)
    assert ProfileResult.SUCCESS not in without.profiles.values()


@patient
@given(reports, st.sampled_from([proof.name for proof in WORKING]))
def test_nothing_is_a_success_with_a_broken_instrument(report: Report, broken: str) -> None:
    instrument = tuple(replace(proof, result=BROKEN) if proof.name == broken else proof for proof in WORKING)
    told = replace(report, instrument=instrument)
    assert told.exit_code in (3, 130)
    assert ProfileResult.SUCCESS not in told.profiles.values()
