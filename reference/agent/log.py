"""The agent's log, in the original's shape: ``    2026/11/23 01:02:03 [INFO] agent: text``.

The name of a logger is the part of the agent that speaks: ``agent``, ``agent/proxy``, ``http``. Lines go to standard
output, and to a file (:mod:`reference.agent.log_file`) and the system's log where that is configured; whoever follows
the log over the API has a :class:`Follower`, with a level of its own.
"""

from __future__ import annotations

import asyncio
import logging
import logging.handlers
import socket
import sys
from collections import deque
from pathlib import Path

from reference.agent.log_file import TimedFile
from reference.agent.sockets import StartError
from reference.config.model import LogLevel, LogOptions

#: Below DEBUG; the standard library has no name for it.
TRACE = 5

_LEVELS = {
    LogLevel.TRACE: TRACE,
    LogLevel.DEBUG: logging.DEBUG,
    LogLevel.INFO: logging.INFO,
    LogLevel.WARN: logging.WARNING,
    LogLevel.ERR: logging.ERROR,
}
_NAMES = {number: str(level) for level, number in _LEVELS.items()} | {logging.CRITICAL: "ERR"}
#: How many lines a new follower is told of the past, and how many one that does not read may be behind.
_KEPT = 512
_SYSTEM_LOG = Path("/dev/log")
#: What standard output is told, and every other place the operator chose.
_places: list[logging.Handler] = []


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """One line per record: whoever writes line feeds into a message must not be able to forge a second one."""
        when = self.formatTime(record, "%Y/%m/%d %H:%M:%S")
        level = _NAMES.get(record.levelno, record.levelname)
        text = record.getMessage()
        if record.exc_info:
            text = f"{text}: {self.formatException(record.exc_info)}"
        text = text.replace("\r", "\\r").replace("\n", "\\n")
        return f"    {when} [{level}] {record.name}: {text}"


class Follower:
    """Somebody who follows the log from a level on: ``async for line in follower``, until :meth:`Feed.end`.

    Lines that come faster than they are read are dropped, and counted in ``dropped``.
    """

    def __init__(self, level: int) -> None:
        self.level = level
        self.dropped = 0
        self._loop = asyncio.get_running_loop()
        self._lines: asyncio.Queue[str | None] = asyncio.Queue()

    def __aiter__(self) -> Follower:
        return self

    async def __anext__(self) -> str:
        line = await self._lines.get()
        if line is None:
            raise StopAsyncIteration
        return line

    def tell(self, line: str | None) -> None:
        """Hand on a line, from any thread; ``None`` is the end."""
        self._loop.call_soon_threadsafe(self._take, line)

    def _take(self, line: str | None) -> None:
        if line is not None and self._lines.qsize() >= _KEPT:
            self.dropped += 1
        else:
            self._lines.put_nowait(line)


class Feed(logging.Handler):
    """Keeps the latest lines, and hands new ones to the followers."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(_Formatter())
        self._latest: deque[tuple[int, str]] = deque(maxlen=_KEPT)
        self._followers: set[Follower] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Called by the logging library, which holds the lock of this handler."""
        line = self.format(record)
        self._latest.append((record.levelno, line))
        for follower in self._followers:
            if record.levelno >= follower.level:
                follower.tell(line)

    def follow(self, level: LogLevel) -> Follower:
        """A new follower, who is told the latest lines first."""
        follower = Follower(_LEVELS[level])
        self.acquire()
        try:
            for number, line in self._latest:
                if number >= follower.level:
                    follower.tell(line)
            self._followers.add(follower)
        finally:
            self.release()
        self.adjust()
        return follower

    def leave(self, follower: Follower) -> None:
        """The follower has gone."""
        self.acquire()
        try:
            self._followers.discard(follower)
        finally:
            self.release()
        self.adjust()

    def end(self) -> None:
        """Every follower comes to an end."""
        for follower in tuple(self._followers):
            follower.tell(None)

    def adjust(self) -> None:
        """Have lines made from the lowest level on that anybody wants."""
        wanted = [place.level for place in _places] + [follower.level for follower in self._followers]
        logging.getLogger().setLevel(min(wanted, default=logging.INFO))


def set_up(level: LogLevel, options: LogOptions | None = None) -> None:
    """Send everything of ``level`` and above where it is wanted; replaces an earlier set-up.

    Raises :class:`~reference.agent.sockets.StartError` for a place that cannot be written to.
    """
    places: list[logging.Handler] = [
        logging.StreamHandler(sys.stdout),
        *_further_places(options or LogOptions()),
    ]
    for place in places:
        place.setFormatter(_Formatter())
        place.setLevel(_LEVELS[level])
    _places[:] = places
    logging.basicConfig(handlers=[*places, feed], force=True)
    feed.adjust()
    # Whoever reads the log may go away; that is no reason to complain on stderr with each line.
    logging.raiseExceptions = False
    # It repeats what the agent says itself, and speaks of the event loop at DEBUG.
    for name in ("uvicorn", "asyncio"):
        logging.getLogger(name).setLevel(logging.WARNING)


def set_level(level: LogLevel) -> None:
    """From now on everything of ``level`` and above goes where lines go."""
    for place in _places:
        place.setLevel(_LEVELS[level])
    feed.adjust()


def _further_places(options: LogOptions) -> list[logging.Handler]:
    places: list[logging.Handler] = []
    if options.file is not None:
        try:
            places.append(TimedFile(options.file, seconds=options.rotate_seconds, most=options.rotate_bytes))
        except OSError as error:
            raise StartError(
                f"log_file {options.file} cannot be written: {error.strerror}; choose another path"
            ) from error
    if options.syslog_facility:
        try:
            # The library would only find out when there is something to say.
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
                probe.connect(str(_SYSTEM_LOG))
            places.append(logging.handlers.SysLogHandler(str(_SYSTEM_LOG), facility=options.syslog_facility))
        except OSError as error:
            raise StartError(
                f"Syslog setup failed: nobody answers at {_SYSTEM_LOG}: {error.strerror}; remove enable_syslog"
            ) from error
    return places


#: The log of this process; there is one, as there is one root logger.
feed = Feed()
