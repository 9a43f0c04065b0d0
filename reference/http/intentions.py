"""``/v1/connect/intentions``: who may talk to whom (section IXN). All reads can be blocking."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TypeVar

import msgspec

from reference.access.authorizer import Level, Resource
from reference.access.tokens import PermissionDenied
from reference.agent.records import Record
from reference.http.exchange import REFUSED, Answer, ApiError, Call
from reference.http.reading import checked_options, query_headers
from reference.mesh.intentions import (
    DEFAULT_NAMESPACE,
    Intention,
    IntentionError,
    Party,
    Rule,
    Side,
    check_id,
)
from reference.mesh.intentions_register import TOPIC

T = TypeVar("T")


class IntentionView(Record, kw_only=True):
    id: str
    description: str
    source_ns: str
    source_name: str
    destination_ns: str
    destination_name: str
    source_type: str
    action: str
    default_addr: str
    default_port: int
    meta: Mapping[str, str]
    precedence: int
    created_at: datetime
    updated_at: datetime
    create_index: int
    modify_index: int


class Created(Record, kw_only=True):
    id: str


class Allowed(Record, kw_only=True):
    allowed: bool


class _Request(msgspec.Struct, kw_only=True):
    """An intention as a user sends it; keys in any case, others than these ignored, as in the original."""

    id: str = ""
    description: str = ""
    sourcens: str = ""
    sourcename: str = ""
    destinationns: str = ""
    destinationname: str = ""
    sourcetype: str = ""
    action: str = ""
    defaultaddr: str = ""
    defaultport: int = 0
    meta: Mapping[str, str] = msgspec.field(default_factory=dict)

    def rule(self) -> Rule:
        """What it says, with the defaults of MP-IXN-001."""
        return Rule(
            source=Party(self.sourcename, self.sourcens or DEFAULT_NAMESPACE),
            destination=Party(self.destinationname, self.destinationns or DEFAULT_NAMESPACE),
            action=self.action,
            source_type=self.sourcetype or "consul",
            description=self.description,
            default_addr=self.defaultaddr,
            default_port=self.defaultport,
            meta=self.meta,
        )


async def list_(call: Call) -> Answer:
    """``GET /v1/connect/intentions``, by precedence (MP-IXN-005)."""
    return await read_blocking(
        call, lambda: [_view(each) for each in call.backend.intentions.known if _readable(call, each)]
    )


async def create(call: Call) -> Answer:
    """``POST /v1/connect/intentions`` (MP-IXN-001 to MP-IXN-003)."""
    call.check_datacenter()
    try:
        asked = await _request(call)
    except ValueError as error:
        raise ApiError(REFUSED, f"Failed to decode request body: {error}") from error
    if asked.id:
        raise ApiError(REFUSED, "ID must be empty when creating a new intention")
    call.require(Resource.INTENTION, asked.destinationname, Level.WRITE)
    return Answer(body=Created(id=change(lambda: call.backend.intentions.create(asked.rule()))))


async def get(call: Call) -> Answer:
    """``GET /v1/connect/intentions/:id`` (MP-IXN-006)."""
    try:
        intention_id = check_id(call.path("id"))
    except IntentionError as error:
        raise ApiError(400, f"Bad request: {error}") from error

    return await read_one(call, lambda: call.backend.intentions.known.get(intention_id))


async def replace(call: Call) -> Answer:
    """``PUT /v1/connect/intentions/:id`` (MP-IXN-007)."""
    call.check_datacenter()
    try:
        asked = await _request(call)
    except ValueError as error:
        raise ApiError(400, f"Request decode failed: {error}") from error
    intentions, intention_id = call.backend.intentions, call.path("id")
    _require_write(call, intention_id)
    call.require(Resource.INTENTION, asked.destinationname, Level.WRITE)
    return Answer(body=Created(id=change(lambda: intentions.replace(intention_id, asked.rule()))))


async def delete(call: Call) -> Answer:
    """``DELETE /v1/connect/intentions/:id`` (MP-IXN-007)."""
    call.check_datacenter()
    _require_write(call, call.path("id"))
    change(lambda: call.backend.intentions.delete(call.path("id")))
    return Answer(body=True)


async def match(call: Call) -> Answer:
    """``GET /v1/connect/intentions/match?by=&name=``: what concerns each of the names (MP-IXN-009)."""
    by = _parameter(call, "by")
    if by not in [*Side]:
        raise ApiError(REFUSED, "'by' parameter must be one of 'source' or 'destination'")
    names = call.query.getlist("name")
    if not names:
        raise _not_set("name")
    parties = {name: _party(name, "name") for name in names}
    known = call.backend.intentions.known

    def read() -> dict[str, list[IntentionView]]:
        for party in parties.values():
            call.require(Resource.INTENTION, party.name, Level.READ)
        return {
            name: [_view(each) for each in known.matching(Side(by), party)] for name, party in parties.items()
        }

    return await read_blocking(call, read)


async def check(call: Call) -> Answer:
    """``GET /v1/connect/intentions/check?source=&destination=`` (MP-IXN-008)."""
    if (source_type := call.query.get("source-type", "consul")) != "consul":
        raise ApiError(REFUSED, f'unsupported SourceType: "{source_type}"')
    who, whom = party_in(call, "source"), party_in(call, "destination")

    def read() -> Allowed:
        call.require(Resource.SERVICE, whom.name, Level.READ)
        decisive = call.backend.intentions.known.deciding(source=who, destination=whom)
        default = call.backend.access.allows_by_default
        return Allowed(allowed=default if decisive is None else decisive.allows)

    return await read_blocking(call, read)


async def read_one(call: Call, find: Callable[[], Intention | None]) -> Answer:
    """The intention that ``find`` gives, for whoever may read it; 404 when there is none."""

    def read() -> IntentionView:
        found = find()
        if found is None:
            raise ApiError(404, "Intention not found")
        if not _readable(call, found):
            raise PermissionDenied
        return _view(found)

    return await read_blocking(call, read)


def _readable(call: Call, intention: Intention) -> bool:
    """Intentions are for those who may read them for their destination, and for who may read access control."""
    destination = intention.rule.destination.name
    return call.allowed(Resource.ACL, "", Level.READ) or call.allowed(
        Resource.INTENTION, destination, Level.READ
    )


def _require_write(call: Call, intention_id: str) -> None:
    """Whoever changes an intention has to be allowed to make it as it is."""
    try:
        found = call.backend.intentions.known.get(check_id(intention_id))
    except IntentionError:
        # Nothing will be changed, and whoever changes it says why.
        return
    if found is not None:
        call.require(Resource.INTENTION, found.rule.destination.name, Level.WRITE)


async def read_blocking(call: Call, read: Callable[[], T]) -> Answer:
    """The answer of ``read``, once the intentions are newer than the caller has seen."""
    checked_options(call)
    call.identify()
    intentions, watch = call.backend.intentions, call.backend.watch
    index, body = await call.newer(
        lambda: (intentions.index, read()), sleep=lambda seconds: watch.wait(TOPIC, seconds=seconds)
    )
    return Answer(body=body, headers=query_headers(index))


async def _request(call: Call) -> _Request:
    """The body. Raises :class:`ValueError`."""
    body = await call.json()
    if body is None:
        return _Request()
    if not isinstance(body, dict):
        raise ValueError("'' expected a map")
    given = {key.lower(): value for key, value in body.items() if value is not None}
    return msgspec.convert(given, _Request)


def change(make: Callable[[], T]) -> T:
    """What ``make`` returns; an intention that cannot be made, or not stored, is an error of the API."""
    try:
        return make()
    except IntentionError as error:
        raise ApiError(REFUSED, str(error)) from error


def _parameter(call: Call, name: str) -> str:
    values = call.query.getlist(name)
    if len(values) != 1:
        raise _not_set(name)
    return values[0]


def party_in(call: Call, name: str) -> Party:
    """The party that a parameter of the query names."""
    return _party(_parameter(call, name), name)


def _not_set(name: str) -> ApiError:
    return ApiError(REFUSED, f"required query parameter '{name}' not set")


def _party(text: str, what: str) -> Party:
    """``name`` or ``namespace/name``."""
    namespace, slash, name = text.partition("/")
    if "/" in name:
        raise ApiError(REFUSED, f"{what} \"{text}\" is invalid: input can contain at most one '/'")
    return Party(name, namespace) if slash else Party(text)


def _view(intention: Intention) -> IntentionView:
    rule = intention.rule
    return IntentionView(
        id=intention.id,
        description=rule.description,
        source_ns=rule.source.namespace,
        source_name=rule.source.name,
        destination_ns=rule.destination.namespace,
        destination_name=rule.destination.name,
        source_type=rule.source_type,
        action=rule.action,
        default_addr=rule.default_addr,
        default_port=rule.default_port,
        meta=rule.meta,
        precedence=rule.precedence,
        created_at=intention.created_at,
        updated_at=intention.updated_at,
        create_index=intention.created,
        modify_index=intention.modified,
    )
