"""No container and no network stays behind, however a run ends; what a killed run left goes with the next one."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
import pytest

from conformance.instruments import processes
from tests.containers.judging import at_work, command, judge, runs_of, until

pytestmark = [pytest.mark.timeout(600), pytest.mark.usefixtures("images")]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where runs have their folders: nobody else's."""
    # Agents of other users must be able to pass through to it.
    for path in (tmp_path, *tmp_path.parents):
        if path.stat().st_uid == os.geteuid() and path.stat().st_mode & 0o777 == 0o700:
            path.chmod(0o711)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


@contextmanager
def running(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A run in a process group of its own, like one of a terminal."""
    # Whoever runs the tests in the background has taught them to ignore Ctrl-C: not so a run in a terminal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        child = subprocess.Popen(command(folder / "report", *arguments), start_new_session=True)
    finally:
        signal.signal(signal.SIGINT, before)
    with child:
        try:
            yield child
        finally:
            child.kill()


def test_ctrl_c_clears_away(client: docker.DockerClient, folder: Path) -> None:
    with running(folder, "lifecycle", "-n", "2") as run:
        until(lambda: at_work(client, folder))
        os.killpg(run.pid, signal.SIGINT)
        assert run.wait() == 130
    assert runs_of(client, folder) == []


def test_a_killed_worker_leaves_nothing(client: docker.DockerClient, folder: Path) -> None:
    with running(folder, "lifecycle/machine/02", "-n", "1") as run:
        until(lambda: at_work(client, folder))
        (worker,) = (child for child in processes.descendants(run.pid) if child.stat().ppid == run.pid)
        worker.signal(signal.SIGKILL)
        assert run.wait() == 3
    assert runs_of(client, folder) == []


def test_what_a_killed_run_left_goes_with_the_next_one(client: docker.DockerClient, folder: Path) -> None:
    with running(folder, "lifecycle/machine/02", "-n", "0") as run:
        (left,) = until(lambda: at_work(client, folder))
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
    assert runs_of(client, folder) == [left]
    code, _ = judge(folder / "report", "lifecycle/start/01", "-n", "0")
    assert code == 0
    assert runs_of(client, folder) == []
