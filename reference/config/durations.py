"""Durations as the original writes them: ``1h30m``, ``1.5s``, ``10ms``."""

from __future__ import annotations

import re

_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_WHOLE = re.compile(rf"([+-]?)((?:{_PART.pattern})+|0)", re.ASCII)
#: The original counts nanoseconds in 63 bits: 292 years and a little.
_LONGEST = 2**63 / 1e9


def parse_duration(text: str) -> float:
    """The duration in seconds, which may be negative. Raises :class:`ValueError`.

    >>> parse_duration("1h30m"), parse_duration("10ms"), parse_duration("0")
    (5400.0, 0.01, 0.0)
    """
    match = _WHOLE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a duration")
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(match[2]))
    if seconds >= _LONGEST:
        raise ValueError(f"{text!r} is too long")
    return -seconds if match[1] == "-" else seconds


def format_duration(seconds: float) -> str:
    """The original's spelling of a length of time.

    >>> format_duration(90), format_duration(0.25), format_duration(3600), format_duration(0)
    ('1m30s', '250ms', '1h0m0s', '0s')
    """
    if not seconds:
        return "0s"
    if abs(seconds) < 1:
        for unit in ("ms", "µs", "ns"):
            amount = round(seconds / _SECONDS[unit], 6)
            if abs(amount) >= 1:
                break
        return f"{amount:g}{unit}"
    sign, whole = ("-" if seconds < 0 else ""), abs(seconds)
    minutes, rest = divmod(round(whole, 9), 60)
    hours, minutes = divmod(int(minutes), 60)
    parts = ([f"{hours}h"] if hours else []) + ([f"{minutes}m"] if hours or minutes else [])
    return f"{sign}{''.join(parts)}{round(rest, 9):g}s"
