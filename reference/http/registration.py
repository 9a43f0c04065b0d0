"""The bodies of ``/v1/catalog/register`` and ``deregister``: from JSON to records. Keys in any case, as users write."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

import msgspec

from reference.catalog.model import Check, CheckPlan, Node, Service, Status
from reference.catalog.register import Registration
from reference.config.decode import Decoder
from reference.config.definition import metadata_problem
from reference.config.errors import ConfigError
from reference.config.kinds import (
    BOOLEAN,
    INTEGER,
    SPAN,
    STRING,
    STRING_MAP,
    STRINGS,
    ListOf,
    MapOf,
    Section,
)
from reference.config.model import CONNECT_PROXY, Destination, Upstream, Weights
from reference.config.service_tables import PROXY, WEIGHTS

_WHERE = "catalog registration"
_HEAVIEST = 65535

_CHECK = Section(
    {
        **dict.fromkeys(
            ("node", "check_id", "name", "status", "notes", "output", "service_id", "service_name"), STRING
        ),
        "service_tags": STRINGS,
        "definition": Section(
            {
                **dict.fromkeys(("http", "method", "tcp"), STRING),
                **dict.fromkeys(("interval", "timeout", "deregister_critical_service_after"), SPAN),
                "tls_skip_verify": BOOLEAN,
                "header": MapOf(STRINGS),
            }
        ),
    }
)
_SERVICE = Section(
    {
        **dict.fromkeys(("kind", "id", "service", "address", "proxy_destination"), STRING),
        "tags": STRINGS,
        "meta": STRING_MAP,
        "port": INTEGER,
        "weights": WEIGHTS,
        "enable_tag_override": BOOLEAN,
        "proxy": PROXY,
        "connect": Section({"native": BOOLEAN}),
    }
)
_REGISTRATION = Section(
    {
        **dict.fromkeys(("datacenter", "id", "node", "address"), STRING),
        **dict.fromkeys(("tagged_addresses", "node_meta"), STRING_MAP),
        "service": _SERVICE,
        "check": _CHECK,
        "checks": ListOf(_CHECK),
        "skip_node_update": BOOLEAN,
    }
)
_REMOVAL = Section(dict.fromkeys(("datacenter", "node", "service_id", "check_id"), STRING))


class Removal(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be deregistered, see :meth:`~reference.catalog.register.CatalogRegister.deregister`."""

    node: str
    datacenter: str
    service_id: str
    check_id: str


def read_registration(body: object, datacenter: str) -> tuple[Registration, str]:
    """What is to be registered, and the datacenter that the caller named. Raises :class:`ValueError`."""
    decoded = _decode(_REGISTRATION, body)
    name = decoded.get("node", "")
    service = decoded.get("service")
    checks = [*decoded.get("checks", ()), *([decoded["check"]] if "check" in decoded else [])]
    node = Node(
        id=decoded.get("id", "").lower(),
        name=name,
        address=decoded.get("address", ""),
        datacenter=datacenter,
        tagged_addresses=decoded.get("tagged_addresses"),
        meta=decoded.get("node_meta"),
    )
    given = Registration(
        node=node,
        service=None if service is None else _service(service, name),
        checks=tuple(_check(check, name) for check in checks),
        skip_node_update=decoded.get("skip_node_update", False),
    )
    return given, decoded.get("datacenter", "")


def read_removal(body: object) -> Removal:
    """What is to be deregistered. Raises :class:`ValueError`."""
    decoded = _decode(_REMOVAL, body)
    return Removal(**{key: decoded.get(key, "") for key in _REMOVAL.keys})


def service_from(decoded: Mapping[str, Any]) -> Service:
    """The record of a service as the catalog takes it, decoded before."""
    name, kind = decoded.get("service", ""), decoded.get("kind", "")
    weights = Weights(**decoded.get("weights", {}))
    if not (1 <= weights.passing <= _HEAVIEST and 0 <= weights.warning <= _HEAVIEST):
        # So does the original: whoever registers nodes from outside may send zeroes.
        weights = Weights()
    return Service(
        id=decoded.get("id", "") or name,
        name=name,
        kind=kind,
        port=decoded.get("port", 0),
        address=decoded.get("address", ""),
        tags=tuple(decoded.get("tags", ())),
        meta=decoded.get("meta", {}),
        weights=weights,
        enable_tag_override=decoded.get("enable_tag_override", False),
        native=decoded.get("connect", {}).get("native", False),
        destination=_destination(decoded) if kind == CONNECT_PROXY else None,
    )


def _decode(section: Section, body: object) -> Mapping[str, Any]:
    if not isinstance(body, dict):
        raise ValueError("Request decode failed: '' expected a map")
    try:
        decoded: Mapping[str, Any] = Decoder.for_api(_WHERE).decode(section, body)
    except ConfigError as error:
        raise ValueError(f"Request decode failed: {error.problem}") from None
    return decoded


def _service(decoded: Mapping[str, Any], node: str) -> Service:
    service = service_from(decoded)
    if _is_any(service.address):
        raise ValueError("Invalid service address")
    if problem := metadata_problem(service.meta):
        raise ValueError(
            f"failed inserting service: Invalid Service Meta for node {node} and serviceID {service.id}: {problem}"
        )
    return service


def _destination(decoded: Mapping[str, Any]) -> Destination:
    proxy = decoded.get("proxy", {})
    return Destination(
        service_name=proxy.get("destination_service_name", "") or decoded.get("proxy_destination", ""),
        service_id=proxy.get("destination_service_id", ""),
        local_address=proxy.get("local_service_address", ""),
        local_port=proxy.get("local_service_port", 0),
        config=proxy.get("config", {}),
        upstreams=tuple(
            Upstream(**{"destination_type": "", **upstream}) for upstream in proxy.get("upstreams", ())
        ),
    )


def _check(decoded: Mapping[str, Any], node: str) -> Check:
    if decoded.get("node", "") not in ("", node):
        raise ValueError(f'check node "{decoded["node"]}" does not match node "{node}"')
    status = decoded.get("status", "") or Status.CRITICAL
    if status not in [*Status]:
        raise ValueError(f'Bad check status "{status}": it is one of {", ".join(Status)}')
    plan = decoded.get("definition", {})
    return Check(
        id=decoded.get("check_id", "") or decoded.get("name", ""),
        name=decoded.get("name", ""),
        status=Status(status),
        notes=decoded.get("notes", ""),
        output=decoded.get("output", ""),
        service_id=decoded.get("service_id", ""),
        service_name=decoded.get("service_name", ""),
        service_tags=tuple(decoded.get("service_tags", ())),
        plan=CheckPlan(
            http=plan.get("http", ""),
            tls_skip_verify=plan.get("tls_skip_verify", False),
            header=plan.get("header", {}),
            method=plan.get("method", ""),
            tcp=plan.get("tcp", ""),
            interval=plan.get("interval", 0.0),
            timeout=plan.get("timeout", 0.0),
            deregister_after=plan.get("deregister_critical_service_after", 0.0),
        ),
    )


def _is_any(address: str) -> bool:
    try:
        return ipaddress.ip_address(address.strip("[]")).is_unspecified
    except ValueError:
        return False
