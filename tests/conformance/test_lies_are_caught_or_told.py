"""``proxyproof mutants`` with a tiny suite and tiny agents: what each outcome comes from, and what it leads to."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from conformance.mutants.matrix import schema
from tests.conformance.tiny import COMMAND, Suite

STARTS = """
agent = lab.agent(definitions=[lab.service("web", proxy={})])
assert agent.proxy("web-proxy").alive()
"""
CHECKS = {
    "tiny/good/01": 'assert lab.agent().services().keys() == {"web"}',
    "tiny/good/02": STARTS,
    "tiny/far/01": "assert lab.agent().answers()",
    "tiny/absent/01": 'lab.skip("this machine has no flux capacitor")',
}
HONEST = shlex.split(COMMAND)
LIAR = [word.replace('{"web": {}}', '{"db": {}}') for word in HONEST]
DEAD = [sys.executable, "-c", "raise SystemExit('no')"]
FAR_FREE = {
    "tiny/good/02": "it is too good",
    "tiny/far/01": "it is too far",
    "tiny/absent/01": "nobody has one",
}


def fault(command: list[str], *breaks: str, **more: Any) -> dict[str, Any]:
    return {"name": "liar", "lie": "Lies.", "command": command, "breaks": breaks, **more}


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    return Suite.of(tmp_path, CHECKS)


def judge(
    suite: Suite, *faults: Mapping[str, Any], exempt: Mapping[str, str] = FAR_FREE, workers: str = "0"
) -> tuple[int, dict[str, Any], str]:
    """Exit code, ``mutants.json`` and what was said."""
    listing = json.dumps({"faults": faults, "exempt": exempt})
    catalogue = shlex.join([sys.executable, "-c", f"print({listing!r})"])
    finished = suite.call(suite.command("mutants", "--faults", catalogue, "-n", workers))
    path = suite.folder / "proxyproof-mutants" / "mutants.json"
    text = path.read_text() if path.exists() else ""
    return finished.returncode, json.loads(text) if text else {}, finished.stdout + finished.stderr


def outcomes(document: Mapping[str, Any]) -> dict[str, str]:
    return {cell["requirement"]: cell["outcome"] for row in document["rows"] for cell in row["cells"]}


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_lie_that_is_caught_is_killed_and_others_are_spared(suite: Suite, workers: str) -> None:
    code, document, _ = judge(suite, fault(LIAR, "tiny/good/01"), workers=workers)
    assert (code, outcomes(document)["tiny/good/01"]) == (0, "killed")
    assert set(outcomes(document).values()) == {"killed", "spared"}
    jsonschema.validate(document, json.loads(schema()))
    page = (suite.folder / "proxyproof-mutants" / "mutants.html").read_text()
    assert "every lie is caught" in page
    assert "tiny/good/01" in page


def test_a_lie_that_nobody_notices_is_silent(suite: Suite) -> None:
    code, document, said = judge(suite, fault(HONEST, "tiny/good/01"))
    assert (code, outcomes(document)["tiny/good/01"]) == (1, "silent")
    assert said.count("silent: tiny/good/01") == 1


def test_a_failure_that_was_not_declared_is_extra(suite: Suite) -> None:
    code, document, _ = judge(suite, fault(LIAR, "tiny/good/02"), exempt={})
    assert code == 1
    assert outcomes(document)["tiny/good/01"] == "extra"
    assert outcomes(document)["tiny/good/02"] == "silent"


@pytest.mark.parametrize(
    ("command", "breaks", "other", "holds_when", "outcome", "at_first"),
    [
        (HONEST, "tiny/first/01", "tiny/good/01", "times == 0", "killed", "silent"),
        (HONEST, "tiny/first/01", "tiny/good/01", "times < 2", "killed", "silent"),
        (LIAR, "tiny/good/01", "tiny/first/01", "times > 0", "spared", "extra"),
        (LIAR, "tiny/good/01", "tiny/first/01", "times > 1", "spared", "extra"),
    ],
)
def test_what_comes_out_well_only_later_is_unsteady(
    tmp_path: Path, command: list[str], breaks: str, other: str, holds_when: str, outcome: str, at_first: str
) -> None:
    marker = tmp_path / "times"
    first = f"""
        from pathlib import Path
        marker = Path({str(marker)!r})
        times = len(marker.read_text()) if marker.exists() else 0
        with marker.open("a") as appended:
            appended.write("x")
        assert {holds_when}
    """
    suite = Suite.of(tmp_path, {"tiny/first/01": first, "tiny/good/01": CHECKS["tiny/good/01"]})
    code, document, said = judge(suite, fault(command, breaks), exempt={other: "it is not asked for"})
    cells = {cell["requirement"]: cell for cell in document["rows"][0]["cells"]}
    cell = cells["tiny/first/01"]
    assert (cell["outcome"], cell["at_first"]) == (outcome, at_first)
    assert document["summary"]["unsteady"] == 1
    assert f"unsteady liar tiny/first/01: {at_first} at first, then {outcome}" in said
    assert code == 0


def test_a_program_does_not_meet_what_is_asked_of_containers(suite: Suite) -> None:
    register = suite.folder / "requirements" / "tiny.toml"
    register.write_text(register.read_text().replace('feature = "core"', 'feature = "containers"'))
    _, document, _ = judge(suite, fault(LIAR, "tiny/good/01"))
    assert set(outcomes(document)) == {"tiny/good/01"}


def test_an_agent_that_never_comes_up_is_dead(suite: Suite) -> None:
    code, document, _ = judge(suite, fault(DEAD, "tiny/good/01"))
    assert (code, set(outcomes(document).values())) == (1, {"dead"})


def test_what_this_machine_cannot_show_is_inconclusive(suite: Suite) -> None:
    code, document, _ = judge(suite, fault(LIAR, "tiny/good/01", "tiny/absent/01"), exempt={})
    assert (code, outcomes(document)["tiny/absent/01"]) == (1, "inconclusive")


def test_an_equivalent_fault_breaks_nothing_and_says_why(suite: Suite) -> None:
    code, document, _ = judge(
        suite,
        fault(LIAR, "tiny/good/01"),
        fault(HONEST, equivalent="what it changes is seen by nobody") | {"name": "same"},
    )
    assert code == 0
    assert {cell["outcome"] for cell in document["rows"][1]["cells"]} == {"spared"}


def test_a_must_that_no_fault_breaks_fails_unless_it_is_exempt(suite: Suite) -> None:
    code, document, said = judge(suite, fault(LIAR, "tiny/good/01"), exempt={})
    assert code == 1
    assert document["summary"]["unbroken"] == ["tiny/absent/01", "tiny/far/01", "tiny/good/02"]
    assert "no fault breaks tiny/far/01" in said


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"breaks": ["tiny/nothing/01"]}, "liar breaks tiny/nothing/01, which is no requirement"),
        ({"breaks": []}, "liar needs either what it breaks, or the reason why it is equivalent"),
        ({"lie": ""}, "liar needs a lie and a command"),
        ({"breaks": ["tiny/far/01"]}, "tiny/far/01 is exempt, and broken all the same"),
        ({"lies": ""}, "prints no catalogue of faulty agents"),
    ],
)
def test_a_catalogue_that_contradicts_itself_is_refused(
    suite: Suite, changes: Mapping[str, Any], complaint: str
) -> None:
    code, _, said = judge(suite, fault(LIAR, "tiny/good/01") | changes)
    assert code == 2
    assert complaint in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--faults", "/nowhere/faulty"], "/nowhere/faulty --list cannot be run"),
        (["--faults", "false"], "false --list ended with exit code 1"),
        (["--faults", "echo"], "echo --list prints no catalogue"),
        (["--faults", "'"], "cannot be split into words"),
        (["--faults", ""], "--faults needs a command"),
    ],
)
def test_a_command_that_tells_of_no_faults_is_a_usage_error(
    suite: Suite, arguments: list[str], complaint: str
) -> None:
    finished = suite.call(suite.command("mutants", *arguments))
    assert finished.returncode == 2
    assert complaint in finished.stderr
    assert finished.stderr.count("\n") == 1
