"""``/v1/query``: prepared queries, made and executed (section PQ)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import msgspec

from reference.access.authorizer import Level, Resource
from reference.access.tokens import PermissionDenied
from reference.agent.records import Record
from reference.catalog.store import Instance
from reference.http import wire
from reference.http.exchange import REFUSED, Answer, ApiError, Call
from reference.http.query_wire import DnsView, QueryView, read_definition, view
from reference.http.reading import checked_options, query_headers
from reference.query.execution import Asker
from reference.query.model import Definition, PreparedQuery, QueryError, QueryNotFound
from reference.query.register import TOPIC

T = TypeVar("T")

_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})


class Created(Record, kw_only=True):
    id: str


class Executed(Record, kw_only=True):
    service: str
    nodes: Sequence[wire.HealthEntry]
    dns: DnsView = msgspec.field(name="DNS")
    datacenter: str
    failovers: int = 0
    index: int = 0
    last_contact: int = 0
    known_leader: bool = True
    consistency_level: str


class Explained(Record, kw_only=True):
    query: QueryView
    index: int = 0
    last_contact: int = 0
    known_leader: bool = True
    consistency_level: str


async def list_(call: Call) -> Answer:
    """``GET /v1/query``, blocking: the queries whose names the caller may read, by id."""
    call.identify()
    return await _read(call, lambda: [_shown(call, query) for query in _visible(call, call.backend.queries)])


async def create(call: Call) -> Answer:
    """``POST /v1/query``."""
    query_id, definition = await _definition(call)
    call.check_datacenter()
    if query_id:
        raise ApiError(REFUSED, "ID must be empty when creating a new prepared query")
    _require_write(call, definition)
    return Answer(body=Created(id=_refusing(lambda: call.backend.queries.create(definition))))


async def get(call: Call) -> Answer:
    """``GET /v1/query/:id``, blocking: a list of one."""
    query_id = call.path("id")

    def read() -> list[QueryView]:
        query = _refusing(lambda: call.backend.queries.get(query_id))
        # Who has the id of a query without a name has the query.
        if query.definition.acl_prefix is not None and not _visible(call, [query]):
            raise PermissionDenied
        return [_shown(call, query)]

    return await _read(call, read)


async def replace(call: Call) -> Answer:
    """``PUT /v1/query/:id``; the id in the path counts."""
    body = await call.request.body()
    _, definition = await _definition(call) if body.strip() else ("", Definition())
    call.check_datacenter()
    _require_write(call, definition)
    queries, query_id = call.backend.queries, call.path("id")
    _require_write(call, _refusing(lambda: queries.existing(query_id)).definition)
    _refusing(lambda: queries.replace(query_id, definition))
    return Answer()


async def delete(call: Call) -> Answer:
    """``DELETE /v1/query/:id``."""
    call.check_datacenter()
    queries, query_id = call.backend.queries, call.path("id")
    _require_write(call, _refusing(lambda: queries.existing(query_id)).definition)
    _refusing(lambda: queries.delete(query_id))
    return Answer()


async def execute(call: Call) -> Answer:
    """``GET /v1/query/:id/execute``, by id or name (MP-PQ-001 to MP-PQ-003)."""
    level = checked_options(call, cached="cached" in call.query)
    asker = Asker(
        token=call.token,
        address=call.request.client.host if call.request.client is not None else "",
        near=call.query.get("near", ""),
        connect=_flag(call, "connect"),
        passing=_flag(call, "passing"),
        limit=_limit(call),
    )
    found = _refusing(lambda: call.backend.executor.execute(call.path("id"), asker))
    return _answer(
        Executed(
            service=found.definition.service.service,
            nodes=[_found(instance) for instance in found.instances],
            dns=DnsView(ttl=found.definition.dns_ttl),
            datacenter=call.backend.config.datacenter,
            consistency_level=level,
        ),
        cached="cached" in call.query,
    )


async def explain(call: Call) -> Answer:
    """``GET /v1/query/:id/explain``: the query that a name leads to, as it is executed for that name."""
    level = checked_options(call)
    _limit(call)
    query = _refusing(lambda: call.backend.queries.resolve(call.path("id")))
    if not _visible(call, [query]):
        raise PermissionDenied
    return _answer(Explained(query=_shown(call, query), consistency_level=level), cached=False)


def _found(instance: Instance) -> wire.HealthEntry:
    """An instance as ``/v1/health`` shows it, but for tags that are not there: executions leave them null."""
    entry = wire.health_entry(instance)
    entry.service.tags = entry.service.tags or None
    for check in entry.checks:
        check.service_tags = check.service_tags or None
    return entry


async def _read(call: Call, read: Callable[[], T]) -> Answer:
    level = checked_options(call)
    queries, watch = call.backend.queries, call.backend.watch
    index, body = await call.newer(
        lambda: (queries.index, read()), sleep=lambda seconds: watch.wait(TOPIC, seconds=seconds)
    )
    return Answer(body=body, headers={**query_headers(index), "X-Consul-Effective-Consistency": level})


def _answer(body: Executed | Explained, *, cached: bool) -> Answer:
    # The original does not let these be waited for.
    headers = {**query_headers(1), "X-Consul-Effective-Consistency": body.consistency_level}
    if cached:
        headers |= {"X-Cache": "HIT", "Age": "0"}
    return Answer(body=body, headers=headers)


async def _definition(call: Call) -> tuple[str, Definition]:
    try:
        return read_definition(await call.json())
    except ValueError as error:
        raise ApiError(400, f"Request decode failed: {error}") from error


def _refusing(work: Callable[[], T]) -> T:
    try:
        return work()
    except QueryNotFound as error:
        raise ApiError(404, str(error)) from error
    except QueryError as error:
        raise ApiError(REFUSED, str(error)) from error


def _sees_all(call: Call) -> bool:
    return call.allowed(Resource.ACL, "", Level.WRITE)


def _visible(call: Call, queries: Iterable[PreparedQuery]) -> list[PreparedQuery]:
    """Those whose names the caller may read; a query without a name is seen by who sees everything."""
    if _sees_all(call):
        return list(queries)
    return [
        query
        for query in queries
        if (prefix := query.definition.acl_prefix) is not None
        and call.allowed(Resource.QUERY, prefix, Level.READ)
    ]


def _require_write(call: Call, definition: Definition) -> None:
    if (prefix := definition.acl_prefix) is not None:
        call.require(Resource.QUERY, prefix, Level.WRITE)


def _shown(call: Call, query: PreparedQuery) -> QueryView:
    return view(query, hide_token=not _sees_all(call))


def _limit(call: Call) -> int:
    text = call.query.get("limit", "")
    if not text:
        return 0
    if not re.fullmatch("[+-]?[0-9]{1,18}", text):
        raise ApiError(REFUSED, f'Bad limit: strconv.Atoi: parsing "{text}": invalid syntax')
    return int(text)


def _flag(call: Call, name: str) -> bool:
    text = call.query.get(name, "")
    if text and text not in _TRUE | _FALSE:
        raise ApiError(
            REFUSED, f"Error parsing '{name}' value: strconv.ParseBool: parsing \"{text}\": invalid syntax"
        )
    return text in _TRUE
