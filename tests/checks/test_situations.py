"""The words that checks share do what their names say, against an application without any proxy between."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from conformance.checks._situations import (
    accepted,
    connects,
    content,
    converse,
    end,
    exchange,
    only,
    payload,
    refused,
    variable,
)
from conformance.instruments.api import Headers, Response
from conformance.instruments.echo import EchoServer
from conformance.instruments.processes import Process


def answer(status: int) -> Response:
    return Response(status=status, headers=Headers({}), text="")


def test_exchange_returns_every_byte_of_a_long_message() -> None:
    data = payload(300_001)
    with EchoServer() as application:
        assert exchange(application.port, data) == data
        assert application.received == len(data)


def test_exchange_with_nobody_is_empty() -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    assert exchange(port, b"hello") == b""
    assert not connects(port)


def test_converse_returns_what_came_until_the_end() -> None:
    here, there = socket.socketpair()
    with here, there:
        there.sendall(b"hal")
        there.shutdown(socket.SHUT_WR)
        assert converse(here, b"hallo") == b"hal"


def test_payload_is_the_same_in_every_run_and_has_no_period() -> None:
    data = payload(4096)
    assert data == payload(8192)[:4096]
    assert len({data[start : start + 16] for start in range(0, 4096, 16)}) == 256


@pytest.mark.parametrize(
    ("status", "expected"), [(200, False), (400, True), (403, True), (500, True), (302, False)]
)
def test_refusals_are_statuses_of_either_error_class(status: int, expected: bool) -> None:
    assert refused(answer(status)) is expected


def test_accepted_fails_for_anything_but_success() -> None:
    assert accepted(answer(200)).status == 200
    with pytest.raises(AssertionError, match="got 500"):
        accepted(answer(500))


def test_only_demands_exactly_one() -> None:
    assert only([7]) == 7
    for items in ([], [1, 2]):
        with pytest.raises(AssertionError):
            only(items)


def test_missing_file_has_no_content(tmp_path: Path) -> None:
    assert content(tmp_path / "missing") == b""
    (tmp_path / "there").write_bytes(b"\xff")
    assert content(tmp_path / "there") == b"\xff"


def test_variable_of_a_process_must_be_there() -> None:
    command = [sys.executable, "-c", "import sys; print('up', flush=True); sys.stdin.read()"]
    with subprocess.Popen(
        command, env={"COLOUR": "green"}, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as running:
        assert running.stdout is not None
        running.stdout.readline()
        process = Process.of(running.pid)
        assert variable(process, "COLOUR") == "green"
        with pytest.raises(AssertionError, match="lacks SIZE"):
            variable(process, "SIZE")
        end(process)
        running.communicate()
    end(process)  # gone: nothing happens
    assert running.returncode == -9
