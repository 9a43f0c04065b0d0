"""A container target is refused in one sentence where it cannot be used; these ask an engine that is not there."""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path

import pytest

from conformance.cli import main
from conformance.containers import machine
from conformance.instruments import processes
from conformance.instruments.processes import Process


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["--target", "container"],
            "--target container needs --image, such as --image proxyproof/agent:py3.13",
        ),
        (
            ["--target", "container", "--image", "a", "--binary", "b"],
            "--binary does not belong to --target container, which takes --image and --next-image and --command",
        ),
        (["--image", "a"], "--image does not belong to --target reference, which takes no such option"),
        (
            ["--target", "container", "--image", "a"],
            "no container engine answers at unix:///nowhere.sock (No such file or directory); "
            "start Docker, or set DOCKER_HOST",
        ),
        (
            ["--profile", "core", "operations"],
            "no check proves operations of the profile core yet; nothing was run",
        ),
    ],
)
def test_one_sentence(
    arguments: list[str],
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere.sock")
    assert main(["run", *arguments, "--report", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"proxyproof: {told}\n"


def test_pids_mean_those_of_the_process_table_that_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "stat").write_text(f"7 (sleep) S 1 7 7 {' '.join(['0'] * 15)} 4242 0")
    (tmp_path / "7" / "environ").write_bytes(b"A=1\0B=2\0")
    processes.look_at(str(tmp_path))
    try:
        assert not processes.own_orphans()
        assert processes.carrying("B", "2") == [Process(7, 4242)]
        assert not Process(os.getpid(), 4242).alive()
    finally:
        processes.look_at()
    assert processes.own_orphans()
    assert Process.of(os.getpid()).alive()


def test_the_first_line_of_an_execution_comes_in_whatever_pieces() -> None:
    pieces = b"".join(struct.pack(">BxxxL", 1, len(piece)) + piece for piece in (b"4", b"2\nmore"))

    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(pieces)
        assert machine.first_line(ours) == "42"
        theirs.shutdown(socket.SHUT_WR)
        assert machine.first_line(ours) == ""
