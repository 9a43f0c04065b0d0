"""``/v1/health``: how nodes and services are. All lists can be read blockingly."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from reference.catalog.store import NodeCheck
from reference.http import wire
from reference.http.catalog import connect_instances, selection, service_name
from reference.http.exchange import Answer, ApiError, Call
from reference.http.reading import listed, near, node_meta
from reference.http.values import truth

_ANY = "any"


async def node(call: Call) -> Answer:
    """``GET /v1/health/node/:node``: the checks of a node and its services."""
    name = call.path("node")
    if not name:
        raise ApiError(400, "Missing node name")
    return await _checks(call, lambda: call.backend.catalog.checks_on(name))


async def checks(call: Call) -> Answer:
    """``GET /v1/health/checks/:service``: the checks of the instances of a service."""
    name = service_name(call)
    return await _checks(call, lambda: call.backend.catalog.checks_of(name), topic=f"service/{name}")


async def state(call: Call) -> Answer:
    """``GET /v1/health/state/:state``: all checks in a state, which may be ``any``."""
    wanted = call.path("state")
    if not wanted:
        raise ApiError(400, "Missing check state")

    def read() -> Iterable[NodeCheck]:
        every = call.backend.catalog.checks()
        return [found for found in every if wanted in (_ANY, found.check.value.status)]

    return await _checks(call, read)


async def service(call: Call) -> Answer:
    """``GET /v1/health/service/:name``, with ``?passing``, ``?tag=``, ``?node-meta=`` and ``?near=``."""
    passing = _passing(call)
    select = selection(call, call.backend.catalog.instances)

    def read() -> list[wire.HealthEntry]:
        return [wire.health_entry(i) for i in select() if i.passing or not passing]

    return await listed(call, f"service/{service_name(call)}", read, cacheable=True)


async def connect(call: Call) -> Answer:
    """``GET /v1/health/connect/:name``, with ``?passing`` (MP-CAT-007)."""
    passing = _passing(call)
    select = selection(call, connect_instances(call))

    def read() -> list[wire.HealthEntry]:
        return [wire.health_entry(i) for i in select() if i.passing or not passing]

    return await listed(call, f"connect/{service_name(call)}", read, cacheable=True)


async def _checks(call: Call, find: Callable[[], Iterable[NodeCheck]], *, topic: str = "checks") -> Answer:
    meta, first = node_meta(call), near(call)

    def read() -> Sequence[wire.CheckView]:
        found = [each for each in find() if each.node.has_meta(meta) and _may_see(call, each)]
        found.sort(key=lambda each: each.node.name.lower() != first)
        return [wire.node_check(each) for each in found]

    return await listed(call, topic, read)


def _may_see(call: Call, found: NodeCheck) -> bool:
    return call.sees(node=found.node.name, service=found.check.value.service_name, speaks_for="")


def _passing(call: Call) -> bool:
    text = call.query.get("passing")
    if text is None:
        return False
    value = truth(text) if text else True
    if value is None:
        raise ApiError(400, "Invalid value for ?passing")
    return value
