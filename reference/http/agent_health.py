"""``/v1/agent/health``: the services of this agent for load balancers, which read the status code (MP-CAT-012)."""

from __future__ import annotations

from reference.access.authorizer import Level, Resource
from reference.agent.local_checks import NODE_MAINTENANCE, SERVICE_MAINTENANCE
from reference.catalog.model import Check, worst
from reference.http import wire
from reference.http.agent_services import agent_service
from reference.http.exchange import Answer, ApiError, Call

#: How checks of one service are shown: with every option of a check, all at rest.
_CHECK_DEFINITION = {
    "Interval": "0s",
    "Timeout": "0s",
    "DeregisterCriticalServiceAfter": "0s",
    "HTTP": "",
    "Header": None,
    "Method": "",
    "TLSSkipVerify": False,
    "TCP": "",
}
_MAINTENANCE = "maintenance"
_HTTP_STATUS = {"passing": 200, "warning": 429, "critical": 503, _MAINTENANCE: 503}
_NOT_FOUND = 404


async def by_id(call: Call) -> Answer:
    """``GET /v1/agent/health/service/id/:id``."""
    service_id = call.path("id")
    if not service_id:
        raise ApiError(400, "Bad request: Missing serviceID")
    record = call.backend.state.service(service_id)
    # The original shows it to everybody; a service that may not be seen is not here.
    call.require(Resource.SERVICE, service_id if record is None else record.name, Level.READ)
    if record is None:
        gone = wire.ServiceHealth(aggregated_status="critical", service=None, checks=None)
        return _answer(call, gone, reason=f"ServiceId {service_id} not found", status=_NOT_FOUND)
    health = _health(call, service_id)
    status = health.aggregated_status
    return _answer(call, health, reason=status, status=_HTTP_STATUS[status])


async def by_name(call: Call) -> Answer:
    """``GET /v1/agent/health/service/name/:name``: all instances; the status code is that of the worst."""
    name = call.path("name")
    if not name:
        raise ApiError(400, "Bad request: Missing service Name")
    call.require(Resource.SERVICE, name, Level.READ)
    services = [service for service in call.backend.state.services() if service.name == name]
    if not services:
        return _answer(call, [], reason=f"ServiceName {name} Not Found", status=_NOT_FOUND)
    found = [_health(call, service.id) for service in services]
    status = max((health.aggregated_status for health in found), key=lambda each: _HTTP_STATUS[each])
    return _answer(call, found, reason=status, status=_HTTP_STATUS[status])


def _health(call: Call, service_id: str) -> wire.ServiceHealth:
    checks = [*call.backend.checks.of_service(""), *call.backend.checks.of_service(service_id)]
    views = [wire.check(check, call.backend.node.name) for check in checks]
    for view in views:
        view.service_tags, view.definition = view.service_tags or None, _CHECK_DEFINITION
    status = _MAINTENANCE if any(map(_is_maintenance, checks)) else worst({check.status for check in checks})
    return wire.ServiceHealth(aggregated_status=status, service=agent_service(call, service_id), checks=views)


def _is_maintenance(check: Check) -> bool:
    return check.id == NODE_MAINTENANCE or check.id.startswith(SERVICE_MAINTENANCE)


def _answer(
    call: Call, body: wire.ServiceHealth | list[wire.ServiceHealth], *, reason: str, status: int
) -> Answer:
    headers = {"X-Consul-Reason": reason}
    accepted = call.request.headers.get("accept", "")
    if call.query.get("format") == "text" or accepted.startswith("text/plain"):
        return Answer(text=reason, status=status, headers=headers)
    return Answer(body=body, status=status, headers=headers)
