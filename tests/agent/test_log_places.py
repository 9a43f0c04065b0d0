"""Where the log goes besides standard output: files that begin anew, and those who follow it."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from reference.agent import log
from reference.agent.log_file import TimedFile
from reference.agent.sockets import StartError
from reference.config.model import LogLevel, LogOptions


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, raising = root.handlers[:], root.level, logging.raiseExceptions
    quiet = {name: logging.getLogger(name).level for name in ("uvicorn", "asyncio")}
    yield
    for handler in root.handlers:
        if handler not in handlers and handler is not log.feed:
            handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.raiseExceptions = raising
    for name, before in quiet.items():
        logging.getLogger(name).setLevel(before)


def written(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in sorted(folder.iterdir())}


def record(text: str) -> logging.LogRecord:
    return logging.LogRecord("agent", logging.INFO, "", 0, text, None, None)


def test_a_file_begins_anew_after_its_time(tmp_path: Path) -> None:
    now = 10**9
    handler = TimedFile(tmp_path / "a.txt", seconds=60, most=0, clock=lambda: now)
    handler.emit(record("one"))
    now += 59 * 10**9
    handler.emit(record("two"))
    now += 10**9
    handler.emit(record("three"))
    handler.close()
    assert written(tmp_path) == {"a-1000000000.txt": "one\ntwo\n", "a-61000000000.txt": "three\n"}


def test_a_file_begins_anew_after_its_bytes(tmp_path: Path) -> None:
    moments = iter(range(100))
    handler = TimedFile(tmp_path / "a", seconds=60, most=5, clock=lambda: next(moments))
    for text in ("one", "two", "three"):
        handler.emit(record(text))
    handler.close()
    assert [content for _, content in written(tmp_path).items()] == ["one\ntwo\n", "three\n"]
    assert all(name.endswith(".log") for name in written(tmp_path))


def test_a_file_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    options = LogOptions(file=tmp_path / "none" / "a.log")
    with pytest.raises(StartError, match=r"log_file .*/none/a\.log cannot be written: No such file"):
        log.set_up(LogLevel.INFO, options)


def test_a_machine_without_a_system_log_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "_SYSTEM_LOG", tmp_path / "log")
    with pytest.raises(StartError, match=r"Syslog setup failed: nobody answers at .*; remove enable_syslog"):
        log.set_up(LogLevel.INFO, LogOptions(syslog_facility="local0"))


def test_a_follower_has_a_level_of_its_own_and_hears_of_the_past(capsys: pytest.CaptureFixture[str]) -> None:
    speaker = logging.getLogger("agent")

    async def scenario() -> None:
        log.set_up(LogLevel.WARN)
        speaker.warning("before")
        speaker.info("nobody wants it")
        follower = log.feed.follow(LogLevel.DEBUG)
        speaker.debug("detail")
        heard = [await anext(follower) for _ in range(2)]
        assert [line.partition("] ")[2] for line in heard[-2:]] == ["agent: before", "agent: detail"]
        log.feed.leave(follower)
        assert not speaker.isEnabledFor(logging.DEBUG)
        speaker.warning("afterwards")

    log.feed._latest.clear()
    asyncio.run(scenario())
    shown = capsys.readouterr().out
    assert "before" in shown
    assert "detail" not in shown


def test_a_follower_that_does_not_read_misses_lines_and_holds_up_nobody() -> None:
    async def scenario() -> None:
        log.set_up(LogLevel.ERR)
        log.feed._latest.clear()
        follower = log.feed.follow(LogLevel.INFO)
        for number in range(600):
            logging.getLogger("agent").info("line %d", number)
        await asyncio.sleep(0)
        assert follower.dropped == 600 - 512
        log.feed.end()
        assert len([line async for line in follower]) == 512
        log.feed.leave(follower)

    asyncio.run(scenario())


def test_the_system_log_hears_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as system:
        system.bind(str(tmp_path / "log"))
        system.settimeout(10)
        monkeypatch.setattr(log, "_SYSTEM_LOG", tmp_path / "log")
        log.set_up(LogLevel.INFO, LogOptions(syslog_facility="local3"))
        logging.getLogger("agent").warning("hello")
        # Facility 19, severity 4.
        assert system.recv(1000).startswith(b"<156>    20")
