"""The agent of this distribution keeps the core profile, and that of containers, when each check has a container."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.containers.judging import judge


@pytest.mark.timeout(1200)
@pytest.mark.usefixtures("images")
def test_the_profiles_of_containers_pass(tmp_path: Path) -> None:
    arguments = ("--profile", "core", "--profile", "containers", "--one-file", "-n", "8")
    code, report = judge(tmp_path, *arguments)
    assert code == 0
    assert len(report.checks) > 100
    assert {check.verdict.word for check in report.checks} == {"pass"}


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("images")
def test_what_happens_to_machines_happens_to_containers(tmp_path: Path) -> None:
    code, report = judge(tmp_path, "lifecycle/machine", "lifecycle/adopt/08", "lifecycle/adopt/10", "-n", "2")
    assert code == 0
    assert {check.verdict.word for check in report.checks} == {"pass"}
