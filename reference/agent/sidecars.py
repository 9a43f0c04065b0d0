"""``connect.sidecar_service``: a second service, worked out from the first one. Pure (section SIDE).

The agent runs no process for it; it is a registration like any other, which comes and goes with its service.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from reference.catalog.model import Service
from reference.config.checks import CheckDefinition
from reference.config.model import CONNECT_PROXY, Destination, ServiceDefinition

_LOOPBACK = "127.0.0.1"
_INTERVAL = 10.0


class NoSidecarPort(ValueError):
    """There is no port for a sidecar; the text is for the user."""


def sidecar_id(service_id: str) -> str:
    """The id of the sidecar of a service."""
    return f"{service_id}-sidecar-proxy"


def sidecar_of(
    service: ServiceDefinition, services: Iterable[Service], *, low: int, high: int
) -> ServiceDefinition | None:
    """The definition of a service's sidecar with everything filled in, or None when it has none.

    Without a port it gets the lowest from ``low`` to ``high`` that none of ``services`` has, or keeps the one that it
    has there. Raises :class:`NoSidecarPort`.
    """
    given = service.sidecar
    if given is None:
        return None
    own_id = sidecar_id(service.id)
    destination = given.destination or Destination(service_name="")
    port = given.port or _port(own_id, services, low=low, high=high)
    return replace(
        given,
        id=own_id,
        name=given.name or f"{service.name}-sidecar-proxy",
        kind=given.kind or CONNECT_PROXY,
        port=port,
        address=given.address or service.address,
        tags=given.tags or service.tags,
        meta=given.meta or service.meta,
        token=given.token or service.token,
        destination=replace(
            destination,
            service_name=destination.service_name or service.name,
            service_id=destination.service_id or service.id,
            local_address=destination.local_address or _LOOPBACK,
            local_port=destination.local_port or service.port,
        ),
        checks=given.checks or _default_checks(service.id, port),
    )


def _default_checks(service_id: str, port: int) -> tuple[CheckDefinition, ...]:
    return (
        CheckDefinition(name="Connect Sidecar Listening", tcp=f"{_LOOPBACK}:{port}", interval=_INTERVAL),
        CheckDefinition(name=f"Connect Sidecar Aliasing {service_id}", alias_service=service_id),
    )


def _port(own_id: str, services: Iterable[Service], *, low: int, high: int) -> int:
    if low < 1 or high < 1:
        raise NoSidecarPort("no port provided for sidecar_service and auto-assignment disabled in config")
    taken = set()
    for service in services:
        if low <= service.port <= high:
            if service.id == own_id:
                return service.port
            taken.add(service.port)
    free = next((port for port in range(low, high + 1) if port not in taken), 0)
    if not free:
        raise NoSidecarPort(
            f"no port provided for sidecar_service and none left in the configured range [{low}, {high}]"
        )
    return free
