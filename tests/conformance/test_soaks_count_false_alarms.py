"""The soak: every kind of run is made, what it finds is counted and kept, and what was good is not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from conformance import soak
from conformance.cli.main import parser
from conformance.report.model import CheckResult, Report, RequirementEntry, TargetEntry, decode, encode
from conformance.report.verdict import Verdict
from conformance.requirements import Feature, Level
from tests.conformance.tiny import Suite, await_end, await_proxies
from tests.waiting import DEADLINE

#: Stands in for the suite: hands out a report that was made before, a bad one in the runs that are named. Where there
#: should be other load, it waits until there is.
_SUITE = """
import pathlib, shutil, sys, time
folder, wrong, arguments = pathlib.Path(sys.argv[1]), sys.argv[2].split(), sys.argv[3:]
with open(folder / "asked", "a+") as asked:
    print(*arguments, file=asked)
    asked.seek(0)
    number = str(len(asked.readlines()))
report = pathlib.Path(arguments[arguments.index("--report") + 1])
while "loaded" in report.name and not (folder / "load").exists():
    time.sleep(0.01)
shutil.copy(folder / ("bad.json" if number in wrong else "good.json"), report / "report.json")
print("this is run", number)
sys.exit(number in wrong)
"""
#: Says that it is there, and stays until it is ended.
_LOAD = """
import os, pathlib, sys, time
new = pathlib.Path(sys.argv[1] + ".new")
new.write_text(str(os.getpid()))
new.rename(sys.argv[1])
time.sleep(float(sys.argv[2]))
"""


def report(verdict: Verdict, reason: str = "") -> Report:
    text = {"text": "It does.", "source": "hardening"}
    return Report(
        suite="0.1.0",
        started="2026-01-01T00:00:00+00:00",
        seconds=1.0,
        interrupted=False,
        broken=(),
        time_scale=1.0,
        selection=(),
        target=TargetEntry(name="tiny", command=("tiny",), features=(), unprivileged="", root=""),
        requirements=(
            RequirementEntry(id="tiny/wolf/01", level=Level.MUST, feature=Feature.CORE, **text),
            RequirementEntry(id="tiny/good/01", level=Level.MUST, feature=Feature.CORE, **text),
        ),
        checks=(
            CheckResult(requirement="tiny/wolf/01", name="check_0", verdict=verdict, reason=reason),
            CheckResult(requirement="tiny/good/01", name="check_1", verdict=Verdict.PASS),
        ),
    )


def soaked(folder: Path, *arguments: str, wrong: str = "") -> int:
    (folder / "good.json").write_text(encode(report(Verdict.PASS)))
    (folder / "bad.json").write_text(encode(report(Verdict.FAIL, "wolf!")))
    command = [sys.executable, "-c", _SUITE, str(folder), wrong]
    return soak.main([*arguments, "--report", str(folder / "soak")], command=command)


def kept(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "soak").iterdir())


def test_every_round_has_every_kind() -> None:
    runs = soak.plan(5)
    assert Counter(run.kind for run in runs) == {"plain": 5, "loaded": 5, "random": 5, "four-workers": 5}
    assert {run.kind for run in runs[:4]} == {run.kind for run in runs}
    assert {run.options for run in runs if run.kind == "random"} == {
        ("--random-order", str(seed)) for seed in range(1, 6)
    }
    assert {run.loaded for run in runs if run.kind == "loaded"} == {True}
    assert len({run.name for run in runs}) == 20
    assert not any(run.loaded for run in soak.plan(1, loaded=False))


def test_not_one_failure_is_a_success_and_leaves_nothing_to_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    load = tmp_path / "load"
    monkeypatch.setattr(soak, "LOAD", (sys.executable, "-c", _LOAD, str(load)))
    assert soaked(tmp_path, "--rounds", "1") == soak.OK
    assert "4 of 4 runs without a false alarm" in capsys.readouterr().out
    assert kept(tmp_path) == []
    with pytest.raises(ProcessLookupError):
        os.kill(int(load.read_text()), 0)


def test_a_false_alarm_is_told_counted_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert soaked(tmp_path, "--rounds", "2", "--without-load", wrong="2 4 6") == soak.WOLF
    said = capsys.readouterr().out
    assert "tiny/wolf/01 3 times (02-random, 04-plain, 06-four-workers)" in said
    assert said.count("    wolf!") == 1
    assert "3 of 6 runs without a false alarm" in said
    assert kept(tmp_path) == ["02-random", "04-plain", "06-four-workers"]
    assert decode((tmp_path / "soak" / "04-plain" / "report.json").read_text()).counts["fail"] == 1
    assert (tmp_path / "soak" / "04-plain" / "output.txt").read_text() == "this is run 4\n"


def test_every_run_is_one_that_the_suite_can_make(tmp_path: Path) -> None:
    assert soaked(tmp_path, "--rounds", "1", "--without-load", "lifecycle", "logs") == soak.OK
    asked = (tmp_path / "asked").read_text().splitlines()
    assert [line.partition(" --report ")[0] for line in asked] == [
        "lifecycle logs",
        "lifecycle logs --random-order 1",
        "lifecycle logs -n 4",
    ]
    for line in asked:
        options = parser().parse_args(["run", *line.split()])
        assert options.ids == ["lifecycle", "logs"]


@pytest.mark.parametrize("script", ["raise SystemExit(0)", "raise SystemExit(1)"])
def test_a_run_without_a_report_is_no_good_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], script: str
) -> None:
    command = [sys.executable, "-c", script]
    arguments = ["--rounds", "1", "--without-load", "--report", str(tmp_path / "soak")]
    assert soak.main(arguments, command=command) == soak.WOLF
    assert "it left no report to believe" in capsys.readouterr().out


def test_a_run_that_hangs_is_ended_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soak, "LONGEST_RUN", 0.1)
    outcome = soak.judged(
        soak.plan(1)[0], [sys.executable, "-c", "import time; time.sleep(600)"], tmp_path / "r"
    )
    assert (outcome.code, outcome.good) == (None, False)
    assert outcome.trouble == "it did not end within 0.1 s"


def test_load_that_ends_too_early_is_noticed() -> None:
    with soak.beside(["false"]) as lost:
        deadline = time.monotonic() + 60
        while not lost():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert lost() == "false beside it ended with code 1 before it did"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--rounds", "0"], "--rounds 0: at least one is needed"),
        (["--without-load", "--report", "/proc/nowhere"], "--report /proc/nowhere: "),
        ([], "no-such-load IS MISSING"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], complaint: str
) -> None:
    monkeypatch.setattr(soak, "LOAD", ("no-such-load",))
    assert soak.main(arguments, command=["false"]) == soak.USAGE
    assert complaint in capsys.readouterr().err


def test_an_interrupted_soak_shows_what_was_done_and_leaves_nobody_behind(tmp_path: Path) -> None:
    starts = 'lab.agent(definitions=[lab.service("web", proxy={})]).proxy("web-proxy")'
    suite = Suite.of(tmp_path, {"tiny/long/01": f"{starts}\ntime.sleep(600)"})
    program = "import sys; from conformance.soak import main; main(sys.argv[1:1], command=sys.argv[1:])"
    child = subprocess.Popen(
        [sys.executable, "-c", program, *suite.judge()],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        started = await_proxies(child.pid, 1)
        child.send_signal(signal.SIGTERM)
        said, _ = child.communicate(timeout=DEADLINE)
    finally:
        child.kill()
        child.communicate()
    assert "0 of 20 runs without a false alarm\ninterrupted\n" in said
    assert await_end(started) == []
