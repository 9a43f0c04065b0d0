"""What the agent tells a proxy to do: the answer of ``/v1/agent/connect/proxy/:id`` as data. Pure.

Shapes and defaults are the original's (MP-INT-001, MP-BIP-010 to 016). Numbers may come as JSON numbers or as
numeric strings: HCL turns one into the other on the way. Every documented option is effective, also the two that
the original ignored (``handshake_timeout_ms`` and ``connect_timeout_ms``, MP-BIP-015, MP-BIP-016).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

PREPARED_QUERY = "prepared_query"


class ConfigError(ValueError):
    """A value that a proxy cannot use; the message names the key, the value and the remedy."""


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where to listen or to connect: an IP address or host name, and a TCP port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, kw_only=True)
class Upstream:
    """A dependency offered on a local port. ``connect_timeout`` (seconds) spans discovery, TCP and TLS."""

    bind: Address
    name: str
    kind: str
    namespace: str
    datacenter: str
    connect_timeout: float

    def __str__(self) -> str:
        return f"{self.bind}->{self.kind}:{self.namespace}/{self.name}"


@dataclass(frozen=True, kw_only=True)
class Public:
    """The mutual TLS listener in front of the application. Time-outs are seconds."""

    bind: Address
    application: Address
    handshake_timeout: float
    local_connect_timeout: float


@dataclass(frozen=True, kw_only=True)
class ProxyConfig:
    """Everything that one proxy does. ``public`` is None when there is no port to listen on (MP-BIP-011)."""

    service: str
    public: Public | None
    upstreams: tuple[Upstream, ...]


def parse(answer: Any) -> ProxyConfig:
    """Read the decoded JSON answer; :class:`ConfigError` names the first value that is of no use."""
    if not isinstance(answer, Mapping) or not isinstance(answer.get("TargetServiceName"), str):
        raise ConfigError("the agent's answer is not a proxy configuration: TargetServiceName is missing")
    config = _mapping(answer.get("Config"), "Config")
    entries = answer.get("Upstreams") or ()
    if not isinstance(entries, Sequence) or isinstance(entries, str):
        raise ConfigError("Upstreams must be a list")
    upstreams = tuple(_upstream(_mapping(entry, f"Upstreams[{i}]"), i) for i, entry in enumerate(entries))
    binds: set[Address] = set()
    for upstream in upstreams:
        if upstream.bind in binds:
            raise ConfigError(f"two upstreams want {upstream.bind}: give each a local_bind_port of its own")
        binds.add(upstream.bind)
    return ProxyConfig(service=answer["TargetServiceName"], public=_public(config), upstreams=upstreams)


def parse_address(text: str, key: str) -> Address:
    """Read ``host:port`` or ``[v6]:port``; ``key`` is where the text stood, for the message."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        colon = ""
    if not colon or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65536:
        raise ConfigError(f"{key}: {text!r} is not an address: write host:port, or [host]:port for IPv6")
    return Address(host=host or "127.0.0.1", port=int(port))


def _public(config: Mapping[str, Any]) -> Public | None:
    port = _port(config.get("bind_port", 0), "bind_port")
    if port == 0:
        return None
    return Public(
        bind=Address(host=_text(config, "bind_address", "bind_address") or "0.0.0.0", port=port),  # noqa: S104
        application=parse_address(
            _text(config, "local_service_address", "local_service_address"), "local_service_address"
        ),
        handshake_timeout=_seconds(config, "handshake_timeout_ms", 10_000, "handshake_timeout_ms"),
        local_connect_timeout=_seconds(config, "local_connect_timeout_ms", 1_000, "local_connect_timeout_ms"),
    )


def _upstream(entry: Mapping[str, Any], index: int) -> Upstream:
    where = f"Upstreams[{index}]"
    port = _port(entry.get("LocalBindPort", 0), f"{where}.LocalBindPort")
    if port == 0:
        raise ConfigError(f"{where}.LocalBindPort is missing: give the upstream a port from 1 to 65535")
    name = _text(entry, "DestinationName", f"{where}.DestinationName")
    if not name:
        raise ConfigError(f"{where}.DestinationName is missing: name a service or a prepared query")
    kind = _text(entry, "DestinationType", f"{where}.DestinationType") or "service"
    if kind not in ("service", PREPARED_QUERY):
        raise ConfigError(f"{where}.DestinationType is {kind!r}: it must be service or prepared_query")
    options = _mapping(entry.get("Config"), f"{where}.Config")
    return Upstream(
        bind=Address(
            host=_text(entry, "LocalBindAddress", f"{where}.LocalBindAddress") or "127.0.0.1", port=port
        ),
        name=name,
        kind=kind,
        namespace=_text(entry, "DestinationNamespace", f"{where}.DestinationNamespace") or "default",
        datacenter=_text(entry, "Datacenter", f"{where}.Datacenter"),
        connect_timeout=_seconds(options, "connect_timeout_ms", 10_000, f"{where}.Config.connect_timeout_ms"),
    )


def _mapping(value: Any, key: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ConfigError(f"{key} must be an object")
    return value


def _text(entry: Mapping[str, Any], name: str, key: str) -> str:
    value = entry.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ConfigError(f"{key} is {value!r}: it must be a string")
    return value


def _number(value: Any, key: str) -> float:
    """A JSON number or a string that spells one; booleans are not numbers."""
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            number = float(value)
        except (ValueError, OverflowError):
            pass
        else:
            if number - number == 0:  # neither infinite nor not-a-number
                return number
    raise ConfigError(f"{key} is {value!r}: it must be a number")


def _port(value: Any, key: str) -> int:
    number = _number(value, key)
    if number != int(number) or not 0 <= number < 65536:
        raise ConfigError(f"{key} is {value!r}: it must be a port from 1 to 65535")
    return int(number)


def _seconds(options: Mapping[str, Any], name: str, default_ms: int, key: str) -> float:
    """A time-out given in milliseconds; 0 means the default, as an unset Go integer does."""
    number = _number(options.get(name, 0), key)
    if number < 0:
        raise ConfigError(f"{key} is {options[name]!r}: it must be milliseconds, 0 for the default")
    return (number or default_ms) / 1000
