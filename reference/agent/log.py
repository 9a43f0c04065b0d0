"""The agent's log, in the original's shape: ``    2026/11/23 01:02:03 [INFO] agent: text`` on stdout.

The name of a logger is the part of the agent that speaks: ``agent``, ``agent/proxy``, ``http``.
"""

from __future__ import annotations

import logging
import sys

from reference.config.model import LogLevel

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


def set_up(level: LogLevel) -> None:
    """Send everything of ``level`` and above to stdout; replaces an earlier set-up."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_Formatter())
    logging.basicConfig(handlers=[handler], level=_LEVELS[level], force=True)
    # Whoever reads the log may go away; that is no reason to complain on stderr with each line.
    logging.raiseExceptions = False
    # It repeats what the agent says itself, and speaks of the event loop at DEBUG.
    for name in ("uvicorn", "asyncio"):
        logging.getLogger(name).setLevel(logging.WARNING)
