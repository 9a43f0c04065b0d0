"""The proxy's log: lines of the original's form on standard output (MP-LOG-005).

``    2026/11/22 22:38:56 [INFO] public listener starting on 127.0.0.1:24308``

Not the :mod:`logging` package: one level, one stream and one system call per line need none of it, and its import
would be a noticeable part of the start.
"""

from __future__ import annotations

import time

from reference.proxy.logfile import Output, Plain

LEVELS = ("TRACE", "DEBUG", "INFO", "WARN", "ERR")


class Log:
    """Writes the lines of ``level`` and above. Safe from any thread: a line is one write."""

    def __init__(self, *, level: str, output: Output | None = None) -> None:
        self._least = LEVELS.index(level)
        self._output = output or Plain(1)
        #: Whether lines of level DEBUG are written: what is said of each connection is only put together then.
        self.debugs = self._least <= LEVELS.index("DEBUG")

    def debug(self, text: str) -> None:
        self._write("DEBUG", text)

    def info(self, text: str) -> None:
        self._write("INFO", text)

    def warn(self, text: str) -> None:
        self._write("WARN", text)

    def err(self, text: str) -> None:
        self._write("ERR", text)

    def _write(self, level: str, text: str) -> None:
        if LEVELS.index(level) < self._least:
            return
        text = " ".join(text.splitlines())  # a peer has a say in some texts; a line stays a line
        line = f"    {time.strftime('%Y/%m/%d %H:%M:%S')} [{level}] {text}\n"
        try:
            self._output.write(line.encode("utf-8", "backslashreplace"))
        except OSError:
            return  # a full disk or a closed pipe must not end the traffic
