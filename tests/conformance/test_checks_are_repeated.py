"""``--repeat``: each time a check is run is reported by itself, and the worst one counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance.report.verdict import Verdict
from tests.conformance.tiny import Suite

#: Whoever comes first, in whatever worker, does something that the others do not.
_ONCE = """
try:
    (lab.workspace.parent / "first").touch(exist_ok=False)
except FileExistsError:
    pass
else:
    {}
"""
TIMES = 3


@pytest.mark.parametrize("workers", ["0", "2"])
def test_one_failure_of_three_fails(tmp_path: Path, workers: str) -> None:
    suite = Suite.of(
        tmp_path, {"tiny/flaky/01": _ONCE.format("assert False, 'this once'"), "tiny/good/01": "pass"}
    )
    finished = suite.run("--repeat", str(TIMES), "-n", workers)
    report = suite.report()
    assert finished.returncode == 1
    flaky = [check for check in report.checks if check.requirement == "tiny/flaky/01"]
    assert [check.repetition for check in flaky] == [1, 2, 3]
    assert sorted(check.verdict for check in flaky) == [Verdict.PASS, Verdict.PASS, Verdict.FAIL]
    assert len({check.history for check in flaky}) == TIMES
    assert report.verdicts["tiny/flaky/01"] is Verdict.FAIL
    assert report.counts == {**dict.fromkeys(report.counts, 0), "pass": 5, "fail": 1}
    assert "check_1 #3" in finished.stdout


def test_only_the_repetition_that_killed_its_worker_is_an_error(tmp_path: Path) -> None:
    suite = Suite.of(tmp_path, {"tiny/deadly/01": _ONCE.format("import os; os._exit(9)")})
    assert suite.run("--repeat", str(TIMES), "-n", "1").returncode == 3
    verdicts = [check.verdict for check in suite.report().checks]
    assert sorted(verdicts) == [Verdict.PASS, Verdict.PASS, Verdict.ERROR]
