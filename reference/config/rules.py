"""What the original refuses about options that mean nothing here, alone or together: a table.

A file that no original would start with must not pass for a good one, even where this agent makes no use of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

from reference.config.listen import port
from reference.config.settings import Settings

_MOST_RAFT_MULTIPLIER = 10
_FACILITIES = re.compile("KERN|USER|MAIL|DAEMON|AUTH|SYSLOG|LPR|NEWS|UUCP|CRON|AUTHPRIV|FTP|LOCAL[0-7]")


class _Rule(msgspec.Struct, frozen=True):
    """``option`` is what an error is about; ``broken`` tells whether the settings break the rule."""

    option: str
    broken: Callable[[Settings], bool]
    problem: str
    remedy: str = "Correct the value"


def _server(settings: Settings) -> bool:
    return bool(settings.get("server", False))


def _expected(settings: Settings) -> int:
    expected: int = settings.get("bootstrap_expect", 0)
    # The original takes 1 as another spelling of bootstrap = true.
    return 0 if expected == 1 else expected


def _bootstrap(settings: Settings) -> bool:
    return bool(settings.get("bootstrap", False)) or settings.get("bootstrap_expect", 0) == 1


def _is_wildcard(address: str) -> bool:
    return address in ("0.0.0.0", "::", "[::]")  # noqa: S104 (compared, not bound)


_RULES = (
    _Rule(
        "bootstrap",
        lambda s: _bootstrap(s) and not _server(s),
        "'bootstrap = true' requires 'server = true'",
        "Remove bootstrap; this agent is always its own server",
    ),
    _Rule(
        "bootstrap_expect",
        lambda s: _expected(s) < 0,
        "bootstrap_expect cannot be negative. Must be greater than or equal to zero",
    ),
    _Rule(
        "bootstrap_expect",
        lambda s: _expected(s) > 0 and not _server(s),
        "'bootstrap_expect > 0' requires 'server = true'",
        "Remove bootstrap_expect; this agent is always its own server",
    ),
    _Rule(
        "bootstrap_expect",
        lambda s: _expected(s) > 0 and bool(s.get("bootstrap", False)),
        "'bootstrap_expect > 0' and 'bootstrap = true' are mutually exclusive",
        "Remove one of them",
    ),
    _Rule(
        "autopilot.max_trailing_logs",
        lambda s: s.get("autopilot.max_trailing_logs", 0) < 0,
        "autopilot.max_trailing_logs cannot be negative. Must be greater than or equal to zero",
    ),
    _Rule(
        "performance.raft_multiplier",
        lambda s: not 1 <= s.get("performance.raft_multiplier", 1) <= _MOST_RAFT_MULTIPLIER,
        f"performance.raft_multiplier cannot have this value. Must be between 1 and {_MOST_RAFT_MULTIPLIER}",
    ),
    _Rule(
        "ui_dir",
        lambda s: bool(s.get("ui", False) and s.get("ui_dir", "")),
        "Both the ui and ui-dir flags were specified, please provide only one",
        "Remove one of them",
    ),
    _Rule(
        "recursors",
        lambda s: any(each.startswith("unix://") for each in s.get("recursors", ())),
        "DNS Recursors cannot be unix sockets",
        "Give IP addresses",
    ),
    _Rule(
        "recursors",
        lambda s: any(_is_wildcard(each) for each in s.get("recursors", ())),
        "DNS recursor address cannot be 0.0.0.0, :: or [::]",
        "Give IP addresses",
    ),
    _Rule(
        "syslog_facility",
        lambda s: not _FACILITIES.fullmatch(s.get("syslog_facility", "LOCAL0").upper()),
        "syslog_facility: there is no such facility",
        "Use one such as LOCAL0",
    ),
    _Rule(
        "log_rotate_bytes",
        lambda s: s.get("log_rotate_bytes", 0) < 0,
        "log_rotate_bytes cannot be negative",
    ),
    *(
        _Rule(
            name,
            lambda s, name=name: not re.fullmatch("[a-z0-9_-]*", s.get(name, "").lower()),  # type: ignore[misc]
            f"{name} is no name of a datacenter. Please use only [a-z0-9-_]",
        )
        for name in ("acl_datacenter", "primary_datacenter")
    ),
)


def check(settings: Settings) -> None:
    """Raise :class:`~reference.config.errors.ConfigError` for the first rule that is broken."""
    for rule in _RULES:
        if rule.broken(settings):
            raise settings.error(rule.option, rule.problem, rule.remedy)
    for name in ("server", "serf_lan", "serf_wan", "grpc"):
        port(settings, f"ports.{name}")
    for segment in settings.get("segments", ()):
        if segment.get("port", 0) <= 0:
            problem = f'Port for segment "{segment.get("name", "")}" cannot be <= 0'
            raise settings.error("segments", problem, "Give it a port, or remove the segments")
