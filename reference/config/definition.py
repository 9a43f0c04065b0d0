"""Service definitions: from checked data to :class:`~reference.config.model.ServiceDefinition`.

:func:`definition_from_file` judges everything that can be judged before the agent starts;
:func:`definition_from_api` is for registrations over HTTP, which the original judges less (MP-API-009).
Legacy upstreams inside ``config`` are moved to where they belong for both (MP-CFG-013 to MP-CFG-015).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from reference.config.decode import Decoder
from reference.config.errors import ConfigError
from reference.config.model import ExecMode, ManagedProxy, Opaque, ServiceDefinition, Upstream
from reference.config.schema import LEGACY_UPSTREAM, SERVICE

#: The ``where`` of errors in a registration over HTTP.
API = "service registration"

MAX_PORT = 65535
PREPARED_QUERY = "prepared_query"

_META_PAIRS, _META_KEY, _META_VALUE = 64, 128, 512
_DEFAULT_WEIGHTS = {"passing": 1, "warning": 1}

#: Keys that are understood but cannot be honoured: refused, for a service must not run half as it was defined.
_UNSUPPORTED = {
    "check": "health checks in service definitions are not supported by this agent",
    "checks": "health checks in service definitions are not supported by this agent",
    "proxy": "proxies that this agent does not manage (kind connect-proxy) are not supported",
    "proxy_destination": "proxies that this agent does not manage (kind connect-proxy) are not supported",
}


def definition_from_file(decoded: Mapping[str, Any], *, where: str) -> ServiceDefinition:
    """The service that a file or fragment defines, decoded by :data:`~reference.config.schema.SERVICE` before.

    Raises :class:`ConfigError` for what the original would refuse when it validates, starts, or adds the proxy.
    """
    name = decoded.get("name", "")
    if name:
        where = f'{where}: service "{name}"'
    service = _definition(decoded, where)
    problem = _meta_problem(service.meta)
    if problem:
        raise ConfigError(where, f"invalid meta for service {name}: {problem}", "Correct the meta key")
    if service.proxy is not None:
        _check_managed(service, service.proxy, where)
    return service


def definition_from_api(body: Mapping[str, Any]) -> ServiceDefinition:
    """The service that the body of ``PUT /v1/agent/service/register`` defines (MP-API-002, MP-API-003, MP-API-009).

    Raises :class:`ConfigError`; its ``problem`` is the text that the original answers, with status 400.
    """
    try:
        decoded = Decoder.for_api(API).decode(SERVICE, body)
    except ConfigError as error:
        raise ConfigError(error.where, f"Request decode failed: {error.problem}", error.remedy) from None
    service = _definition(decoded, API)
    if _is_any_address(service.address):
        raise ConfigError(API, "Invalid service address", "Give an address that others can reach")
    problem = _meta_problem(service.meta)
    if problem:
        raise ConfigError(API, f"Invalid Service Meta: {problem}", "Correct the meta key")
    return service


def managed_bind_port(config: Opaque) -> int | None:
    """The port that ``config.bind_port`` of a managed proxy fixes, ``None`` when it leaves the choice (MP-PORT-002).

    Raises :class:`ValueError` with the original's text when it is neither a number nor numeric text (MP-PORT-003).
    """
    raw = config.get("bind_port")
    if raw is None:
        return None
    if isinstance(raw, str):
        if not re.fullmatch(r"[+-]?[0-9]{1,18}", raw):
            quoted = raw.replace('"', '\\"')
            raise ValueError(
                f"cannot parse 'bind_port' as int: strconv.ParseInt: parsing \"{quoted}\": invalid syntax"
            )
        return int(raw)
    if isinstance(raw, bool) or not (isinstance(raw, int) or (isinstance(raw, float) and raw.is_integer())):
        raise ValueError("cannot parse 'bind_port' as int: it is not a whole number")
    return int(raw)


def exec_mode_problem(raw: str) -> str:
    """What is wrong with ``exec_mode``, or nothing: empty, ``daemon`` and ``script`` are right (MP-CFG-007)."""
    return "" if raw in ("", *ExecMode) else f"invalid exec mode: {raw}"


def _definition(decoded: Mapping[str, Any], where: str) -> ServiceDefinition:
    name = decoded.get("name", "")
    if not name:
        raise ConfigError(where, "Missing service name", "Give the service a name")
    _refuse_unsupported(decoded, where)
    port = decoded.get("port", 0)
    if not 0 <= port <= MAX_PORT:
        raise ConfigError(where, f"port: invalid port: {port}", f"Give a port from 1 to {MAX_PORT}")
    connect = decoded.get("connect", {})
    proxy = connect.get("proxy")
    service_id = decoded.get("id") or name
    if proxy is not None and "/" in service_id:
        raise ConfigError(
            where,
            "the ID of a service with a managed proxy must not contain a slash, for it names the proxy's files",
            "Set an id without a slash",
        )
    return ServiceDefinition(
        id=service_id,
        name=name,
        port=port,
        address=decoded.get("address", ""),
        tags=tuple(decoded.get("tags", ())),
        meta=decoded.get("meta", {}),
        token=decoded.get("token", ""),
        enable_tag_override=decoded.get("enable_tag_override", False),
        native=connect.get("native", False),
        proxy=None if proxy is None else _managed_proxy(proxy, where),
    )


def _refuse_unsupported(decoded: Mapping[str, Any], where: str) -> None:
    kind = decoded.get("kind", "")
    if kind:
        raise ConfigError(
            where,
            f'services of kind "{kind}" are not supported by this agent',
            "Define the application with connect.proxy, and its proxy is managed",
        )
    for key, problem in _UNSUPPORTED.items():
        if decoded.get(key):
            raise ConfigError(where, problem, f"Remove {key}")
    if {**_DEFAULT_WEIGHTS, **decoded.get("weights", {})} != _DEFAULT_WEIGHTS:
        raise ConfigError(where, "weights other than 1 are not supported by this agent", "Remove weights")
    sidecar = decoded.get("connect", {}).get("sidecar_service")
    if sidecar is not None:
        raise ConfigError(where, _sidecar_problem(sidecar), "Use connect.proxy, and the agent runs the proxy")


def _sidecar_problem(sidecar: Mapping[str, Any]) -> str:
    """Why this ``sidecar_service`` is refused: with the original's words where it would refuse it too (MP-CFG-026)."""
    connect = sidecar.get("connect", {})
    if sidecar.get("id"):
        return "sidecar_service can't specify an ID"
    if "sidecar_service" in connect:
        return "sidecar_service can't have a nested sidecar_service"
    if "proxy" in connect:
        return "sidecar_service can't have a managed proxy"
    return "sidecar_service is not supported by this agent"


def _managed_proxy(decoded: Mapping[str, Any], where: str) -> ManagedProxy:
    problem = exec_mode_problem(decoded.get("exec_mode", ""))
    if problem:
        raise ConfigError(where, problem, 'Use "daemon"')
    config = dict(decoded.get("config", {}))
    legacy = config.pop("upstreams", None)
    upstreams = tuple(_upstream(each) for each in decoded.get("upstreams", ()))
    return ManagedProxy(
        exec_mode=decoded.get("exec_mode", ""),
        command=tuple(decoded.get("command", ())),
        config=config,
        upstreams=upstreams or _legacy_upstreams(legacy),
    )


def _upstream(decoded: Mapping[str, Any]) -> Upstream:
    """A first-class upstream; nothing in it is judged (MP-CFG-012), only the type is filled in (MP-CFG-011)."""
    upstream = Upstream(**decoded)
    return upstream if upstream.destination_type else replace(upstream, destination_type="service")


def _legacy_upstreams(raw: Any) -> tuple[Upstream, ...]:
    """The upstreams of ``config.upstreams``; one that cannot be decoded is skipped (MP-CFG-015)."""
    # A single block of HCL has become an object.
    entries = [raw] if isinstance(raw, dict) else raw if isinstance(raw, list) else []
    entries = [entry for entry in entries if isinstance(entry, dict)]
    upstreams = []
    decoder = Decoder(API, str.lower, strict=False)
    for entry in entries:
        try:
            known = decoder.decode(LEGACY_UPSTREAM, entry)
        except ConfigError:
            continue
        datacenter = known.pop("destination_datacenter", "")
        prepared = known.pop("destination_type", "") == PREPARED_QUERY
        rest = {key: value for key, value in entry.items() if key.lower() not in LEGACY_UPSTREAM.keys}
        upstreams.append(
            Upstream(
                **known,
                destination_type=PREPARED_QUERY if prepared else "service",
                datacenter=datacenter,
                config=rest,
            )
        )
    return tuple(upstreams)


def _check_managed(service: ServiceDefinition, proxy: ManagedProxy, where: str) -> None:
    """What a file must get right beyond its types, so that its managed proxy can run."""
    if service.native:
        raise ConfigError(
            where,
            "Services that are Connect native may not have a proxy configuration",
            "Remove connect.native or connect.proxy",
        )
    if service.port == 0:
        raise ConfigError(
            where,
            "Services with a Connect managed proxy must have a port set",
            "Set port to where the application listens",
        )
    try:
        port = managed_bind_port(proxy.config)
    except ValueError as error:
        raise ConfigError(
            where, f"connect.proxy.config: {error}", "Give a port number or remove it"
        ) from None
    if port is not None and not 0 <= port <= MAX_PORT:
        raise ConfigError(
            where,
            f"connect.proxy.config.bind_port: invalid port: {port}",
            f"Give a port from 1 to {MAX_PORT}",
        )


def _meta_problem(meta: Mapping[str, str]) -> str:
    """What is wrong with service metadata, by the original's limits, or nothing. Values are not quoted."""
    if len(meta) > _META_PAIRS:
        return f"Node metadata cannot contain more than {_META_PAIRS} key/value pairs"
    for key, value in meta.items():
        rules = (
            (not key, "Key cannot be blank"),
            (not re.fullmatch(r"[a-zA-Z0-9_-]+", key), "Key contains invalid characters"),
            (len(key) > _META_KEY, f"Key is too long (limit: {_META_KEY} characters)"),
            (key.startswith("consul-"), "Key prefix 'consul-' is reserved for internal use"),
            (len(value) > _META_VALUE, f"Value is too long (limit: {_META_VALUE} characters)"),
        )
        for broken, problem in rules:
            if broken:
                return f"Couldn't load metadata pair '{key}': {problem}"
    return ""


def _is_any_address(address: str) -> bool:
    try:
        return ipaddress.ip_address(address.strip("[]")).is_unspecified
    except ValueError:
        return False
