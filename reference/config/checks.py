"""Check definitions: what is looked at, how often, and what counts as healthy.

A check is of one kind, which follows from what it names; durations are in seconds. :func:`check_from` judges what
the original judges when a check is registered, with its words; kinds that this agent cannot do are refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

import msgspec

from reference.config.errors import ConfigError
from reference.secretive import Secretive

#: The states of a check, best first, as users write them.
STATUSES = ("passing", "warning", "critical")

_SPANS = ("interval", "timeout", "ttl")
_TEXTS = (
    "name",
    "notes",
    "service_id",
    "token",
    "status",
    "http",
    "method",
    "tcp",
    "alias_node",
    "alias_service",
)


class CheckKind(Enum):
    """How a check gets its result."""

    ALIAS = "alias"
    HTTP = "http"
    SCRIPT = "script"
    TCP = "tcp"
    TTL = "ttl"


class CheckDefinition(Secretive, frozen=True, kw_only=True):
    """One check as a file or a request defines it. An empty ``id`` is worked out when it is registered."""

    UNSHOWN = frozenset({"header", "token"})

    id: str = ""
    name: str = ""
    notes: str = ""
    service_id: str = ""
    token: str = ""
    status: str = ""
    args: tuple[str, ...] = ()
    http: str = ""
    header: Mapping[str, Sequence[str]] = msgspec.field(default_factory=dict)
    method: str = ""
    tcp: str = ""
    alias_node: str = ""
    alias_service: str = ""
    tls_skip_verify: bool = False
    interval: float = 0.0
    timeout: float = 0.0
    ttl: float = 0.0
    deregister_after: float = 0.0

    @property
    def kind(self) -> CheckKind:
        """How it gets its result; the order is the original's."""
        if self.ttl > 0:
            return CheckKind.TTL
        if self.http:
            return CheckKind.HTTP
        if self.tcp:
            return CheckKind.TCP
        return CheckKind.SCRIPT if self.args else CheckKind.ALIAS

    @property
    def problem(self) -> str:
        """What is wrong with it, in the original's words, or nothing."""
        looks = bool(self.args or self.http or self.tcp)
        alias = bool(self.alias_node or self.alias_service)
        rules = (
            (self.interval > 0 and self.ttl > 0, "Interval and TTL cannot both be specified"),
            (looks and self.interval <= 0, "Interval must be > 0 for Script, HTTP, or TCP checks"),
            (looks and alias, "Interval cannot be set for Alias checks"),
            (alias and self.ttl > 0, "TTL must be not be set for Alias checks"),
            (not looks and not alias and self.ttl <= 0, "TTL must be > 0 for TTL checks"),
        )
        return next((problem for broken, problem in rules if broken), "")


def check_from(decoded: Mapping[str, Any], *, where: str) -> CheckDefinition:
    """The check that was decoded by one of the tables. Raises :class:`ConfigError`."""
    for key, what in (("docker_container_id", "Docker"), ("grpc", "gRPC")):
        if decoded.get(key):
            raise ConfigError(
                where,
                f"Invalid check: {what} checks are not supported by this agent",
                "Use a check of another kind: TTL, TCP, HTTP, alias or script",
            )
    check = CheckDefinition(
        id=decoded.get("id", "") or decoded.get("check_id", ""),
        args=tuple(decoded.get("args", ())),
        header=decoded.get("header", {}),
        tls_skip_verify=decoded.get("tls_skip_verify", False),
        deregister_after=decoded.get("deregister_critical_service_after", 0.0),
        **{key: decoded.get(key, 0.0) for key in _SPANS},
        **{key: decoded.get(key, "") for key in _TEXTS},
    )
    if check.problem:
        raise ConfigError(
            where, f"Invalid check: {check.problem}", "Name what is to be checked, and how often"
        )
    return check


def checks_from(decoded: Mapping[str, Any], *, where: str) -> tuple[CheckDefinition, ...]:
    """``check`` and ``checks`` of a definition; an empty ``check`` is none. Raises :class:`ConfigError`."""
    one = decoded.get("check")
    given = [*([one] if one else []), *decoded.get("checks", ())]
    return tuple(check_from(each, where=where) for each in given)
