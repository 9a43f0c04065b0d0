"""``/v1/agent/check``: the checks of this agent, what TTL checks are told, and the maintenance of the node."""

from __future__ import annotations

import msgspec

from reference.access.authorizer import Level, Resource
from reference.agent.local_checks import NODE_MAINTENANCE, check_id_of, maintenance
from reference.agent.looking import LONGEST_OUTPUT
from reference.agent.services import NotAllowed
from reference.catalog.model import Check, Status
from reference.config.definition import check_from_api
from reference.config.errors import ConfigError
from reference.http import wire
from reference.http.exchange import Answer, ApiError, Call, Handler
from reference.http.values import enabled


class _Update(msgspec.Struct, kw_only=True):
    status: str = ""
    output: str = ""


async def checks(call: Call) -> Answer:
    """``GET /v1/agent/checks`` (MP-CAT-006)."""
    call.identify()
    node, records = call.backend.node.name, call.backend.checks.records()
    shown = {key: check for key, check in records.items() if _allowed(call, check, Level.READ)}
    return Answer(body={key: wire.check(value, node) for key, value in shown.items()})


async def register(call: Call) -> Answer:
    """``PUT /v1/agent/check/register``: a check of a service, or of the node. Refused input changes nothing."""
    body = await _body(call)
    try:
        definition = check_from_api(body)
    except ConfigError as error:
        raise ApiError(400, error.problem) from error
    state = call.backend.state
    service = state.service(definition.service_id)
    name = "" if service is None else service.name
    _require(call, Check(id="", name="", status=Status.PASSING, service_name=name))
    existing = call.backend.checks.records().get(check_id_of(definition))
    if existing is not None:
        _require(call, existing)
    try:
        state.register_check(definition, token=call.token, from_file=False)
    except NotAllowed as error:
        raise ApiError(400, str(error)) from error
    return Answer()


async def deregister(call: Call) -> Answer:
    """``PUT /v1/agent/check/deregister/:id``; an unknown id is no error."""
    check_id = call.path("id")
    if not check_id:
        raise ApiError(400, "CheckID missing")
    _require_known(call, check_id)
    state = call.backend.state
    if check_id not in {check.id for check in state.checks} and check_id in call.backend.checks.records():
        raise ApiError(400, f"check ID {check_id} belongs to a managed proxy, and goes with it")
    state.checks.drop(check_id)
    return Answer()


def told(status: Status) -> Handler:
    """``PUT /v1/agent/check/pass/:id`` and the like, with ``?note=``: tell a TTL check how its service is."""

    async def answer(call: Call) -> Answer:
        """Tell a TTL check how its service is."""
        return _tell(call, status, call.query.get("note", ""))

    return answer


async def update(call: Call) -> Answer:
    """``PUT /v1/agent/check/update/:id``: the same with a body."""
    body = await _body(call)
    try:
        # Keys in any case, as the original reads them.
        asked = msgspec.convert({str(key).lower(): value for key, value in body.items()}, _Update)
    except ValueError as error:
        raise ApiError(400, f"Request decode failed: {error}") from error
    if asked.status not in [*Status]:
        raise ApiError(400, f"Invalid check status: '{asked.status}'")
    output = asked.output.encode()
    text = asked.output
    if len(output) > LONGEST_OUTPUT:
        kept = output[:LONGEST_OUTPUT].decode("utf-8", "ignore")
        text = f"{kept} ... (captured {LONGEST_OUTPUT} of {len(output)} bytes)"
    return _tell(call, Status(asked.status), text)


async def maintain(call: Call) -> Answer:
    """``PUT /v1/agent/maintenance?enable=&reason=``: the whole node out of use, until it is ended."""
    enable = enabled(call)
    call.require(Resource.NODE, call.backend.node.name, Level.WRITE)
    checks = call.backend.state.checks
    if not enable:
        checks.drop(NODE_MAINTENANCE)
    elif checks.get(NODE_MAINTENANCE) is None:
        checks.put(maintenance(None, reason=call.query.get("reason", ""), token=call.token))
    return Answer()


def _tell(call: Call, status: Status, output: str) -> Answer:
    check_id = call.path("id")
    _require_known(call, check_id)
    try:
        call.backend.checks.set_result(check_id, status, output)
    except ValueError as error:
        raise ApiError(400, str(error)) from error
    return Answer()


async def _body(call: Call) -> dict[str, object]:
    try:
        body = await call.json()
    except ValueError as error:
        raise ApiError(400, f"Request decode failed: {error}") from error
    if not isinstance(body, dict):
        raise ApiError(400, "Request decode failed: '' expected a map")
    return body


def _allowed(call: Call, check: Check, level: Level) -> bool:
    """A check is its service's business, one of the node the node's."""
    if check.service_name:
        return call.allowed(Resource.SERVICE, check.service_name, level)
    return call.allowed(Resource.NODE, call.backend.node.name, level)


def _require(call: Call, check: Check) -> None:
    if check.service_name:
        call.require(Resource.SERVICE, check.service_name, Level.WRITE)
    else:
        call.require(Resource.NODE, call.backend.node.name, Level.WRITE)


def _require_known(call: Call, check_id: str) -> None:
    existing = call.backend.checks.records().get(check_id)
    if existing is not None:
        _require(call, existing)
    elif call.backend.access.enabled:
        # Nobody can be told to be allowed to it.
        raise ApiError(404, f'Unknown check "{check_id}"')
