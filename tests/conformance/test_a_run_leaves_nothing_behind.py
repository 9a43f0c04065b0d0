"""However a run ends, its processes, ports and folders go with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from conformance.instruments import ports
from conformance.instruments.processes import Process
from conformance.report.verdict import Verdict
from tests.conformance.tiny import Suite, await_end, await_proxies

LONG = """
agent = lab.agent(definitions=[lab.service("web", proxy={})])
agent.proxy("web-proxy")
lab.holds("check", lambda: True, what="time passes")
"""
SURVIVOR = """
agent = lab.agent(definitions=[lab.service("web", proxy={})])
agent.proxy("web-proxy")
agent.crash()
"""
TWO = {"tiny/long/01": LONG, "tiny/long/02": LONG}


def run_folder(those: list[Process]) -> Path:
    """The folder of the run: two above that of an agent, which is its working directory."""
    for process in those:
        with suppress(ProcessLookupError):
            if "PROXYPROOF_LAB" in process.environment():
                return process.directory().parent.parent
    raise AssertionError("no process of a lab was found")


def test_orphans_are_ended(tmp_path: Path) -> None:
    suite = Suite.of(
        tmp_path, {"tiny/survivor/01": SURVIVOR + 'lab.holds("quiet", lambda: True, what="it lives")'}
    )
    with suite.running() as child:
        those = await_proxies(child.pid, 1)
        folder = run_folder(those)
        assert child.wait(60) == 0
    assert await_end(those) == []
    assert not folder.exists()


@pytest.mark.parametrize(
    ("workers", "to_group", "number"),
    [
        ("0", False, signal.SIGINT),
        ("2", False, signal.SIGINT),
        ("2", True, signal.SIGINT),
        ("2", False, signal.SIGTERM),
    ],
    ids=["alone", "workers", "Ctrl-C", "SIGTERM"],
)
def test_an_interrupted_run_is_cleared_away(
    tmp_path: Path, workers: str, to_group: bool, number: int
) -> None:
    suite = Suite.of(tmp_path, TWO)
    with suite.running("-n", workers) as child:
        those = await_proxies(child.pid, 1 if workers == "0" else 2)
        folder = run_folder(those)
        if to_group:
            os.killpg(child.pid, number)
        else:
            os.kill(child.pid, number)
        assert child.wait(60) == 130
    assert await_end(those) == []
    assert not folder.exists()
    report = suite.report()
    assert report.interrupted
    assert set(report.verdicts.values()) == {Verdict.UNKNOWN}
    assert "interrupted" in (suite.folder / "output.txt").read_text()


def test_a_worker_that_is_killed_breaks_the_run_and_leaves_nothing(tmp_path: Path) -> None:
    suite = Suite.of(tmp_path, {"tiny/long/01": LONG})
    with suite.running("-n", "1") as child:
        those = await_proxies(child.pid, 1)
        folder = run_folder(those)
        worker = next(process for process in those if process.stat().ppid == child.pid)
        worker.signal(signal.SIGKILL)
        assert child.wait(60) == 3
    assert await_end(those) == []
    assert not folder.exists()
    assert suite.report().checks[0].verdict is Verdict.ERROR


def test_a_check_that_hangs_is_an_error(tmp_path: Path) -> None:
    suite = Suite.of(tmp_path, {"tiny/hang/01": "time.sleep(600)"})
    began = time.monotonic()
    assert suite.run("--time-scale", "0.01").returncode == 3
    assert time.monotonic() - began < 60
    assert "did not end within 1.8 s" in suite.report().checks[0].reason


def test_a_port_that_stays_taken_is_an_error(tmp_path: Path) -> None:
    keeps = """
    import socket, lasting
    lasting.kept = socket.create_server(("127.0.0.1", lab.port()))
    """
    suite = Suite.of(tmp_path, {"tiny/port/01": keeps})
    (tmp_path / "lasting.py").write_text("kept = None\n")
    assert suite.run("--time-scale", "0.1").returncode == 3
    assert "still taken" in suite.report().checks[0].reason


def test_blocks_of_ports_are_not_shared() -> None:
    first, second = ports.PortAllocator(), ports.PortAllocator()
    try:
        given = [*first.ports(16), *first.ports(64), *second.ports(16), first.port(), second.port()]
        assert len(set(given)) == len(given)
        assert all(map(ports.is_free, given))
    finally:
        first.close()
        second.close()


def test_a_lock_is_held_by_one_at_a_time() -> None:
    with (
        ports.exclusive("test/lock", timeout=60),
        pytest.raises(ports.Held, match="test/lock"),
        ports.exclusive("test/lock", timeout=0.1),
    ):
        pass
    with ports.exclusive("test/lock", timeout=60):
        pass


def test_a_lock_is_freed_by_the_death_of_its_holder() -> None:
    source = (
        "import time\nfrom conformance.instruments.ports import exclusive\n"
        "with exclusive('test/dying', timeout=60):\n    print('held', flush=True)\n    time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(ports.Held), ports.exclusive("test/dying", timeout=0.1):
            pass
        holder.kill()
    with ports.exclusive("test/dying", timeout=60):
        pass
