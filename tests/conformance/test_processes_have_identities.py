"""A process is more than its pid: what has ended is not alive, and a successor of its pid is another."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from conformance.instruments import processes
from conformance.instruments.processes import Process, Stat
from tests.waiting import DEADLINE, eventually

ENVIRONMENT = {"PATH": os.environ["PATH"], "COLOUR": "blue=green"}


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    running = subprocess.Popen(
        ["sleep", "600"], env=ENVIRONMENT, cwd="/", stdin=subprocess.DEVNULL, start_new_session=True
    )
    try:
        # The kernel says that a program is being executed a moment before it shows what with.
        eventually(lambda: processes.raw_environment(running.pid), "the environment of a new process")
        yield running
    finally:
        running.kill()
        running.wait()


def test_a_process_is_described(child: subprocess.Popen[bytes]) -> None:
    process = Process.of(child.pid)
    assert process.alive()
    assert process.environment() == ENVIRONMENT
    assert process.argv() == ["sleep", "600"]
    assert str(process.directory()) == "/"
    assert process.executable().is_file()
    stat = process.stat()
    assert stat == Stat(state=stat.state, ppid=os.getpid(), pgid=child.pid, sid=child.pid, uid=os.geteuid())


def closed(times: int) -> Callable[[Process, str], list[str]]:
    """Reading that is forbidden so many times, as it is while a process becomes another program."""
    left = iter(range(times))
    read = Process._zero_separated

    def reading(process: Process, name: str) -> list[str]:
        if next(left, None) is not None:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return read(process, name)

    return reading


def test_who_becomes_another_program_is_asked_again(
    child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Process, "_zero_separated", closed(3))
    assert Process.of(child.pid).environment() == ENVIRONMENT


def test_what_stays_closed_is_said_to_be(
    child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Process, "_zero_separated", closed(sys.maxsize))
    monkeypatch.setattr(processes, "_EXECUTING_SECONDS", 0.01)
    with pytest.raises(PermissionError):
        Process.of(child.pid).environment()


def test_a_process_lives_as_long_as_its_last_thread() -> None:
    """The kernel calls the process a zombie when its first thread is gone; the others may still hold its ports."""
    program = (
        "import ctypes, sys, threading\n"
        "threading.Thread(target=sys.stdin.read).start()\n"
        "ctypes.CDLL(None).pthread_exit(None)"
    )
    running = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE)
    assert running.stdin is not None
    try:
        process = Process.of(running.pid)
        deadline = time.monotonic() + 30
        while process.stat().state != "Z":
            assert time.monotonic() < deadline, "the first thread goes on"
        assert process.alive()
    finally:
        running.kill()
        running.communicate()
    assert not process.alive()


def test_a_zombie_is_not_alive(child: subprocess.Popen[bytes]) -> None:
    process = Process.of(child.pid)
    process.signal(signal.SIGKILL)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and nobody has collected it
    assert process.stat().state == "Z"
    assert not process.alive()
    for question in (process.environment, process.argv, process.directory, process.executable):
        with pytest.raises(ProcessLookupError):
            question()


def test_another_process_with_the_same_pid_is_a_stranger(child: subprocess.Popen[bytes]) -> None:
    now = Process.of(child.pid)
    before = Process(child.pid, now.started - 1)
    assert before != now
    assert not before.alive()
    for question in (before.environment, before.argv, before.stat, before.directory):
        with pytest.raises(ProcessLookupError):
            question()
    with pytest.raises(ProcessLookupError):
        before.signal(signal.SIGKILL)
    assert now.alive()


def test_processes_are_found_by_what_they_carry(child: subprocess.Popen[bytes]) -> None:
    process = Process.of(child.pid)
    assert process in processes.carrying("COLOUR", "blue=green")
    assert process not in processes.carrying("COLOUR", "blue")
    assert process in processes.descendants(os.getpid())


def test_a_name_with_brackets_confuses_nobody() -> None:
    source = "import ctypes; ctypes.CDLL(None).prctl(15, b') Z 1 (', 0, 0, 0); print(1, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", source], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as odd:
        assert odd.stdout is not None
        odd.stdout.readline()
        assert Process.of(odd.pid).alive()
        assert Process.of(odd.pid).stat().ppid == os.getpid()
        odd.kill()


def test_listening_ports_are_told_from_other_sockets() -> None:
    own = Process.of(os.getpid())
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as client:
        port = server.getsockname()[1]
        client.connect(("127.0.0.1", port))
        listening = own.listening_ports()
        assert port in listening
        assert client.getsockname()[1] not in listening
    assert port not in own.listening_ports()


def test_orphans_are_reaped_at_once() -> None:
    """In a process of its own, for it changes whose child an orphan becomes."""
    source = """
import os, subprocess, time
from conformance.instruments import processes
from conformance.instruments.processes import Process
from conformance.instruments.reaper import Reaper
processes.adopt_orphans()
parent = subprocess.Popen(["sh", "-c", "sleep 600 & echo $!; wait"], stdout=subprocess.PIPE)
orphan = Process.of(int(parent.stdout.readline()))
reaper = Reaper()
reaper.watch(orphan)
parent.kill()
assert parent.wait() == -9  # the exit code of our own child is ours
deadline = time.monotonic() + 30
while orphan.stat().ppid != os.getpid() and time.monotonic() < deadline:
    time.sleep(0.01)
orphan.signal(9)
while os.path.exists(f"/proc/{orphan.pid}") and time.monotonic() < deadline:
    time.sleep(0.01)
print("gone" if time.monotonic() < deadline else "a zombie")
reaper.close()
"""
    finished = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, timeout=DEADLINE, check=False
    )
    assert (finished.stdout, finished.stderr) == ("gone\n", "")
