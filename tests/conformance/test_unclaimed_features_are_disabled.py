"""A target is judged by what it claims; the rest is listed, not run, and keeps the profile from success."""

from __future__ import annotations

from pathlib import Path

from conformance.plugin import discovery
from conformance.report.model import CheckResult, decode
from conformance.report.progress import Watcher
from conformance.report.verdict import ProfileResult, Verdict
from conformance.requirements import load
from conformance.runner import RunPlan, run
from conformance.targets import CommandLineTarget, TargetChoice
from conformance.targets.privileges import determine
from tests.conformance.tiny import Suite


class Recorder(Watcher):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def begun(self, requirement: str, title: str) -> None:
        self.heard.append(f"begun {requirement}")

    def over(self, result: CheckResult) -> None:
        self.heard.append(f"over {result.requirement}")


def test_unclaimed_checks_are_not_run(tmp_path: Path) -> None:
    suite = Suite.of(tmp_path, {"tiny/good/01": "raise RuntimeError('it was run')"})
    watcher = Recorder()
    plan = RunPlan(
        choice=TargetChoice(),
        target=CommandLineTarget(name="modest", prefix=("true",), probe=("true",), features=frozenset()),
        privileges=determine(None, ("true",)),
        register=load(suite.folder / "requirements"),
        selected=frozenset({"tiny/good/01"}),
        selection=(),
        checks=discovery.discover(suite.folder / "checks"),
        folder=tmp_path / "report",
        workers=0,
        time_scale=1.0,
    )
    report = run(plan, watcher)
    (result,) = report.checks
    assert (result.verdict, result.reason) == (Verdict.DISABLED, "the target does not claim core")
    assert report.profiles["core"] is ProfileResult.UNCLAIMED
    assert report.exit_code == 0
    assert watcher.heard == []
    assert decode((tmp_path / "report" / "report.json").read_text()) == report
