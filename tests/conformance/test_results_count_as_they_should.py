"""What a result, a report and its file come to, case by case."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from conformance.report.model import (
    CheckResult,
    Claim,
    FeatureEntry,
    Measurement,
    Presence,
    Proof,
    ProofResult,
    Report,
    ReportError,
    RequirementEntry,
    TimedWait,
    combined,
    decode,
    decode_check,
    encode,
    schema,
)
from conformance.report.verdict import ProfileResult, Verdict
from conformance.requirements import Feature, Level
from tests.conformance.reports import WORKING, report_of

PASSED = CheckResult(requirement="area/one/01", name="check_a", verdict=Verdict.PASS)
FAILED = replace(PASSED, name="check_b", verdict=Verdict.FAIL)
KNOWN = replace(FAILED, expected="it is old")
WAIT = TimedWait(at=1.0, budget="agent_ready", what="it is up", seconds=1.0, allowed=10.0, outcome="in time")
FIGURE = Measurement(name="rate", value=2.5, unit="Gbit/s")


def test_a_result_of_which_nothing_is_known_says_nothing() -> None:
    result = CheckResult(requirement="area/one/01", name="check_a")
    assert result.verdict is Verdict.UNKNOWN
    assert (result.seconds, result.cpu, result.waited, result.repetition, result.title) == (
        0,
        0,
        0,
        1,
        "check_a",
    )


def test_the_parts_of_a_result_are_put_together() -> None:
    early = replace(WAIT, at=0.5, seconds=2.0)
    setup = replace(PASSED, seconds=3.0, cpu=1.0, waits=(WAIT,), version="1.4.3", text="what it does")
    call = replace(PASSED, verdict=Verdict.FAIL, reason="wrong", seconds=2.0, cpu=4.0, waits=(WAIT, early))
    (whole,) = combined([setup, replace(call, measurements=(FIGURE,), history="history/a.jsonl")])
    assert whole == CheckResult(
        requirement="area/one/01",
        name="check_a",
        verdict=Verdict.FAIL,
        reason="wrong",
        seconds=3.0,
        cpu=4.0,
        history="history/a.jsonl",
        version="1.4.3",
        waits=(early, WAIT),
        measurements=(FIGURE,),
        text="what it does",
    )
    assert whole.waited == 3.0


def test_results_stand_in_the_order_of_requirement_name_and_repetition() -> None:
    second, other = replace(PASSED, repetition=2), replace(PASSED, requirement="area/one/02")
    assert [result.key for result in combined([other, second, FAILED, PASSED])] == [
        ("area/one/01", "check_a", 1),
        ("area/one/01", "check_a", 2),
        ("area/one/01", "check_b", 1),
        ("area/one/02", "check_a", 1),
    ]
    assert (PASSED.title, second.title) == ("check_a", "check_a #2")


def test_only_failures_can_be_known() -> None:
    assert KNOWN.counted is Verdict.SKIP
    assert FAILED.counted is Verdict.FAIL
    assert replace(KNOWN, verdict=Verdict.ERROR).counted is Verdict.ERROR


@pytest.mark.parametrize(
    ("report", "code"),
    [
        (report_of(PASSED), 0),
        (report_of(PASSED, KNOWN), 0),
        (report_of(PASSED, replace(PASSED, name="check_c", verdict=Verdict.DISABLED)), 0),
        (report_of(PASSED, FAILED), 1),
        (report_of(PASSED, replace(FAILED, verdict=Verdict.ERROR)), 3),
        (report_of(PASSED, replace(PASSED, name="check_c", verdict=Verdict.UNKNOWN)), 3),
        (report_of(FAILED, broken=("it fell over",)), 3),
        (report_of(PASSED, instrument=()), 3),
        (report_of(FAILED, interrupted=True), 130),
    ],
)
def test_the_exit_code_tells_the_implementation_from_the_suite(report: Report, code: int) -> None:
    assert report.exit_code == code


@pytest.mark.parametrize(
    ("instrument", "proven"),
    [
        (WORKING, True),
        (WORKING[:2], True),
        ((*WORKING[:2], Proof(name="double run", result=ProofResult.UNAVAILABLE, detail="")), True),
        ((*WORKING[:2], Proof(name="double run", result=ProofResult.BROKEN, detail="")), False),
        (WORKING[1:], False),
        ((*WORKING[1:], Proof(name="canary", result=ProofResult.UNAVAILABLE, detail="")), False),
    ],
)
def test_nothing_is_a_success_that_no_working_instrument_saw(
    instrument: tuple[Proof, ...], proven: bool
) -> None:
    report = report_of(PASSED, replace(FAILED, requirement="area/one/02"), instrument=instrument)
    assert report.is_proven == proven
    assert report.profiles["core"] is (ProfileResult.SUCCESS if proven else ProfileResult.PARTIAL)
    assert report.profiles["hardening"] is ProfileResult.FAILURE
    assert report.profiles["discovery"] is ProfileResult.UNTESTED


def test_verdicts_counts_and_versions_are_those_of_the_checks() -> None:
    versions = (
        replace(PASSED, version="1.5.0"),
        replace(KNOWN, version="1.4.3"),
        replace(FAILED, repetition=2),
    )
    report = report_of(*versions)
    assert report.verdicts["area/one/01"] is Verdict.FAIL
    assert report.verdicts["area/one/02"] is Verdict.UNKNOWN
    assert report.versions == ("1.4.3", "1.5.0")
    assert report.counts == {"unknown": 0, "disabled": 0, "skip": 0, "pass": 1, "fail": 2, "error": 0}
    assert report.expected_failures == 1


def test_untested_is_what_was_selected_and_has_no_check() -> None:
    report = report_of(PASSED)
    first, second, *others = report.requirements
    report = replace(
        report, requirements=(first, second, *(replace(entry, selected=False) for entry in others))
    )
    assert [entry.id for entry in report.untested] == ["area/one/02"]


def test_a_requirement_is_selected_where_nothing_else_is_said() -> None:
    given = {"level": Level.MUST, "text": "It does.", "source": "hardening", "feature": Feature.CORE}
    entry = RequirementEntry(id="area/one/01", **given)
    assert entry.selected
    assert entry.area == "area"


def test_the_file_ends_with_the_word_that_it_is_complete() -> None:
    text = encode(report_of(replace(PASSED, text="größer")))
    assert text.endswith(' "complete": true\n}\n')
    assert '\n "schema": "proxyproof/report/1"' in text
    assert "größer" in text
    assert list(json.loads(text))[:2] == ["schema", "summary"]


@pytest.mark.parametrize(
    ("claim", "presence", "unclaimed", "contradiction"),
    [
        (Claim.DECLARED, Presence.PRESENT, "", ""),
        (Claim.DECLARED, Presence.UNKNOWN, "", ""),
        (Claim.DECLARED, Presence.ABSENT, "", "unless --exempt-features core"),
        (Claim.EXEMPT, Presence.PRESENT, "core is exempt", "it could be judged"),
        (Claim.EXEMPT, Presence.ABSENT, "core is exempt", ""),
        (Claim.UNDECLARED, Presence.PRESENT, "the target does not claim core", "it could be judged"),
        (Claim.UNDECLARED, Presence.UNKNOWN, "the target does not claim core", ""),
        (Claim.UNDETECTED, Presence.ABSENT, "core is not claimed, for it was not detected: a 404", ""),
    ],
)
def test_a_claim_that_contradicts_what_was_seen_is_told_with_the_remedy(
    claim: Claim, presence: Presence, unclaimed: str, contradiction: str
) -> None:
    entry = FeatureEntry(feature=Feature.CORE, claim=claim, presence=presence, seen="a 404")
    for told, expected in ((entry.unclaimed, unclaimed), (entry.contradiction, contradiction)):
        assert expected in told
        assert bool(told) == bool(expected)
    claimed = replace(report_of().target, features=(entry,)).claimed
    assert claimed == ((Feature.CORE,) if claim is Claim.DECLARED else ())


def changed(**fields: Any) -> str:
    """A good file but for these fields; None takes one away."""
    document = json.loads(encode(report_of(PASSED))) | fields
    return json.dumps({name: value for name, value in document.items() if value is not None})


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "truncated or no JSON"),
        ("[]", "no report of the schema"),
        (changed(schema="proxyproof/report/2"), "no report of the schema"),
        (changed(complete=None), "does not say that it is complete"),
        (changed(complete=1), "does not say that it is complete"),
        (changed(target=None), "lacks or misspells a field"),
        (changed(more=1), "lacks or misspells a field"),
        (changed(checks=[{"verdict": "great"}]), "lacks or misspells a field"),
        (changed(summary=None), "contradicts its results"),
        (changed(summary={}), "contradicts its results"),
    ],
)
def test_a_file_that_cannot_be_believed_is_refused_with_the_reason(text: str, complaint: str) -> None:
    with pytest.raises(ReportError, match=complaint):
        decode(text)


def test_the_verdict_of_a_requirement_is_believed_only_with_its_checks() -> None:
    document = json.loads(encode(report_of(PASSED)))
    document["requirements"][1]["verdict"] = "pass"
    with pytest.raises(ReportError, match="contradicts its results"):
        decode(json.dumps(document))


def test_a_result_without_figures_has_none() -> None:
    fields = {"requirement": "area/one/01", "name": "check_a", "verdict": "pass", "waits": []}
    assert decode_check(fields) == PASSED


def test_the_schema_asks_for_everything_that_a_report_has() -> None:
    document, written = json.loads(schema()), json.loads(encode(report_of(PASSED)))
    assert schema().endswith("}\n")
    definitions = document["$defs"]
    report = definitions["Report"]
    assert set(report["required"]) == set(report["properties"]) == set(written)
    assert report["properties"]["complete"] == {"const": True}
    assert set(report["properties"]["summary"]["required"]) == set(written["summary"])
    assert report["properties"]["summary"]["properties"]["exit_code"] == {"enum": [0, 1, 3, 130]}
    words = {"enum": ["unknown", "disabled", "skip", "pass", "fail", "error"]}
    for name, example in (
        ("CheckResult", written["checks"][0]),
        ("RequirementEntry", written["requirements"][0]),
    ):
        assert definitions[name]["properties"]["verdict"] == words
        assert set(definitions[name]["required"]) == set(example)
    assert "Verdict" not in definitions
