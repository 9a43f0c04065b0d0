"""The command measures each row with a tiny load, and ends what it started."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from conformance.bench.rows import ROWS
from conformance.instruments import processes

TINY = ("--seconds", "0.05", "--rounds", "1", "--idle", "12", "--churn", "12")


#: Marks all processes that a test starts, and those of no other test.
MARK = "PROXYPROOF_TEST_OF_BENCH"


def bench(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "proxyproof", "bench", "--report", str(folder), *TINY, *arguments]
    environment = {**os.environ, MARK: str(folder)}
    return subprocess.run(command, capture_output=True, text=True, timeout=280, check=False, env=environment)


def figures(folder: Path) -> dict[str, Any]:
    told = json.loads((folder / "bench.json").read_text())
    return {figure["name"]: figure["peers"] for figure in told["figures"]}


def test_every_row(tmp_path: Path) -> None:
    ran = bench(tmp_path, "--peers", "proxyproof")
    assert ran.returncode == 0, ran.stderr
    found = figures(tmp_path)
    assert set(found) == {figure.name for row in ROWS.values() for figure in row.figures}
    for name, peers in found.items():
        ours = peers["proxyproof"]["values"]
        assert len(ours) == 1
        if not name.endswith(("cpu", "memory", "growth")):
            assert all(value > 0 for value in ours), name
    assert "<svg" in (tmp_path / "bench.svg").read_text()
    assert not processes.carrying(MARK, str(tmp_path))


def test_rounds_alternate(tmp_path: Path) -> None:
    ran = bench(tmp_path, "--only", "connections-1", "--peers", "direct,proxyproof", "--rounds", "2")
    assert ran.returncode == 0, ran.stderr
    order = [line.split()[2].rstrip(":") for line in ran.stderr.splitlines()]
    assert order == ["direct", "proxyproof", "proxyproof", "direct"]
    assert len(figures(tmp_path)["connections-1"]["direct"]["values"]) == 2
    about = json.loads((tmp_path / "bench.json").read_text())["about"]
    said = "kernel TLS is available, and not used" if about["kernel_tls"] else "kernel TLS is not available"
    assert said in ran.stdout
    assert "proxyproof to" in ran.stdout


@pytest.mark.parametrize("peer", ["haproxy", "nginx", "stunnel"])
def test_a_peer(tmp_path: Path, peer: str) -> None:
    ran = bench(tmp_path, "--only", "up-1,connections-1", "--peers", peer)
    if f"--peers {peer}: it is not on this machine" in ran.stderr:
        pytest.skip(f"{peer} is not on this machine")
    assert ran.returncode == 0, ran.stderr
    assert all(value > 0 for value in figures(tmp_path)["up-1"][peer]["values"])


def test_a_proxy_that_does_not_work_is_named(tmp_path: Path) -> None:
    ran = bench(tmp_path, "--only", "up-1", "--peers", "original", "--binary", "/bin/false")
    assert ran.returncode == 1
    assert "the agent of original has ended" in ran.stderr
    assert "Traceback" not in ran.stderr
