"""``/v1/catalog``, ``/v1/health`` and ``/v1/status``: what the mesh knows. All lists can be read blockingly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from reference.catalog.store import Instance
from reference.http import wire
from reference.http.exchange import Answer, ApiError, Call

T = TypeVar("T")

_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})


async def services(call: Call) -> Answer:
    """``GET /v1/catalog/services``: the name of each service with its tags."""
    return await _list(call, "services", call.backend.catalog.tags_by_name)


async def nodes(call: Call) -> Answer:
    """``GET /v1/catalog/nodes``."""
    return await _list(call, "nodes", lambda: [wire.node(n) for n in call.backend.catalog.nodes()])


async def datacenters(call: Call) -> Answer:
    """``GET /v1/catalog/datacenters``: the one there is."""
    return Answer(body=[call.backend.config.datacenter])


async def service(call: Call) -> Answer:
    """``GET /v1/catalog/service/:name``, with ``?tag=``."""
    select = _selection(call, call.backend.catalog.instances)
    return await _list(call, f"service/{_name(call)}", lambda: [wire.catalog_entry(i) for i in select()])


async def connect(call: Call) -> Answer:
    """``GET /v1/catalog/connect/:name``: who speaks for the service in the mesh (MP-CAT-005)."""
    select = _selection(call, call.backend.catalog.connect_instances)
    return await _list(call, f"connect/{_name(call)}", lambda: [wire.catalog_entry(i) for i in select()])


async def service_health(call: Call) -> Answer:
    """``GET /v1/health/service/:name``, with ``?passing`` and ``?tag=``."""
    select = _selection(call, call.backend.catalog.instances)
    return await _list(call, f"service/{_name(call)}", lambda: [wire.health_entry(i) for i in select()])


async def connect_health(call: Call) -> Answer:
    """``GET /v1/health/connect/:name``, with ``?passing`` (MP-CAT-007)."""
    select = _selection(call, call.backend.catalog.connect_instances)
    return await _list(call, f"connect/{_name(call)}", lambda: [wire.health_entry(i) for i in select()])


async def leader(call: Call) -> Answer:
    """``GET /v1/status/leader``: this agent, where the original's servers would listen."""
    return Answer(body=_server(call))


async def peers(call: Call) -> Answer:
    """``GET /v1/status/peers``."""
    return Answer(body=[_server(call)])


def query_headers(index: int) -> dict[str, str]:
    """What accompanies an answer from the catalog; there is one server, so it always leads and is never late."""
    return {
        "X-Consul-Index": str(index),
        "X-Consul-KnownLeader": "true",
        "X-Consul-LastContact": "0",
    }


async def _list(call: Call, topic: str, read: Callable[[], T]) -> Answer:
    call.check_datacenter()
    catalog, watch = call.backend.catalog, call.backend.watch
    index, body = await call.newer(
        lambda: (catalog.index_of(topic), read()), sleep=lambda seconds: watch.wait(topic, seconds=seconds)
    )
    return Answer(body=body, headers={**query_headers(index), "X-Consul-Effective-Consistency": "leader"})


def _name(call: Call) -> str:
    """The name of a service, in the case of the catalog's topics."""
    name = call.path("name").lower()
    if not name:
        raise ApiError(400, "Missing service name")
    return name


def _selection(call: Call, find: Callable[[str], Sequence[Instance]]) -> Callable[[], list[Instance]]:
    name, passing = _name(call), _passing(call)
    tags = set(call.query.getlist("tag"))
    return lambda: [
        instance
        for instance in find(name)
        if tags <= set(instance.service.value.tags) and (instance.passing or not passing)
    ]


def _passing(call: Call) -> bool:
    value = call.query.get("passing")
    if value is None or value in _FALSE:
        return False
    if value and value not in _TRUE:
        raise ApiError(400, "Invalid value for ?passing")
    return True


def _server(call: Call) -> str:
    address = call.backend.node.address
    return f"[{address}]:8300" if ":" in address else f"{address}:8300"
