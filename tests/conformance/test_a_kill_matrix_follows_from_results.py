"""What faulty agents come to, worked out from results alone: no agent, no process."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.mutants.faults import Catalogue, Fault, FaultsError, ask, judged_by, problems
from conformance.mutants.matrix import (
    GOOD,
    Cell,
    Matrix,
    Obligation,
    Outcome,
    asked_next,
    encode,
    obligations,
    row,
    schema,
)
from conformance.report.model import CheckResult
from conformance.report.verdict import Verdict
from conformance.requirements import Feature, Importance, Level, Register, Requirement
from tests.conformance.reports import patient, results

FAULT = Fault(name="liar", lie="It lies.", command=("liar",), breaks=frozenset({"area/one/01"}))
CATALOGUE = Catalogue(faults=(FAULT,))
#: As good agents answer; one with a version was up.
PASSED = CheckResult(
    requirement="area/one/01", name="check_a", verdict=Verdict.PASS, seconds=1.2344, version="1.0"
)
FAILED = replace(PASSED, verdict=Verdict.FAIL, reason="it is wrong")
NOT_UP = replace(FAILED, reason="StartFailed: it ended", version="")
#: What FAULT is not said to break.
OTHER = MappingProxyType({"requirement": "area/two/01"})


def cells(*those: CheckResult) -> list[tuple[str, Outcome]]:
    return [(cell.requirement, cell.outcome) for cell in row("liar", CATALOGUE, those).cells]


@pytest.mark.parametrize(
    ("verdict", "broken", "other"),
    [
        (Verdict.FAIL, Outcome.KILLED, Outcome.EXTRA),
        (Verdict.PASS, Outcome.SILENT, Outcome.SPARED),
        (Verdict.ERROR, Outcome.INCONCLUSIVE, Outcome.INCONCLUSIVE),
        (Verdict.UNKNOWN, Outcome.INCONCLUSIVE, Outcome.INCONCLUSIVE),
        (Verdict.DISABLED, Outcome.INCONCLUSIVE, Outcome.INCONCLUSIVE),
    ],
)
def test_an_outcome_depends_on_the_verdict_and_on_what_the_fault_breaks(
    verdict: Verdict, broken: Outcome, other: Outcome
) -> None:
    result = replace(PASSED, verdict=verdict)
    assert cells(replace(result, **OTHER), result) == [("area/one/01", broken), ("area/two/01", other)]


def test_a_skip_says_nothing_of_a_sample_and_leaves_open_what_is_broken() -> None:
    skipped = replace(PASSED, verdict=Verdict.SKIP)
    assert cells(skipped, replace(skipped, **OTHER)) == [("area/one/01", Outcome.INCONCLUSIVE)]


def test_one_of_several_checks_is_enough_to_kill_and_gives_the_reason() -> None:
    liar = row(
        "liar",
        CATALOGUE,
        [PASSED, replace(FAILED, name="check_b"), replace(PASSED, reason="zzz", name="check_c")],
    )
    assert liar.cells == (
        Cell(requirement="area/one/01", outcome=Outcome.KILLED, reason="it is wrong", seconds=3.703),
    )
    assert (liar.fault, liar.lie, liar.equivalent, liar.good) == ("liar", "It lies.", "", True)


def test_an_agent_that_never_came_up_is_dead_and_not_caught() -> None:
    assert cells(NOT_UP, replace(NOT_UP, **OTHER)) == [
        ("area/one/01", Outcome.DEAD),
        ("area/two/01", Outcome.DEAD),
    ]
    assert not row("liar", CATALOGUE, [NOT_UP]).good


@pytest.mark.parametrize(
    "up", [replace(FAILED, **OTHER, version=""), replace(NOT_UP, **OTHER, version="1.0")]
)
def test_one_that_came_up_once_is_not_dead(up: CheckResult) -> None:
    assert cells(NOT_UP, up)[0] == ("area/one/01", Outcome.KILLED)


def test_one_that_should_not_come_up_and_does_not_is_not_dead() -> None:
    assert cells(replace(PASSED, version="")) == [("area/one/01", Outcome.SILENT)]


@patient
@given(st.lists(results, max_size=6).flatmap(lambda those: st.tuples(st.just(those), st.permutations(those))))
def test_order_never_matters(pair: tuple[list[CheckResult], list[CheckResult]]) -> None:
    one, two = (row("liar", CATALOGUE, those) for those in pair)
    assert [(cell.requirement, cell.outcome, cell.reason) for cell in one.cells] == [
        (cell.requirement, cell.outcome, cell.reason) for cell in two.cells
    ]
    assert one.good == all(cell.outcome in GOOD for cell in one.cells)


def test_what_comes_out_well_at_the_second_time_is_unsteady() -> None:
    other = replace(PASSED, **OTHER)
    first = row("liar", CATALOGUE, [PASSED, other])
    assert first.doubtful == ("area/one/01",)
    assert first.unsteady == ()
    again = first.asked_again(row("liar", CATALOGUE, [FAILED]))
    assert [(cell.requirement, cell.outcome, cell.at_first) for cell in again.cells] == [
        ("area/one/01", Outcome.KILLED, Outcome.SILENT),
        ("area/two/01", Outcome.SPARED, None),
    ]
    assert again.good
    assert again.doubtful == ()
    assert again.unsteady == again.cells[:1]
    whole = matrix(rows=(again, again))
    assert (whole.unsteady, json.loads(encode(whole))["summary"]["unsteady"]) == (2, 2)


def test_what_it_came_to_at_first_is_told_however_often_it_was_asked() -> None:
    survivor, caught = row("liar", CATALOGUE, [PASSED]), row("liar", CATALOGUE, [FAILED])
    broke = row("liar", CATALOGUE, [replace(PASSED, verdict=Verdict.ERROR)])
    for between in (survivor, broke):
        (cell,) = survivor.asked_again(between).asked_again(caught).cells
        assert (cell.outcome, cell.at_first) == (Outcome.KILLED, Outcome.SILENT)


def test_one_that_is_asked_for_more_and_comes_up_was_not_dead() -> None:
    dead = row("liar", CATALOGUE, [NOT_UP])
    up = row("liar", CATALOGUE, [NOT_UP, replace(PASSED, **OTHER)])
    assert dead.dead
    again = dead.asked_again(up)
    assert [(cell.requirement, cell.outcome, cell.at_first) for cell in again.cells] == [
        ("area/one/01", Outcome.KILLED, None),
        ("area/two/01", Outcome.SPARED, None),
    ]
    assert again.good
    still = dead.asked_again(row("liar", CATALOGUE, [NOT_UP, replace(NOT_UP, **OTHER)]))
    assert {cell.outcome for cell in still.cells} == {Outcome.DEAD}


def test_what_is_dead_is_asked_for_something_else_and_nothing_twice() -> None:
    checked = ("area/one/01", "area/two/01")
    dead, survivor, caught = (row("liar", CATALOGUE, [one]) for one in (NOT_UP, PASSED, FAILED))
    assert asked_next(dead, FAULT, checked) == checked
    assert asked_next(survivor, FAULT, checked) == ("area/one/01",)
    assert asked_next(caught, FAULT, checked) == ()


def test_what_is_dead_is_asked_for_one_thing_more_and_not_for_what_it_might_break_unsaid() -> None:
    neighbours = {f"area/one/{number:02}" for number in range(2, 5)}
    strangers = {f"area/two/{number:02}" for number in range(1, 5)}
    asked = asked_next(row("liar", CATALOGUE, [NOT_UP]), FAULT, {"area/one/01"} | neighbours | strangers)
    assert len(asked) == 2
    assert {*asked} - strangers == {"area/one/01"}


def test_one_that_comes_up_only_later_is_unsteady() -> None:
    dead = row("liar", CATALOGUE, [NOT_UP])
    assert dead.asked_again(row("liar", CATALOGUE, [FAILED])).unsteady[0].at_first is Outcome.DEAD


def test_a_survivor_survives_each_time_and_is_steady() -> None:
    survivor = row("liar", CATALOGUE, [PASSED])
    assert survivor.asked_again(survivor) == survivor.asked_again(survivor).asked_again(survivor) == survivor
    worse = survivor.asked_again(row("liar", CATALOGUE, [replace(PASSED, verdict=Verdict.ERROR)]))
    assert worse.doubtful == ("area/one/01",)
    assert worse.unsteady == ()


def requirement(identifier: str, level: Level = Level.MUST) -> Requirement:
    return Requirement(
        id=identifier,
        level=level,
        text="It does.",
        source="hardening",
        feature=Feature.CORE,
        importance=next(iter(Importance)),
    )


CHECKED = (requirement("area/one/01"), requirement("area/one/02"), requirement("area/two/01", Level.SHOULD))


def test_every_must_that_has_a_check_is_seen_to_fail_or_exempt() -> None:
    killed = row("liar", CATALOGUE, [FAILED, replace(PASSED, requirement="area/one/02")])
    exempt = Catalogue(faults=(FAULT,), exempt={"area/one/02": "it is too good"})
    first, second = obligations(exempt, CHECKED, [killed])
    assert (first.requirement, first.broken_by, first.exempt, first.good) == (
        "area/one/01",
        ("liar",),
        "",
        True,
    )
    assert (second.requirement, second.broken_by, second.exempt, second.good) == (
        "area/one/02",
        (),
        "it is too good",
        True,
    )
    assert [entry.good for entry in obligations(CATALOGUE, CHECKED, [killed])] == [True, False]
    silent = row("liar", CATALOGUE, [PASSED])
    assert not obligations(CATALOGUE, CHECKED, [silent])[0].good


def test_of_some_faults_only_what_they_break_is_asked() -> None:
    other = Fault(name="other", lie="It lies.", command=("other",), breaks=frozenset({"area/one/02"}))
    some = obligations(Catalogue(faults=(FAULT, other)), CHECKED, [row("liar", CATALOGUE, [FAILED])])
    assert [entry.requirement for entry in some] == ["area/one/01"]


def matrix(*those: CheckResult, **changes: Any) -> Matrix:
    good = Matrix(
        suite="0.1.0",
        started="2026-01-01T00:00:00+00:00",
        seconds=1.0,
        interrupted=False,
        broken=(),
        rows=(row("liar", CATALOGUE, those),),
        obligations=(),
    )
    return replace(good, **changes)


OPEN = Obligation(requirement="area/one/02", text="größer", broken_by=(), exempt="")


@pytest.mark.parametrize(
    ("whole", "code"),
    [
        (matrix(FAILED), 0),
        (matrix(PASSED), 1),
        (matrix(FAILED, obligations=(OPEN,)), 1),
        (matrix(FAILED, obligations=(replace(OPEN, exempt="it is too good"),)), 0),
        (matrix(PASSED, broken=("it fell over",)), 3),
        (matrix(FAILED, broken=("it fell over",), interrupted=True), 130),
    ],
)
def test_the_exit_code_tells_a_survivor_from_a_broken_suite(whole: Matrix, code: int) -> None:
    assert whole.exit_code == code
    assert json.loads(encode(whole))["summary"]["exit_code"] == code


def test_the_file_has_what_follows_and_ends_with_the_word_that_it_is_complete() -> None:
    text = encode(matrix(FAILED, replace(FAILED, **OTHER), obligations=(OPEN,)))
    assert text.endswith(' "complete": true\n}\n')
    assert "größer" in text
    assert '\n "schema": "proxyproof/mutants/1"' in text
    document = json.loads(text)
    assert document["summary"]["unbroken"] == ["area/one/02"]
    assert {name: number for name, number in document["summary"]["cells"].items() if number} == {
        "killed": 1,
        "extra": 1,
    }
    described = json.loads(schema())
    assert schema().endswith("}\n")
    whole = described["$defs"]["Matrix"]
    assert set(whole["required"]) == set(whole["properties"]) == set(document)
    assert whole["properties"]["summary"]["properties"]["exit_code"] == {"enum": [0, 1, 3, 130]}
    assert whole["properties"]["complete"] == {"const": True}
    assert set(described["$defs"]["Cell"]["required"]) == set(document["rows"][0]["cells"][0])


KNOWN = ("area/one/01", "area/one/02", "area/two/01", "other/one/01")


@patient
@given(
    st.frozensets(st.sampled_from(KNOWN)),
    st.frozensets(st.sampled_from(KNOWN)),
    st.integers(0, 3),
    st.integers(0, 3),
    st.text(max_size=3),
)
def test_a_fault_meets_what_it_breaks_and_as_many_others_as_were_asked_for(
    breaks: frozenset[str], checked: frozenset[str], near: int, far: int, name: str
) -> None:
    fault = Fault(name=name, lie="It lies.", command=("liar",), breaks=breaks)
    chosen = judged_by(fault, checked, near=near, far=far)
    assert (
        chosen
        == judged_by(fault, sorted(checked, reverse=True), near=near, far=far)
        == tuple(sorted(set(chosen)))
    )
    assert breaks <= set(chosen) <= breaks | checked
    behaviours = {entry.rpartition("/")[0] for entry in breaks}
    for wanted, close in ((near, True), (far, False)):
        others = {entry for entry in checked - breaks if (entry.rpartition("/")[0] in behaviours) is close}
        least = 0 if close or breaks else 1  # what is said to break nothing must be shown by something
        assert len(others & set(chosen)) == min(max(wanted, least), len(others))


@pytest.mark.parametrize(
    ("changes", "exempt", "complaints"),
    [
        ({}, {}, []),
        ({}, {"area/two/01": "it is too good"}, []),
        ({"breaks": frozenset(), "equivalent": "nobody sees it"}, {}, []),
        ({"lie": ""}, {}, ["liar needs a lie and a command"]),
        ({"command": ()}, {}, ["liar needs a lie and a command"]),
        ({"breaks": frozenset()}, {}, ["liar needs either what it breaks, or the reason"]),
        ({"equivalent": "nobody sees it"}, {}, ["liar needs either what it breaks, or the reason"]),
        ({"breaks": frozenset({"a/b/01"})}, {}, ["liar breaks a/b/01, which is no requirement"]),
        ({"disturbs": frozenset({"area/two/01"})}, {}, []),
        ({"disturbs": frozenset({"a/b/01"})}, {}, ["liar disturbs a/b/01, which is no requirement"]),
        ({"disturbs": frozenset({"area/one/01"})}, {}, ["liar disturbs area/one/01, which it breaks"]),
        ({}, {"a/b/01": "it is too good"}, ["a/b/01 is exempt, and no requirement"]),
        ({}, {"area/two/01": ""}, ["area/two/01 is exempt without a reason"]),
        ({}, {"area/one/01": "it is too good"}, ["area/one/01 is exempt, and broken all the same"]),
    ],
)
def test_a_catalogue_must_not_contradict_itself(
    changes: dict[str, Any], exempt: dict[str, str], complaints: list[str]
) -> None:
    fields: dict[str, Any] = {"name": "liar", "lie": "It lies.", "command": ("liar",), "breaks": FAULT.breaks}
    told = list(problems(Catalogue(faults=(Fault(**fields | changes),), exempt=exempt), KNOWN))
    assert len(told) == len(complaints)
    assert all(said.startswith(expected) for said, expected in zip(told, complaints, strict=True))


def told_by(script: str, *arguments: str) -> Catalogue:
    """What a shell that runs this script tells; the last of its arguments is the folder."""
    return ask(["sh", "-c", script, "sh", *arguments], Path("/nowhere"), Register(()))


def test_a_command_tells_its_faults_and_learns_where_its_programs_may_be() -> None:
    listing = '{"faults": [{"name": "liar", "lie": "%s", "command": ["liar"], "equivalent": "so it is"}]}'
    (fault,) = told_by(f"printf '{listing}' \"$*\"", "given").faults
    assert (fault.lie, fault.command, fault.equivalent) == ("given --list /nowhere", ("liar",), "so it is")
    assert not fault.one_file


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        ("echo first >&2; echo wrong >&2; exit 3", "--list ended with exit code 3: wrong"),
        ("echo '{}'; exit 1", "--list ended with exit code 1: nothing said"),
        ("echo nonsense", "--list prints no catalogue of faulty agents: "),
        (
            """echo '{"faults": [{"name": "liar", "lie": "", "command": ["l"], "equivalent": "e"}]}'""",
            "--list: liar needs a lie and a command",
        ),
    ],
)
def test_a_command_that_tells_no_catalogue_is_refused_in_one_sentence(script: str, complaint: str) -> None:
    with pytest.raises(FaultsError) as refusal:
        told_by(script)
    assert complaint in str(refusal.value)
    assert str(refusal.value).startswith("sh -c ")


def test_a_command_that_is_not_there_is_named() -> None:
    with pytest.raises(FaultsError, match=r"^/nowhere/faulty --list cannot be run: "):
        ask(["/nowhere/faulty"], Path("/nowhere"), Register(()))


def test_a_fault_is_there_once() -> None:
    twice = Catalogue(
        faults=(FAULT, FAULT, Fault(name="other", lie="It lies.", command=("o",), equivalent="so it is"))
    )
    assert list(problems(twice, KNOWN)) == ["liar is there twice"]
