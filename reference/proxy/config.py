"""What the agent tells a proxy to do: the answer of ``/v1/agent/connect/proxy/:id`` as data. Pure.

Shapes and defaults are the original's (MP-INT-001, MP-BIP-010 to 016). Every documented option is effective, also
the two that the original ignored (``handshake_timeout_ms`` and ``connect_timeout_ms``, MP-BIP-015, MP-BIP-016).
A proxy that somebody registered as a service of kind ``connect-proxy`` is described by ``/v1/agent/service/:id``
instead (MP-INT-011); ``bind_address`` and ``bind_port`` in its config win over the address of that service.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reference.proxy import reading, telemetry
from reference.proxy.endpoints import (
    Address,
    ConfigError,
    Endpoint,
    parse_address,
    parse_endpoint,
    socket_path,
)
from reference.proxy.telemetry import Telemetry

PREPARED_QUERY = "prepared_query"

CONNECT_TIMEOUT_MS = 10_000
HANDSHAKE_TIMEOUT_MS = 10_000
LOCAL_CONNECT_TIMEOUT_MS = 1_000
DRAIN_TIMEOUT_MS = 10_000


@dataclass(frozen=True, kw_only=True)
class Upstream:
    """A dependency offered on a local port. ``connect_timeout`` (seconds) spans discovery, TCP and TLS."""

    bind: Endpoint
    name: str
    kind: str = "service"
    namespace: str = "default"
    datacenter: str = ""
    connect_timeout: float = CONNECT_TIMEOUT_MS / 1000
    #: 0 is no limit.
    max_connections: int = 0

    def __str__(self) -> str:
        return f"{self.bind}->{self.kind}:{self.namespace}/{self.name}"


@dataclass(frozen=True, kw_only=True)
class Public:
    """The mutual TLS listener in front of the application. Time-outs are seconds, a limit of 0 is none."""

    bind: Endpoint
    application: Endpoint
    handshake_timeout: float = HANDSHAKE_TIMEOUT_MS / 1000
    local_connect_timeout: float = LOCAL_CONNECT_TIMEOUT_MS / 1000
    max_connections: int = 0
    #: Whether the application is told who comes, by a header of the PROXY protocol, version 2.
    proxy_protocol: bool = False
    #: Whether a changed intention ends what it forbids.
    reauthorize: bool = True


@dataclass(frozen=True, kw_only=True)
class ProxyConfig:
    """Everything that one proxy does. ``public`` is None when there is no port to listen on (MP-BIP-011)."""

    service: str
    public: Public | None
    upstreams: tuple[Upstream, ...] = ()
    #: Why upstreams are missing that make no sense: a text for each.
    left_out: tuple[str, ...] = ()
    #: Seconds that connections have to end when the proxy is asked to.
    drain_timeout: float = DRAIN_TIMEOUT_MS / 1000
    prometheus: Address | None = None
    telemetry: Telemetry | None = None


def parse(answer: Any) -> ProxyConfig:
    """Read the decoded JSON answer; :class:`ConfigError` names the first value that is of no use.

    An upstream that makes no sense is left out, and takes nothing along.
    """
    if isinstance(answer, Mapping) and "Kind" in answer:
        answer = _managed_form(answer)
    if not isinstance(answer, Mapping) or not isinstance(answer.get("TargetServiceName"), str):
        raise ConfigError("the agent's answer is not a proxy configuration: TargetServiceName is missing")
    service, config = answer["TargetServiceName"], reading.mapping(answer.get("Config"), "Config")
    upstreams, left_out = _upstreams(answer.get("Upstreams") or ())
    prometheus = reading.text(config, "prometheus_bind_address", "prometheus_bind_address")
    return ProxyConfig(
        service=service,
        public=_public(config),
        upstreams=upstreams,
        left_out=left_out,
        drain_timeout=reading.seconds(config, "drain_timeout_ms", DRAIN_TIMEOUT_MS, "drain_timeout_ms"),
        prometheus=parse_address(prometheus, "prometheus_bind_address") if prometheus else None,
        telemetry=telemetry.parse(reading.mapping(config.get("telemetry"), "telemetry"), service=service),
    )


def add(upstream: Upstream, to: dict[Endpoint, Upstream]) -> None:
    """Give an upstream its address; :class:`ConfigError` when another one has that."""
    if upstream.bind in to:
        raise ConfigError(f"two upstreams want {upstream.bind}: give each a local_bind_port of its own")
    to[upstream.bind] = upstream


def _upstreams(entries: Any) -> tuple[tuple[Upstream, ...], tuple[str, ...]]:
    """Those that make sense, and what is wrong with others."""
    if not isinstance(entries, Sequence) or isinstance(entries, str):
        raise ConfigError("Upstreams must be a list")
    found: dict[Endpoint, Upstream] = {}
    problems = []
    for index, entry in enumerate(entries):
        try:
            add(_upstream(reading.mapping(entry, f"Upstreams[{index}]"), index), found)
        except ConfigError as problem:
            problems.append(str(problem))
    return tuple(found.values()), tuple(problems)


def _managed_form(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """The description of a registered proxy, in the form of a managed one."""
    if answer["Kind"] != "connect-proxy":
        raise ConfigError(f"service {answer.get('ID')} is not a connect proxy: register one, or use -service")
    proxy = reading.mapping(answer.get("Proxy"), "Proxy")
    local_port = reading.port(proxy.get("LocalServicePort", 0), "LocalServicePort")
    host = reading.text(proxy, "LocalServiceAddress", "LocalServiceAddress") or "127.0.0.1"
    described: dict[str, Any] = {}
    if local_port:  # who registers a proxy for its upstreams alone names no application
        described = {
            "bind_address": answer.get("Address"),
            "bind_port": answer.get("Port", 0),
            "local_service_address": str(Address(host=host, port=local_port)),
        }
    return {
        "TargetServiceName": proxy.get("DestinationServiceName"),
        "Config": {**described, **reading.mapping(proxy.get("Config"), "Proxy.Config")},
        "Upstreams": proxy.get("Upstreams"),
    }


def _public(config: Mapping[str, Any]) -> Public | None:
    bind = _listens_on(config, "bind_socket_path", "bind_socket_mode", "")
    if bind is None:
        port = reading.port(config.get("bind_port", 0), "bind_port")
        if port == 0:
            return None
        bind = Address(host=reading.text(config, "bind_address", "bind_address") or "0.0.0.0", port=port)  # noqa: S104
    protocol = reading.text(config, "proxy_protocol", "proxy_protocol")
    if protocol not in ("", "v2"):
        raise ConfigError(f"proxy_protocol is {protocol!r}: it must be v2, or left out")
    return Public(
        bind=bind,
        application=_application(config),
        handshake_timeout=reading.seconds(
            config, "handshake_timeout_ms", HANDSHAKE_TIMEOUT_MS, "handshake_timeout_ms"
        ),
        local_connect_timeout=reading.seconds(
            config, "local_connect_timeout_ms", LOCAL_CONNECT_TIMEOUT_MS, "local_connect_timeout_ms"
        ),
        max_connections=reading.count(config, "max_inbound_connections", "max_inbound_connections"),
        proxy_protocol=protocol == "v2",
        reauthorize=reading.boolean(
            config, "reauthorize_established", "reauthorize_established", default=True
        ),
    )


def _application(config: Mapping[str, Any]) -> Endpoint:
    path = reading.text(config, "local_service_socket_path", "local_service_socket_path")
    if path:
        return socket_path(path, "local_service_socket_path")
    key = "local_service_address"
    return parse_endpoint(reading.text(config, key, key), key)


def _upstream(entry: Mapping[str, Any], index: int) -> Upstream:
    where = f"Upstreams[{index}]"
    options = reading.mapping(entry.get("Config"), f"{where}.Config")
    bind = _listens_on(options, "local_bind_socket_path", "local_bind_socket_mode", f"{where}.Config.")
    if bind is None:
        port = reading.port(entry.get("LocalBindPort", 0), f"{where}.LocalBindPort")
        if port == 0:
            raise ConfigError(f"{where}.LocalBindPort is missing: give the upstream a port from 1 to 65535")
        host = reading.text(entry, "LocalBindAddress", f"{where}.LocalBindAddress") or "127.0.0.1"
        bind = Address(host=host, port=port)
    name = reading.text(entry, "DestinationName", f"{where}.DestinationName")
    if not name:
        raise ConfigError(f"{where}.DestinationName is missing: name a service or a prepared query")
    kind = reading.text(entry, "DestinationType", f"{where}.DestinationType") or "service"
    if kind not in ("service", PREPARED_QUERY):
        raise ConfigError(f"{where}.DestinationType is {kind!r}: it must be service or prepared_query")
    return Upstream(
        bind=bind,
        name=name,
        kind=kind,
        namespace=reading.text(entry, "DestinationNamespace", f"{where}.DestinationNamespace") or "default",
        datacenter=reading.text(entry, "Datacenter", f"{where}.Datacenter"),
        connect_timeout=reading.seconds(
            options, "connect_timeout_ms", CONNECT_TIMEOUT_MS, f"{where}.Config.connect_timeout_ms"
        ),
        max_connections=reading.count(
            reading.mapping(options.get("limits"), f"{where}.Config.limits"),
            "max_connections",
            f"{where}.Config.limits.max_connections",
        ),
    )


def _listens_on(options: Mapping[str, Any], path_name: str, mode_name: str, where: str) -> Endpoint | None:
    path = reading.text(options, path_name, f"{where}{path_name}")
    if not path:
        return None
    return socket_path(path, f"{where}{path_name}", reading.text(options, mode_name, f"{where}{mode_name}"))
