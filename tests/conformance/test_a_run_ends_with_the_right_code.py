"""Whole runs of a tiny suite against a tiny agent: verdicts, reports and exit codes, in one process and in two."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from conformance.report.model import CheckResult
from conformance.report.verdict import ProfileResult, Verdict
from tests.conformance.tiny import SECRET, Suite

PASS = """
agent = lab.agent(definitions=[lab.service("web", proxy={})])
assert agent.proxy("web-proxy").alive()
assert agent.services().keys() == {"web"}
"""
FAIL = """
agent = lab.agent(definitions=[lab.service("web", proxy={})])
token = agent.proxy("web-proxy").environment()["CONNECT_PROXY_TOKEN"]
assert token == "", f"the token is {token}"
"""
SILENT = """
import socket
with socket.create_server(("127.0.0.1", 0)) as silent:
    with socket.create_connection(silent.getsockname(), timeout=0.1) as connection:
        connection.recv(1)
"""
CHECKS = {
    "tiny/good/01": PASS,
    "tiny/good/02": PASS,
    "tiny/bad/01": FAIL,
    "tiny/bad/02": 'lab.agent().api.get("/v1/agent/nothing").json["Key"]',
    "tiny/bad/03": SILENT,
    "tiny/bad/04": "import socket\nwith socket.socket() as gone: gone.shutdown(socket.SHUT_WR)",
    "tiny/bad/05": "raise ConnectionResetError('reset by peer')",
    "tiny/broken/01": 'raise RuntimeError("the check itself is wrong")',
    "tiny/absent/01": 'lab.skip("this machine has no flux capacitor")',
}
WORKERS = ["0", "2"]


@pytest.fixture(scope="module", params=WORKERS, ids=["alone", "two workers"])
def judged(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Suite, int, str]:
    suite = Suite.of(tmp_path_factory.mktemp("tiny"), CHECKS, untested=["tiny/future/01"])
    finished = suite.run("-n", request.param)
    return suite, finished.returncode, finished.stdout


def result(suite: Suite, identifier: str) -> CheckResult:
    return next(check for check in suite.report().checks if check.requirement == identifier)


def test_a_broken_suite_exits_with_3(judged: tuple[Suite, int, str]) -> None:
    suite, code, _ = judged
    assert (code, suite.report().exit_code) == (3, 3)


def test_every_verdict_is_reported(judged: tuple[Suite, int, str]) -> None:
    verdicts = judged[0].report().verdicts
    assert verdicts == {
        "tiny/absent/01": Verdict.SKIP,
        "tiny/bad/01": Verdict.FAIL,
        "tiny/bad/02": Verdict.FAIL,
        "tiny/bad/03": Verdict.FAIL,
        "tiny/bad/04": Verdict.FAIL,
        "tiny/bad/05": Verdict.FAIL,
        "tiny/broken/01": Verdict.ERROR,
        "tiny/future/01": Verdict.UNKNOWN,
        "tiny/good/01": Verdict.PASS,
        "tiny/good/02": Verdict.PASS,
    }


def test_reasons_are_reported(judged: tuple[Suite, int, str]) -> None:
    suite = judged[0]
    assert result(suite, "tiny/absent/01").reason == "this machine has no flux capacitor"
    assert "the check itself is wrong" in result(suite, "tiny/broken/01").reason
    assert "the token is [redacted]" in result(suite, "tiny/bad/01").reason
    assert "the answer lacks 'Key'" in result(suite, "tiny/bad/02").reason


def test_no_secret_leaves_the_run(judged: tuple[Suite, int, str]) -> None:
    suite, _, output = judged
    files = [path for path in (suite.folder / "proxyproof-report").rglob("*") if path.is_file()]
    assert {"report.json", "junit.xml"} <= {path.name for path in files}
    assert SECRET not in output
    assert [path.name for path in files if SECRET in path.read_text()] == []


def test_waits_are_measured(judged: tuple[Suite, int, str]) -> None:
    passed = result(judged[0], "tiny/good/01")
    assert [wait.budget for wait in passed.waits] == ["agent_ready", "proxy_start"]
    assert all(0 <= wait.seconds <= wait.allowed and wait.outcome == "in time" for wait in passed.waits)


def test_where_the_time_went_is_told(judged: tuple[Suite, int, str]) -> None:
    _, _, output = judged
    assert re.search(
        r"^time: \d+ s of checks, of which \d+ s waiting; \d+ s of CPU; most in tiny", output, re.M
    )
    assert re.search(r"^slowest: .*tiny/good/01 ", output, re.M)


def test_the_work_of_whatever_a_check_starts_is_counted(tmp_path: Path) -> None:
    busy = "import time\nwhile time.process_time() < 0.5: pass"
    suite = Suite.of(
        tmp_path,
        {
            "tiny/busy/01": f"import subprocess, sys; subprocess.run([sys.executable, '-c', {busy!r}], check=True)",
            "tiny/idle/01": "time.sleep(0.5)",
        },
    )
    assert suite.run("-n", "0").returncode == 0
    assert result(suite, "tiny/busy/01").cpu > 0.45
    assert result(suite, "tiny/idle/01").cpu < result(suite, "tiny/idle/01").seconds


def test_a_failure_comes_with_its_history(judged: tuple[Suite, int, str]) -> None:
    suite, _, output = judged
    failed = result(suite, "tiny/bad/01")
    lines = (suite.folder / "proxyproof-report" / failed.history).read_text().splitlines()
    kinds = {json.loads(line)["kind"] for line in lines}
    assert {"agent", "request", "wait", "process appeared"} <= kinds
    assert "process appeared: " in output


def test_the_untested_are_published(judged: tuple[Suite, int, str]) -> None:
    suite, _, output = judged
    assert [entry.id for entry in suite.report().untested] == ["tiny/future/01"]
    assert "untested MUST: 1 (tiny/future/01)" in output


def test_junit_tells_the_same(judged: tuple[Suite, int, str]) -> None:
    root = ElementTree.parse(judged[0].folder / "proxyproof-report" / "junit.xml").getroot()
    totals = {name: root.attrib[name] for name in ("tests", "failures", "errors", "skipped")}
    assert totals == {"tests": "9", "failures": "5", "errors": "1", "skipped": "1"}


def test_the_version_of_the_agent_is_reported(judged: tuple[Suite, int, str]) -> None:
    assert judged[0].report().versions == ("0.0.7",)


@pytest.mark.parametrize("workers", WORKERS)
def test_passes_exit_with_0(tmp_path: Path, workers: str) -> None:
    suite = Suite.of(tmp_path, {"tiny/good/01": PASS, "tiny/good/02": PASS})
    assert suite.run("-n", workers).returncode == 0
    assert suite.report().profiles["core"] is ProfileResult.SUCCESS


@pytest.mark.parametrize("workers", WORKERS)
def test_a_failure_exits_with_1(tmp_path: Path, workers: str) -> None:
    suite = Suite.of(tmp_path, {"tiny/good/01": PASS, "tiny/bad/01": FAIL})
    assert suite.run("-n", workers).returncode == 1
    assert suite.report().profiles["core"] is ProfileResult.FAILURE


def test_a_skip_is_partial_and_no_failure(tmp_path: Path) -> None:
    suite = Suite.of(tmp_path, {"tiny/good/01": PASS, "tiny/absent/01": 'lab.skip("not here")'})
    assert suite.run().returncode == 0
    assert suite.report().profiles["core"] is ProfileResult.PARTIAL


def test_only_what_was_named_is_run(tmp_path: Path) -> None:
    suite = Suite.of(tmp_path, CHECKS)
    assert suite.run("tiny/good").returncode == 0
    assert [check.requirement for check in suite.report().checks] == ["tiny/good/01", "tiny/good/02"]


def test_a_module_that_cannot_be_imported_breaks_the_run(tmp_path: Path) -> None:
    suite = Suite.of(tmp_path, {"tiny/good/01": PASS})
    module = suite.folder / "checks" / "tiny.py"
    module.write_text("import no_such_module\n" + module.read_text())
    assert suite.run("-n", "2").returncode == 3
    assert suite.report().verdicts == {"tiny/good/01": Verdict.UNKNOWN}
    assert "no_such_module" in suite.report().broken[0]


def test_an_agent_that_does_not_come_up_is_a_failure(tmp_path: Path) -> None:
    suite = Suite.of(tmp_path, {"tiny/good/01": PASS})
    command = ["run", "--target", "process", "--command", "sh -c 'echo no such luck; exit 7'"]
    assert suite.call(suite.command(*command)).returncode == 1
    assert "ended with exit code 7" in suite.report().checks[0].reason
    assert "no such luck" in suite.report().checks[0].reason


def test_pytest_settings_of_the_surroundings_do_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = Suite.of(tmp_path, {"tiny/good/01": PASS})
    for folder in (tmp_path, tmp_path / "checks"):
        (folder / "conftest.py").write_text("raise RuntimeError('not for this suite')\n")
        (folder / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\npython_functions = none\n")
    (tmp_path / "checks" / "conftest.py").rename(tmp_path / "checks" / "_conftest.py")
    monkeypatch.setenv("PYTEST_ADDOPTS", "--no-such-option")
    monkeypatch.setenv("PYTEST_PLUGINS", "no_such_plugin")
    assert suite.run("-n", "2").returncode == 0
