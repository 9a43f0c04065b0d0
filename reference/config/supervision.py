"""``connect.proxy.supervision``: what it may say. The original knows none of it; its numbers are the defaults."""

from __future__ import annotations

import signal
from typing import Any

from msgspec.structs import replace

from reference.config.model import Supervision
from reference.config.settings import Settings

_SECTION = "connect.proxy.supervision"
#: The keys that are durations, and the shortest and longest that make sense (s).
_DURATIONS = {
    "backoff": (0.0, 86400.0),
    "backoff_limit": (0.0, 86400.0),
    "healthy_run": (0.0, 86400.0),
    "kill_retry": (0.1, 3600.0),
    "restart_critical_after": (0.0, 86400.0),
    "stop_grace": (0.0, 86400.0),
}
#: The keys that are whole numbers, and the least of each.
_NUMBERS = {"log_rotate_bytes": 0, "log_rotate_max_files": 1, "quick_starts": 1}
#: Signals that a program can act upon; what stops or kills it outright is no way to ask.
_ASKING = frozenset({"SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGWINCH"})
#: A smaller log would be put aside with every other line.
_SMALLEST_LOG = 4096


def supervision(settings: Settings) -> Supervision:
    """The section with its defaults. Raises :class:`~reference.config.errors.ConfigError` for what cannot hold."""
    given: dict[str, Any] = settings.get(_SECTION, {})
    values: dict[str, Any] = {}
    for key, raw in given.items():
        name = f"{_SECTION}.{key}"
        if key in _DURATIONS:
            values[key] = settings.seconds(name)
            _check_range(settings, name, values[key], *_DURATIONS[key])
        elif key in _NUMBERS:
            values[key] = raw
            if raw < _NUMBERS[key]:
                raise settings.error(
                    name, f"{name}: {raw} is too small", f"Give a number of at least {_NUMBERS[key]}"
                )
        else:
            values[key] = _signal(settings, name, raw)
    result = replace(Supervision(), **values)
    if 0 < result.log_rotate_bytes < _SMALLEST_LOG:
        name = f"{_SECTION}.log_rotate_bytes"
        remedy = f"Give at least {_SMALLEST_LOG}, or 0 to let logs grow"
        raise settings.error(name, f"{name}: {result.log_rotate_bytes} is too small", remedy)
    if result.backoff > result.backoff_limit:
        name = f"{_SECTION}.backoff"
        problem = f"{name} ({result.backoff:g}s) is longer than backoff_limit ({result.backoff_limit:g}s)"
        raise settings.error(name, problem, "Set both, the limit to the longer time")
    return result


def _check_range(settings: Settings, name: str, seconds: float, least: float, most: float) -> None:
    if not least <= seconds <= most:
        raise settings.error(name, f"{name}: {seconds:g}s is out of range", f"Give {least:g}s to {most:g}s")


def _signal(settings: Settings, name: str, raw: str) -> str:
    """The name of a signal, with or without SIG, in any case."""
    text = raw.strip().upper()
    found = text if text.startswith("SIG") else f"SIG{text}"
    if found not in _ASKING or not hasattr(signal, found):
        raise settings.error(
            name, f"{name}: {raw!r} is no signal to ask with", f"Use {', '.join(sorted(_ASKING))}"
        )
    return found
