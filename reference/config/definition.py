"""Service definitions: from checked data to :class:`~reference.config.model.ServiceDefinition`.

:func:`definition_from_file` judges everything that can be judged before the agent starts;
:func:`definition_from_api` is for registrations over HTTP, which the original judges less (MP-API-009).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import Any

from reference.config.checks import STATUSES, CheckDefinition, check_from, checks_from
from reference.config.decode import Decoder
from reference.config.errors import ConfigError
from reference.config.managed import MAX_PORT, check_managed, managed_proxy, upstream
from reference.config.model import CONNECT_PROXY, Destination, ServiceDefinition, Weights
from reference.config.service_tables import API_SERVICE, CHECK

#: The ``where`` of errors in a registration over HTTP.
API = "service registration"

_META_PAIRS, _META_KEY, _META_VALUE = 64, 128, 512
_HEAVIEST = 65535
_BAD_STATUS = "Status for checks must 'passing', 'warning', 'critical'"


def definition_from_file(decoded: Mapping[str, Any], *, where: str) -> ServiceDefinition:
    """The service that a file or fragment defines, decoded by :data:`~reference.config.service_tables.SERVICE` before.

    Raises :class:`ConfigError` for what the original would refuse when it validates, starts, or adds the proxy.
    """
    name = decoded.get("name", "")
    if name:
        where = f'{where}: service "{name}"'
    sidecar = decoded.get("connect", {}).get("sidecar_service")
    if sidecar is not None:
        _check_nesting(
            sidecar,
            where,
            identified="sidecar_service can't specify an ID",
            nested="sidecar_service can't have a nested sidecar_service",
            managed="sidecar_service can't have a managed proxy",
        )
    service = _definition(decoded, where, weights=_file_weights(decoded, where))
    _check_kind(service, where)
    for each in (service, *([service.sidecar] if service.sidecar is not None else [])):
        if problem := metadata_problem(each.meta):
            raise ConfigError(where, f"invalid meta for service {name}: {problem}", "Correct the meta key")
    if service.proxy is not None:
        check_managed(service, service.proxy, where)
    return service


def definition_from_api(body: Mapping[str, Any]) -> ServiceDefinition:
    """The service that the body of ``PUT /v1/agent/service/register`` defines (MP-API-002, MP-API-003, MP-API-009).

    Raises :class:`ConfigError`; its ``problem`` is the text that the original answers, with status 400.
    """
    try:
        decoded = Decoder.for_api(API).decode(API_SERVICE, body)
    except ConfigError as error:
        raise ConfigError(error.where, f"Request decode failed: {error.problem}", error.remedy) from None
    sidecar = decoded.get("connect", {}).get("sidecar_service")
    if sidecar is not None:
        _check_nesting(
            sidecar,
            API,
            identified=_one_error(
                "A SidecarService cannot specify an ID as this is managed by the agent",
            ),
            nested=_one_error("A SidecarService cannot have a nested SidecarService"),
            managed=_one_error("A SidecarService cannot have a managed proxy"),
        )
    service = _definition(decoded, API, weights=_api_weights(decoded))
    if _is_any_address(service.address):
        raise ConfigError(API, "Invalid service address", "Give an address that others can reach")
    if problem := metadata_problem(service.meta):
        raise ConfigError(API, f"Invalid Service Meta: {problem}", "Correct the meta key")
    _check_kind(service, API)
    if service.sidecar is not None and (problem := metadata_problem(service.sidecar.meta)):
        raise ConfigError(
            API, f"Bad request: Invalid SidecarService: {problem}", "Correct the meta key of the sidecar"
        )
    return service


def check_from_file(decoded: Mapping[str, Any], *, where: str) -> CheckDefinition:
    """The check that a file defines by itself, decoded by :data:`~reference.config.service_tables.CHECK` before.

    Raises :class:`ConfigError`.
    """
    check = check_from(decoded, where=where)
    if not (check.id or check.name):
        raise ConfigError(where, "Failed to register check: CheckID missing", "Give the check a name")
    _check_status([check], where, "Bad check status")
    return check


def check_from_api(body: Mapping[str, Any]) -> CheckDefinition:
    """The check that the body of ``PUT /v1/agent/check/register`` defines.

    Raises :class:`ConfigError`; its ``problem`` is the text that the original answers, with status 400.
    """
    where = "check registration"
    try:
        decoded = Decoder.for_api(where).decode(CHECK, body)
    except ConfigError as error:
        raise ConfigError(where, f"Request decode failed: {error.problem}", error.remedy) from None
    if not decoded.get("name"):
        raise ConfigError(where, "Missing check name", "Give the check a name")
    check = check_from(decoded, where=where)
    _check_status([check], where, "Bad check status")
    return check


def _definition(decoded: Mapping[str, Any], where: str, *, weights: Weights) -> ServiceDefinition:
    name = decoded.get("name", "")
    if not name:
        raise ConfigError(where, "Missing service name", "Give the service a name")
    connect = decoded.get("connect", {})
    proxy, sidecar = connect.get("proxy"), connect.get("sidecar_service")
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
        weights=weights,
        proxy=None if proxy is None else managed_proxy(proxy, where),
        sidecar=None if sidecar is None else _sidecar(sidecar, where),
        **_plain(decoded, where),
    )


def _sidecar(decoded: Mapping[str, Any], where: str) -> ServiceDefinition:
    """The sidecar as it was written: what is left out is worked out when it is registered."""
    return ServiceDefinition(
        id="", name=decoded.get("name", ""), weights=_file_weights(decoded, where), **_plain(decoded, where)
    )


def _plain(decoded: Mapping[str, Any], where: str) -> dict[str, Any]:
    """What services and sidecars have in common."""
    port = decoded.get("port", 0)
    if not 0 <= port <= MAX_PORT:
        raise ConfigError(where, f"port: invalid port: {port}", f"Give a port from 1 to {MAX_PORT}")
    kind = decoded.get("kind", "")
    if kind not in ("", CONNECT_PROXY):
        raise ConfigError(
            where, f'unknown kind of service: "{kind}"', f'Use "{CONNECT_PROXY}", or leave it out'
        )
    checks = checks_from(decoded, where=where)
    _check_status(checks, where, _BAD_STATUS)
    return {
        "kind": kind,
        "port": port,
        "address": decoded.get("address", ""),
        "tags": tuple(decoded.get("tags", ())),
        "meta": decoded.get("meta", {}),
        "token": decoded.get("token", ""),
        "enable_tag_override": decoded.get("enable_tag_override", False),
        "native": decoded.get("connect", {}).get("native", False),
        "checks": checks,
        "destination": _destination(decoded),
    }


def _destination(decoded: Mapping[str, Any]) -> Destination | None:
    proxy = decoded.get("proxy")
    if proxy is None:
        legacy = decoded.get("proxy_destination", "")
        return Destination(service_name=legacy) if legacy else None
    return Destination(
        service_name=proxy.get("destination_service_name", "") or decoded.get("proxy_destination", ""),
        service_id=proxy.get("destination_service_id", ""),
        local_address=proxy.get("local_service_address", ""),
        local_port=proxy.get("local_service_port", 0),
        config=proxy.get("config", {}),
        upstreams=tuple(upstream(each) for each in proxy.get("upstreams", ())),
    )


def _check_kind(service: ServiceDefinition, where: str) -> None:
    """What a proxy that the agent does not manage must have."""
    if service.kind != CONNECT_PROXY:
        return
    destination = service.destination
    rules = (
        (
            destination is None or not destination.service_name.strip(),
            "Proxy.DestinationServiceName must be non-empty for Connect proxy services",
        ),
        (service.port == 0, "Port must be set for a Connect proxy"),
        (service.native, "A Proxy cannot also be Connect Native, only typical services"),
    )
    problems = [problem for broken, problem in rules if broken]
    if problems:
        text = f"{len(problems)} error(s) occurred:\n\n" + "\n".join(f"* {problem}" for problem in problems)
        raise ConfigError(where, text, "Say which service the proxy stands for, and on which port")


def _check_nesting(
    sidecar: Mapping[str, Any], where: str, *, identified: str, nested: str, managed: str
) -> None:
    """What a sidecar must not have (MP-CFG-026)."""
    connect = sidecar.get("connect", {})
    rules = (
        (sidecar.get("id"), identified),
        ("sidecar_service" in connect, nested),
        ("proxy" in connect, managed),
    )
    for broken, problem in rules:
        if broken:
            raise ConfigError(where, problem, "Remove it from the sidecar_service")


def _check_status(checks: Iterable[CheckDefinition], where: str, problem: str) -> None:
    for check in checks:
        if check.status not in ("", *STATUSES):
            raise ConfigError(where, problem, f"Use one of {', '.join(STATUSES)}")


def _file_weights(decoded: Mapping[str, Any], where: str) -> Weights:
    weights = Weights(**decoded.get("weights", {}))
    if problem := _weight_problem(weights):
        name = decoded.get("name", "")
        raise ConfigError(where, f"Invalid weight definition for service {name}: {problem}", "Correct it")
    return weights


def _api_weights(decoded: Mapping[str, Any]) -> Weights:
    given = decoded.get("weights")
    if given is None:
        return Weights()
    # Where one of the two is given the other is zero, unlike in a file.
    weights = Weights(passing=given.get("passing", 0), warning=given.get("warning", 0))
    if problem := _weight_problem(weights):
        raise ConfigError(API, f"Invalid Weights: {problem}", "Correct it")
    return weights


def _weight_problem(weights: Weights) -> str:
    if weights.passing < 1:
        return "Passing must be greater than 0"
    if weights.warning < 0:
        return "Warning must be greater or equal than 0"
    if max(weights.passing, weights.warning) > _HEAVIEST:
        return f"DNS Weight must be between 0 and {_HEAVIEST}"
    return ""


def _one_error(problem: str) -> str:
    return f"1 error(s) occurred:\n\n* {problem}"


def metadata_problem(meta: Mapping[str, str]) -> str:
    """What is wrong with metadata of a service or node, by the original's limits, or nothing. Values are not quoted."""
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
