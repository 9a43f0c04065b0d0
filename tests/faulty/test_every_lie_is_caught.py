"""The suite can fail: each faulty agent is caught by the checks of the requirements it breaks, and by no others."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
FAULTS = sorted(path.stem for path in HERE.glob("*.py") if not path.stem.startswith(("_", "test_")))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", FAULTS)
def test_the_lie_fails_what_it_breaks_and_nothing_else(name: str, tmp_path: Path) -> None:
    fault = importlib.import_module(f"tests.faulty.{name}")
    finished = subprocess.run(
        [
            *(sys.executable, "-m", "proxyproof", "run", "--target", "process"),
            *("--command", f"{sys.executable} {HERE} {name} agent", "--report", str(tmp_path)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    report = json.loads((tmp_path / "report.json").read_text())
    assert not report["broken"], report["broken"]
    verdicts = {(check["requirement"], check["verdict"]) for check in report["checks"]}
    failed = {requirement for requirement, verdict in verdicts if verdict == "fail"}
    others = {verdict for _, verdict in verdicts} - {"pass", "fail", "skip"}
    assert (failed, others) == (set(fault.BREAKS), set()), f"{fault.__doc__}\n{finished.stdout[-6000:]}"
    assert finished.returncode == 1


def test_every_faulty_agent_says_how_it_lies_and_what_it_breaks() -> None:
    assert len(FAULTS) >= 5
    for name in FAULTS:
        fault = importlib.import_module(f"tests.faulty.{name}")
        assert fault.__doc__
        assert fault.__doc__.count("\n") == 0, f"{name}: one sentence"
        assert fault.BREAKS
