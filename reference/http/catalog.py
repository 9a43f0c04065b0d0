"""``/v1/catalog``: what the mesh knows, and registrations in it from outside. All lists can be read blockingly."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from reference.access.authorizer import Level, Resource
from reference.catalog.model import Check, Indexed, Node, Service
from reference.catalog.register import CatalogError
from reference.catalog.store import Instance
from reference.config.errors import ConfigError
from reference.http import wire
from reference.http.exchange import REFUSED, Answer, ApiError, Call
from reference.http.reading import listed, near, node_meta
from reference.http.registration import Removal, read_registration, read_removal


async def datacenters(call: Call) -> Answer:
    """``GET /v1/catalog/datacenters``: the one there is."""
    return Answer(body=[call.backend.config.datacenter])


async def nodes(call: Call) -> Answer:
    """``GET /v1/catalog/nodes``, with ``?node-meta=`` and ``?near=``."""
    meta, first = node_meta(call), near(call)

    def read() -> list[wire.NodeView]:
        found = [node for node in call.backend.catalog.nodes() if node.value.has_meta(meta)]
        found.sort(key=lambda node: node.value.name.lower() != first)
        return [wire.node(node) for node in found if _may_see(call, node.value)]

    return await listed(call, "nodes", read)


async def node(call: Call) -> Answer:
    """``GET /v1/catalog/node/:node``, by name or id: the node with its services, or ``null``."""
    name = call.path("node")
    if not name:
        raise ApiError(400, "Missing node name")
    catalog = call.backend.catalog

    def read() -> wire.NodeServices | wire.Null:
        found = catalog.node(name)
        if found is None or not _may_see(call, found.value):
            return wire.NULL
        services = catalog.services_on(found.value.name)
        return wire.node_services(
            found, [each for each in services if call.allowed(Resource.SERVICE, each.value.name, Level.READ)]
        )

    known = catalog.node(name)
    return await listed(call, f"node/{(name if known is None else known.value.name).lower()}", read)


async def services(call: Call) -> Answer:
    """``GET /v1/catalog/services``, with ``?node-meta=``: the name of each service with its tags."""
    meta = node_meta(call)

    def read() -> dict[str, Sequence[str]]:
        tags = call.backend.catalog.tags_by_name(meta)
        return {name: tags[name] for name in tags if call.allowed(Resource.SERVICE, name, Level.READ)}

    return await listed(call, "services", read)


async def service(call: Call) -> Answer:
    """``GET /v1/catalog/service/:name``, with ``?tag=``, ``?node-meta=`` and ``?near=``."""
    select = selection(call, call.backend.catalog.instances)
    topic = f"service/{service_name(call)}"
    return await listed(call, topic, lambda: [wire.catalog_entry(i) for i in select()], cacheable=True)


async def connect(call: Call) -> Answer:
    """``GET /v1/catalog/connect/:name``: who speaks for the service in the mesh (MP-CAT-005)."""
    select = selection(call, connect_instances(call))
    topic = f"connect/{service_name(call)}"
    return await listed(call, topic, lambda: [wire.catalog_entry(i) for i in select()], cacheable=True)


async def register(call: Call) -> Answer:
    """``PUT /v1/catalog/register``: a node, and a service and checks on it. Refused input changes nothing."""
    try:
        given, datacenter = read_registration(await call.json(), call.backend.config.datacenter)
    except (ValueError, ConfigError) as error:
        raise ApiError(400, str(error)) from error
    _check_datacenter(call, datacenter)
    catalog = call.backend.catalog
    known = catalog.node(given.node.name)
    if known is None or (not given.skip_node_update and known.value != given.node):
        call.require(Resource.NODE, given.node.name, Level.WRITE)
    on_node = catalog.services_on(given.node.name)
    if given.service is not None:
        call.require(Resource.SERVICE, given.service.name, Level.WRITE)
        if given.service.destination is not None:
            call.require(Resource.SERVICE, given.service.destination.service_name, Level.WRITE)
        _require_service(call, on_node, given.service.id)
    for check in given.checks:
        if given.service is None or check.service_id != given.service.id:
            _require_check(call, given.node.name, on_node, check)
    try:
        call.backend.registered.register(given)
    except CatalogError as error:
        raise ApiError(400, str(error)) from error
    return Answer(body=True)


async def deregister(call: Call) -> Answer:
    """``PUT /v1/catalog/deregister``: a service with its checks, else a check, else a whole node."""
    try:
        removal = read_removal(await call.json())
    except (ValueError, ConfigError) as error:
        raise ApiError(400, str(error)) from error
    _check_datacenter(call, removal.datacenter)
    _require_removal(call, removal)
    try:
        call.backend.registered.deregister(
            removal.node, service_id=removal.service_id, check_id=removal.check_id
        )
    except CatalogError as error:
        raise ApiError(400, str(error)) from error
    return Answer(body=True)


def service_name(call: Call) -> str:
    """The name of a service, in the case of the catalog's topics."""
    name = call.path("name").lower()
    if not name:
        raise ApiError(400, "Missing service name")
    return name


def selection(call: Call, find: Callable[[str], Sequence[Instance]]) -> Callable[[], list[Instance]]:
    """The instances that the query asks for and the caller may see."""
    name, meta, first = service_name(call), node_meta(call), near(call)
    tags = {tag.lower() for tag in call.query.getlist("tag")}

    def select() -> list[Instance]:
        found = [
            instance
            for instance in find(name)
            if tags <= {tag.lower() for tag in instance.service.value.tags}
            and instance.node.value.has_meta(meta)
            and _sees(call, instance)
        ]
        return sorted(found, key=lambda instance: instance.node.value.name.lower() != first)

    return select


def connect_instances(call: Call) -> Callable[[str], Sequence[Instance]]:
    """Who speaks for a service in the mesh, for those who may see that service."""
    find = call.backend.catalog.connect_instances
    return lambda name: find(name) if call.reaches(name) else ()


def _sees(call: Call, instance: Instance) -> bool:
    service = instance.service.value
    return call.sees(node=instance.node.value.name, service=service.name, speaks_for=service.connects_to)


def _may_see(call: Call, node: Node) -> bool:
    return call.allowed(Resource.NODE, node.name, Level.READ)


def _check_datacenter(call: Call, datacenter: str) -> None:
    if datacenter not in ("", call.backend.config.datacenter):
        raise ApiError(REFUSED, "No path to datacenter")


def _require_service(call: Call, on_node: Sequence[Indexed[Service]], service_id: str) -> None:
    """Who replaces or removes a service may write to the one that is there."""
    for known in on_node:
        if known.value.id == service_id:
            call.require(Resource.SERVICE, known.value.name, Level.WRITE)


def _require_check(call: Call, node: str, on_node: Sequence[Indexed[Service]], check: Check) -> None:
    if check.service_id:
        _require_service(call, on_node, check.service_id)
    else:
        call.require(Resource.NODE, node, Level.WRITE)


def _require_removal(call: Call, removal: Removal) -> None:
    """Who may write to a node may remove anything of it; who may write to a service, the service and its checks."""
    if call.allowed(Resource.NODE, removal.node, Level.WRITE):
        return
    catalog = call.backend.catalog
    on_node = catalog.services_on(removal.node)
    about = removal.service_id
    if not about:
        checks = [found.check.value for found in catalog.checks_on(removal.node)]
        about = next((check.service_id for check in checks if check.id == removal.check_id), "")
    names = [known.value.name for known in on_node if about and known.value.id == about]
    call.require(*((Resource.SERVICE, names[0]) if names else (Resource.NODE, removal.node)), Level.WRITE)
