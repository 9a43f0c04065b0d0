"""``/v1/agent/service``: the services of this agent, with their proxies, sidecars and maintenance (section API)."""

from __future__ import annotations

from msgspec import UNSET
from msgspec.structs import replace

from reference.access.authorizer import Level, Resource
from reference.agent import proxies
from reference.agent.local_checks import SERVICE_MAINTENANCE, maintenance
from reference.agent.ports import PortsExhausted
from reference.agent.proxies import ProxyError, digest
from reference.agent.services import NotAllowed
from reference.agent.sidecars import sidecar_id
from reference.catalog.model import Service
from reference.config.definition import definition_from_api
from reference.config.errors import ConfigError
from reference.config.model import ServiceDefinition
from reference.http import wire
from reference.http.connect import service_view_of_proxy, until_changed
from reference.http.exchange import Answer, ApiError, Call
from reference.http.values import enabled


async def services(call: Call) -> Answer:
    """``GET /v1/agent/services`` (MP-CAT-001, MP-CAT-004)."""
    call.identify()
    state = call.backend.state
    shown = (
        service for service in state.services() if call.allowed(Resource.SERVICE, service.name, Level.READ)
    )
    return Answer(body={service.id: agent_service(call, service.id) for service in shown})


async def service(call: Call) -> Answer:
    """``GET /v1/agent/service/:id``, hash-blocking (MP-INT-011, MP-INT-013)."""
    service_id = call.path("id")
    state = call.backend.state
    if state.proxy(service_id) is not None:
        return await service_view_of_proxy(call, service_id)

    def read() -> tuple[wire.AgentService, str]:
        record = state.service(service_id)
        if record is None:
            raise ApiError(404, f"unknown proxy service ID: {service_id}")
        call.require(Resource.SERVICE, record.name, Level.READ)
        view = wire.agent_service(record, None)
        view.proxy_destination = UNSET
        view.tags, view.meta = record.tags or None, record.meta or None
        view.content_hash = digest(view)
        return view, view.content_hash

    view, content_hash = await until_changed(call, service_id, read)
    return Answer(body=view, headers={"X-Consul-ContentHash": content_hash})


async def register(call: Call) -> Answer:
    """``PUT /v1/agent/service/register`` (section API). Refused input changes nothing."""
    try:
        body = await call.json()
    except ValueError as error:
        raise ApiError(400, f"Request decode failed: {error}") from error
    if not isinstance(body, dict):
        raise ApiError(400, "Request decode failed: '' expected a map")
    try:
        definition = definition_from_api(body)
    except ConfigError as error:
        raise ApiError(400, error.problem) from error
    if definition.proxy is not None and not call.backend.config.allow_managed_api_registration:
        raise ApiError(400, "Bad request: Managed proxy registration via the API is disallowed.")
    definition = _with_tokens(definition, call.token)
    _require_service(call, definition)
    try:
        call.backend.state.register(definition, from_file=False)
    except NotAllowed as error:
        raise ApiError(400, f"Bad request: {error}") from error
    except ProxyError as error:
        raise ApiError(400, str(error)) from error
    except PortsExhausted as error:
        raise ApiError(500, str(error)) from error
    return Answer()


async def deregister(call: Call) -> Answer:
    """``PUT /v1/agent/service/deregister/:id``; an unknown id is no error (MP-API-004, MP-API-005)."""
    service_id = call.path("id")
    if not service_id:
        raise ApiError(400, "Bad request: ServiceID missing")
    existing = call.backend.state.service(service_id)
    if existing is not None:
        call.require(Resource.SERVICE, existing.name, Level.WRITE)
    elif call.backend.access.enabled:
        # Nobody can be told to be allowed to it.
        raise ApiError(404, f'Unknown service "{service_id}"')
    try:
        call.backend.state.deregister(service_id)
    except NotAllowed as error:
        raise ApiError(400, f"Bad request: {error}") from error
    return Answer()


async def maintain(call: Call) -> Answer:
    """``PUT /v1/agent/service/maintenance/:id?enable=&reason=``: a service out of use, until it is ended."""
    service_id = call.path("id")
    if not service_id:
        raise ApiError(400, "Missing service ID")
    enable = enabled(call)
    state = call.backend.state
    service = state.service(service_id)
    if service is None:
        raise ApiError(404, f'No service registered with ID "{service_id}"')
    call.require(Resource.SERVICE, service.name, Level.WRITE)
    check_id = SERVICE_MAINTENANCE + service_id
    if not enable:
        state.checks.drop(check_id)
    elif state.checks.get(check_id) is None:
        reason = call.query.get("reason", "")
        state.checks.put(maintenance(service, reason=reason, token=call.token))
    return Answer()


def agent_service(call: Call, service_id: str) -> wire.AgentService:
    """A service of this agent as lists show it."""
    state = call.backend.state
    record = state.service(service_id)
    if record is None:
        raise ApiError(404, f"unknown service ID: {service_id}")
    return wire.agent_service(record, state.proxy(proxies.proxy_id(service_id)))


def _with_tokens(definition: ServiceDefinition, token: str) -> ServiceDefinition:
    """What is registered with the token of the caller, and a sidecar with its own if it has one."""
    sidecar = definition.sidecar
    if sidecar is not None:
        sidecar = replace(sidecar, token=sidecar.token or token)
    return replace(definition, token=token, sidecar=sidecar)


def _require_service(call: Call, definition: ServiceDefinition) -> None:
    """Who registers a service may write to it, to the one that it replaces, and to what it stands for."""
    names = {definition.name}
    if definition.destination is not None:
        names.add(definition.destination.service_name)
    replaced: list[Service | None] = [call.backend.state.service(definition.id)]
    sidecar = definition.sidecar
    if sidecar is not None:
        names.add(sidecar.name or f"{definition.name}-sidecar-proxy")
        if sidecar.destination is not None and sidecar.destination.service_name:
            names.add(sidecar.destination.service_name)
        replaced.append(call.backend.state.service(sidecar_id(definition.id)))
    names |= {service.name for service in replaced if service is not None}
    for name in sorted(names):
        call.require(Resource.SERVICE, name, Level.WRITE)
