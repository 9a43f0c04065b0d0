"""Durations as the original writes them: ``1h30m``, ``1.5s``, ``10ms``."""

from __future__ import annotations

import re

_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_WHOLE = re.compile(rf"([+-]?)((?:{_PART.pattern})+|0)", re.ASCII)


def parse_duration(text: str) -> float:
    """The duration in seconds, which may be negative. Raises :class:`ValueError`.

    >>> parse_duration("1h30m"), parse_duration("10ms"), parse_duration("0")
    (5400.0, 0.01, 0.0)
    """
    match = _WHOLE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a duration")
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(match[2]))
    return -seconds if match[1] == "-" else seconds
