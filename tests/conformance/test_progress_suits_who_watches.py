"""Progress is drawn live in a terminal, and is a line for each check anywhere else."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.conformance.test_a_run_leaves_nothing_behind import LONG
from tests.conformance.tiny import DEADLINE_SECONDS, Suite, await_proxies

CHECKS = {"tiny/good/01": "pass", "tiny/bad/01": "assert False, 'it is [bold] wrong'"}
_HIDE, _SHOW = "\x1b[?25l", "\x1b[?25h"


def in_terminal(
    suite: Suite, *arguments: str, meanwhile: Callable[[int], None] = lambda pid: None, **environment: str
) -> tuple[int, str]:
    """Judge the tiny agent in a terminal of its own; exit code and everything that was printed."""
    ours, theirs = pty.openpty()
    usual: Mapping[str, str] = {name: value for name, value in os.environ.items() if name != "CI"}
    with subprocess.Popen(
        suite.judge(*arguments),
        cwd=suite.folder,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**usual, "TERM": "xterm", "COLUMNS": "100", "LINES": "30", **environment},
        start_new_session=True,
    ) as child:
        os.close(theirs)
        try:
            meanwhile(child.pid)
            printed = _read_all(ours)
            return child.wait(DEADLINE_SECONDS), printed
        finally:
            child.kill()
            os.close(ours)


def _read_all(terminal: int) -> str:
    printed, deadline = b"", time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        try:
            piece = os.read(terminal, 1 << 16)
        except OSError:  # the other side is closed
            return printed.decode()
        printed += piece
    raise AssertionError("the run does not end")


def plain(printed: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", printed)


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_terminal_is_drawn_in_place(tmp_path: Path, workers: str) -> None:
    code, printed = in_terminal(Suite.of(tmp_path, CHECKS), "-n", workers)
    assert code == 1
    assert printed.count(_HIDE) == printed.count(_SHOW) == 1
    text = plain(printed)
    assert "0 of 2" in text
    assert re.search(r"tiny \d/2", text)
    live, _, after = printed.rpartition(_SHOW)
    assert re.search(r"fail +tiny/bad/01 +check_1 ", plain(live))
    assert "AssertionError: it is [bold] wrong" in plain(live)
    assert "pass     tiny/good/01" not in text  # of what passes the numbers are enough
    assert "1 pass, 1 fail" in plain(after)


@pytest.mark.parametrize("environment", [{"TERM": "dumb"}, {"CI": "true"}])
def test_a_terminal_that_nobody_watches_gets_lines(tmp_path: Path, environment: dict[str, str]) -> None:
    code, printed = in_terminal(Suite.of(tmp_path, CHECKS), "-n", "0", **environment)
    assert code == 1
    assert _HIDE not in printed
    assert re.search(r"pass +tiny/good/01 +check_0 ", plain(printed))
    assert re.search(r"fail +tiny/bad/01 +check_1 ", plain(printed))


def test_a_file_gets_lines_without_colours(tmp_path: Path) -> None:
    finished = Suite.of(tmp_path, CHECKS).run("-n", "0")
    assert "\x1b" not in finished.stdout
    assert re.search(r"^pass +tiny/good/01 +check_0 [0-9.]+ s$", finished.stdout, re.MULTILINE)


def test_what_runs_is_shown_and_ctrl_c_leaves_the_terminal_in_order(tmp_path: Path) -> None:
    suite = Suite.of(tmp_path, {"tiny/long/01": LONG})

    def interrupt(pid: int) -> None:
        await_proxies(pid, 1)
        os.killpg(pid, signal.SIGINT)

    code, printed = in_terminal(suite, "-n", "2", meanwhile=interrupt)
    assert code == 130
    live, _, after = printed.rpartition(_SHOW)
    assert re.search(r"\d+ s +tiny/long/01 +check_0", plain(live))
    assert "interrupted" in plain(after)
    assert _HIDE not in after
