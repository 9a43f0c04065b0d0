"""Lines of the agent's log."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator

import pytest

from reference.agent import log
from reference.config.model import LogLevel


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, raising = root.handlers[:], root.level, logging.raiseExceptions
    quiet = {name: logging.getLogger(name).level for name in ("uvicorn", "asyncio")}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.raiseExceptions = raising
    for name, before in quiet.items():
        logging.getLogger(name).setLevel(before)


def test_a_line_has_the_originals_shape(capsys: pytest.CaptureFixture[str]) -> None:
    log.set_up(LogLevel.INFO)
    logging.getLogger("agent/proxy").warning("running as %s", "root")
    line = capsys.readouterr().out
    assert re.fullmatch(r"    \d{4}/\d\d/\d\d \d\d:\d\d:\d\d \[WARN\] agent/proxy: running as root\n", line)


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        (LogLevel.TRACE, ["TRACE", "DEBUG", "INFO", "WARN", "ERR"]),
        (LogLevel.INFO, ["INFO", "WARN", "ERR"]),
        (LogLevel.ERR, ["ERR"]),
    ],
)
def test_lesser_lines_are_left_out(
    capsys: pytest.CaptureFixture[str], level: LogLevel, shown: list[str]
) -> None:
    log.set_up(level)
    for number in (log.TRACE, logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
        logging.getLogger("agent").log(number, "text")
    assert re.findall(r"\[(\w+)\]", capsys.readouterr().out) == shown


def test_nobody_forges_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    log.set_up(LogLevel.INFO)
    logging.getLogger("http").info("Request %s", "GET /x\r\n    2026/11/23 01:02:03 [INFO] agent: forged")
    assert capsys.readouterr().out.count("\n") == 1


def test_an_error_is_one_line_with_its_origin(capsys: pytest.CaptureFixture[str]) -> None:
    log.set_up(LogLevel.DEBUG)
    try:
        1 // 0  # noqa: B018
    except ZeroDivisionError:
        logging.getLogger("http").debug("where it failed", exc_info=True)
    line = capsys.readouterr().out
    assert line.count("\n") == 1
    assert "ZeroDivisionError" in line
