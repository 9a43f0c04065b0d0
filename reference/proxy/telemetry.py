"""Where a proxy sends its metrics: the ``telemetry`` block, in the shape of the agent's own (MP-INT-009). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reference.proxy import reading
from reference.proxy.endpoints import Address, parse_address


@dataclass(frozen=True, kw_only=True)
class Telemetry:
    """Sinks, and what goes there under which names. A metric is sent when :meth:`allows` its name."""

    prefix: str
    statsd: Address | None = None
    statsite: Address | None = None
    dogstatsd: Address | None = None
    dogstatsd_tags: tuple[str, ...] = ()
    hostname: bool = True
    allowed: tuple[str, ...] = ()
    blocked: tuple[str, ...] = ()
    by_default: bool = True

    def allows(self, name: str) -> bool:
        """Whether the longest prefix that fits the name is an allowed one; without any, the default decides."""
        fitting = [(len(prefix), False) for prefix in self.blocked if name.startswith(prefix)]
        fitting += [(len(prefix), True) for prefix in self.allowed if name.startswith(prefix)]
        return max(fitting)[1] if fitting else self.by_default


def parse(block: Mapping[str, Any], *, service: str) -> Telemetry | None:
    """Read the block; None when it names no sink. Keys of sinks that this proxy does not have are passed over.

    Raises :class:`~reference.proxy.endpoints.ConfigError` for the first value that is of no use.
    """

    def sink(name: str) -> Address | None:
        written = reading.text(block, name, f"telemetry.{name}")
        return parse_address(written, f"telemetry.{name}") if written else None

    telemetry = Telemetry(
        prefix=reading.text(block, "metrics_prefix", "telemetry.metrics_prefix") or f"consul.proxy.{service}",
        statsd=sink("statsd_address"),
        statsite=sink("statsite_address"),
        dogstatsd=sink("dogstatsd_addr"),
        dogstatsd_tags=reading.texts(block, "dogstatsd_tags", "telemetry.dogstatsd_tags"),
        hostname=not reading.boolean(block, "disable_hostname", "telemetry.disable_hostname", default=False),
        allowed=reading.texts(block, "allowed_prefixes", "telemetry.allowed_prefixes"),
        blocked=reading.texts(block, "blocked_prefixes", "telemetry.blocked_prefixes"),
        by_default=reading.boolean(block, "filter_default", "telemetry.filter_default", default=True),
    )
    return telemetry if telemetry.statsd or telemetry.statsite or telemetry.dogstatsd else None
