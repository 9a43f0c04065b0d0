"""The custom proxy and the application that checks bring along."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from conformance.instruments.echo import EchoServer
from conformance.instruments.probe_proxy import ProbeProxy

DEADLINE_SECONDS = 60.0


def eventually(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def start(probe: ProbeProxy, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        probe.command, env=environment, cwd="/", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_a_start_is_told(tmp_path: Path) -> None:
    probe = ProbeProxy(tmp_path, exit_after=0, exit_code=3, say="out", complain="err")
    assert probe.starts() == []
    began = time.monotonic()
    with start(probe, CONNECT_PROXY_ID="web-proxy", COLOUR="blue") as child:
        out, err = child.communicate(timeout=DEADLINE_SECONDS)
    (told,) = probe.starts()
    assert (child.returncode, out, err) == (3, "out", "err")
    assert (told.pid, told.directory, told.child) == (child.pid, "/", None)
    assert told.argv == probe.command[3:]
    assert {"CONNECT_PROXY_ID": "web-proxy", "COLOUR": "blue"}.items() <= told.environment.items()
    assert began <= told.time <= time.monotonic()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_told_and_obeyed(tmp_path: Path, number: signal.Signals) -> None:
    probe = ProbeProxy(tmp_path)
    with start(probe) as child:
        eventually(probe.starts)
        child.send_signal(number)
        assert child.wait(DEADLINE_SECONDS) == 0
        assert probe.signals() == [(child.pid, number.name)]


def test_sigint_can_be_ignored(tmp_path: Path) -> None:
    probe = ProbeProxy(tmp_path, ignore_sigint=True)
    with start(probe) as child:
        eventually(probe.starts)
        child.send_signal(signal.SIGINT)
        eventually(probe.signals)
        child.send_signal(signal.SIGTERM)
        assert child.wait(DEADLINE_SECONDS) == 0
        assert [name for _, name in probe.signals()] == ["SIGINT", "SIGTERM"]


def test_a_child_is_told(tmp_path: Path) -> None:
    probe = ProbeProxy(tmp_path, spawn_child=True)
    with start(probe) as child:
        eventually(probe.starts)
        (told,) = probe.starts()
        assert told.child is not None
        os.kill(told.child, signal.SIGKILL)
        child.kill()


def test_an_application_echoes_counts_and_passes_on_the_end() -> None:
    with EchoServer() as echo:
        payload = os.urandom(1 << 20)
        with socket.create_connection(("127.0.0.1", echo.port), timeout=DEADLINE_SECONDS) as connection:
            received = bytearray()
            for start in range(0, len(payload), 1 << 16):
                connection.sendall(payload[start : start + (1 << 16)])
                received += connection.recv(1 << 16)
            assert echo.open == 1
            connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(1 << 16):
                received += piece
        assert bytes(received) == payload
        assert (echo.connections, echo.received) == (1, len(payload))
        eventually(lambda: echo.open == 0)
