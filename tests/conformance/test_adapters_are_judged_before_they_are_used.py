"""An adapter is judged by itself, and what it does wrong is never blamed on the implementation."""

from __future__ import annotations

import os
import shlex
import stat
import sys
from contextlib import suppress
from pathlib import Path
from textwrap import dedent

import msgspec
import pytest

import proxyproof.data
from conformance.cli import main
from conformance.instruments.processes import Process, table
from conformance.report.verdict import Verdict
from conformance.smoke import smoke
from conformance.targets import protocol
from tests.conformance.tiny import COMMAND, Suite, await_end

SAMPLE = Path(str(proxyproof.data.path("fixtures"))) / "adapters" / "process_adapter.py"


def adapter(folder: Path, fault: str = "") -> str:
    """The sample adapter of the tiny agent, with a fault patched into its source before it runs."""
    path = folder / "adapter"
    path.write_text(
        f"#!{sys.executable}\n"
        "import os, pathlib\n"
        f"os.environ['ADAPTED_COMMAND'] = {COMMAND!r}\n"
        f"source = pathlib.Path({str(SAMPLE)!r}).read_text()\n"
        f"{dedent(fault)}\n"
        "exec(compile(source, 'adapter', 'exec'))\n"
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_the_sample_has_sixty_lines() -> None:
    assert len(SAMPLE.read_text().splitlines()) <= 66


def test_the_sample_passes(tmp_path: Path) -> None:
    assert [answered for answered in smoke(adapter(tmp_path)) if answered.problem] == []


@pytest.mark.parametrize(
    ("fault", "question", "problem"),
    [
        ("raise SystemExit(7)", "says what it adapts", "ended without an answer, exit code 7"),
        (
            "source = source.replace('\"features\": FEATURES', '\"features\": 3')",
            "says what it adapts",
            "features",
        ),
        (
            "source = source.replace('FEATURES = [', 'FEATURES = [\"magic\", ')",
            "says what it adapts",
            "magic",
        ),
        (
            'source = source.replace(\'"ok": False\', \'"ok": True, "command": 1\')',
            "refuses what it does not know, and goes on",
            "a line that is no JSON must be answered with",
        ),
        (
            "source = source.replace('[request[\"agent\"]].pid', '[request[\"agent\"]].pid + (1 << 22)')",
            "starts an agent that answers",
            "this machine has no such process",
        ),
        (
            "source = source.replace('signal.SIGHUP', 'signal.SIGKILL')",
            "reloads it",
            "ended with exit code -9 instead of answering",
        ),
        (
            "source = source.replace('request, signal.SIGKILL', 'request, signal.SIGTERM')",
            "starts it again, and crashes it",
            "must be -9",
        ),
        (
            'source = source.replace(\'"cannot": {}\', \'"cannot": {}, "installs": True\')',
            "installs the program elsewhere, if it says so",
            "the adapter refused install: KeyError: 'install'",
        ),
        ("source = source.replace('agent.kill()', 'pass')", "ends with its agents", "bye ends the agents"),
    ],
)
def test_an_adapter_that_does_not_do_its_part_is_told_what_is_missing(
    tmp_path: Path, fault: str, question: str, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("conformance.smoke._WITHIN_SECONDS", 3.0)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    *_, last = smoke(adapter(tmp_path, fault))
    assert last.question == question
    assert problem in last.problem
    assert await_end(at_work_in(tmp_path)) == []


def at_work_in(folder: Path) -> list[Process]:
    found = []
    for process in table():
        with suppress(OSError):
            if os.readlink(f"/proc/{process.pid}/cwd").startswith(f"{folder}/"):
                found.append(process)
    return found


def test_smoke_says_so_with_its_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["smoke", "--adapter", adapter(tmp_path)]) == 0
    assert capsys.readouterr().out.count("yes ") == 8
    assert main(["smoke", "--adapter", adapter(tmp_path, "raise SystemExit(7)")]) == 1
    assert "no  says what it adapts" in capsys.readouterr().out


CHECKS = {
    "tiny/start/01": 'assert lab.agent(definitions=[lab.service("web")]).answers()',
    "tiny/crash/01": """
        agent = lab.agent(definitions=[lab.service("web")])
        proxy = agent.proxy("web-proxy")
        agent.crash()
        assert agent.exit_code() == -9
        assert proxy.alive()
    """,
}


def judge(suite: Suite, adapter: str) -> int:
    command = ["run", "-n", "0", "--target", "exec", "--adapter", adapter]
    return suite.call(suite.command(*command)).returncode


def test_a_run_through_an_adapter_judges_the_implementation(tmp_path: Path) -> None:
    suite = Suite.of(tmp_path, CHECKS)
    assert judge(suite, adapter(tmp_path)) == 0, suite.report()
    report = suite.report()
    assert {check.verdict for check in report.checks} == {Verdict.PASS}
    assert report.target.name == shlex.split(COMMAND)[0].rpartition("/")[2]


#: What an adapter adds that can install: here the program is the text that the interpreter is given with -c.
INSTALLING = '''
source = source.replace('"cannot": {}', '"cannot": {}, "installs": True')
source = source.replace('"bye": lambda', '"install": install, "bye": lambda')
source = source.replace("HANDLERS = {", """
import pathlib, tempfile
places = tempfile.TemporaryDirectory()
os.chmod(places.name, 0o755)
def install(request):
    for old in pathlib.Path(places.name).iterdir():
        old.unlink()
    path = pathlib.Path(places.name) / request["place"]
    path.write_text(PROGRAM)
    COMMAND[3:] = [str(path)]
    return {}
PROGRAM = COMMAND[4]
HANDLERS = {""")
'''
IS_INSTALLED = """
    lab.install("here")
    agent = lab.agent()
    assert any(each.endswith("/here") for each in agent.process.argv())
    agent.stop()
    lab.install("there")
    agent.start()
    assert any(each.endswith("/there") for each in agent.process.argv())
"""


def test_a_program_can_be_installed_through_an_adapter_that_says_so(tmp_path: Path) -> None:
    able = adapter(tmp_path, INSTALLING)
    assert [answered for answered in smoke(able) if answered.problem] == []
    suite = Suite.of(tmp_path, {"tiny/install/01": IS_INSTALLED})
    assert judge(suite, able) == 0, suite.report()
    assert [check.verdict for check in suite.report().checks] == [Verdict.PASS]
    judge(suite, adapter(tmp_path))
    (check,) = suite.report().checks
    assert check.verdict is Verdict.SKIP
    assert "the adapter does not say that it can install the program somewhere else" in check.reason


def test_what_an_adapter_does_wrong_is_an_error_of_the_suite(tmp_path: Path) -> None:
    suite = Suite.of(tmp_path, {"tiny/crash/01": CHECKS["tiny/crash/01"]})
    broken = adapter(tmp_path, "source = source.replace('\"crash\": ', '\"crush\": ')")
    assert judge(suite, broken) == 3
    (check,) = suite.report().checks
    assert check.verdict is Verdict.ERROR
    assert "the adapter refused crash" in check.reason


def test_every_request_and_answer_is_in_the_published_schema() -> None:
    schema = msgspec.json.decode(protocol.schema())
    commands = {
        definition["properties"]["command"]["enum"][0]
        for definition in schema["$defs"].values()
        if "command" in definition["properties"]
    }
    assert commands == {"hello", "start", "stop", "crash", "reload", "install", "status", "bye"}
    assert set(schema["answers"]) == {kind.__name__ for kind in protocol.ANSWERS}
