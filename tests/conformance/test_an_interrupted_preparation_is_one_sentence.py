"""Ctrl-C before the first check, while it is found out what is to be judged: one sentence, and nothing is left."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from conformance.instruments import processes
from conformance.instruments.processes import Process
from tests.conformance.tiny import await_end
from tests.waiting import eventually

_MAIN = """
import signal, sys
from proxyproof.__main__ import main
signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever started the tests may have ignored it
sys.exit(main())
"""
_PATIENT = ["sleep", "98765"]


@contextmanager
def preparing(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A run in a process group of its own, like one of a terminal."""
    with subprocess.Popen(
        [sys.executable, "-c", _MAIN, "run", "query", "--report", str(folder / "report"), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as run:
        try:
            yield run
        finally:
            run.kill()


def patient(run: int) -> list[Process]:
    found = []
    for child in processes.descendants(run):
        with suppress(ProcessLookupError):
            if child.argv() == _PATIENT:
                found.append(child)
    return found


def interrupt(run: subprocess.Popen[str]) -> None:
    os.killpg(run.pid, signal.SIGINT)
    said = run.communicate()
    assert said == ("", "proxyproof: interrupted\n")
    assert run.returncode == 130


@pytest.mark.parametrize(
    ("kind", "option"), [("consul", "--binary"), ("exec", "--adapter"), ("process", "--command")]
)
def test_a_program_that_takes_its_time(tmp_path: Path, kind: str, option: str) -> None:
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\nexec {' '.join(_PATIENT)}\n")
    program.chmod(0o755)

    with preparing(tmp_path, "--target", kind, option, str(program)) as run:
        begun = eventually(lambda: patient(run.pid), "the program was started")
        interrupt(run)
    assert await_end(begun) == []


def test_an_engine_that_takes_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    with socket.socket(socket.AF_UNIX) as engine, ExitStack() as connections:
        engine.bind(f"{tmp_path}/docker.sock")
        engine.listen()
        with preparing(tmp_path, "--target", "container", "--image", "any") as run:
            for _ in range(2):  # whether it is there at all, and which version it speaks
                connections.enter_context(engine.accept()[0])
            interrupt(run)
