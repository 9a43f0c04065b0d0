"""``/v1/connect/intentions/exact``: intentions by their two names, as clients of later versions speak of them.

An addition: the original had it from 1.9. The rules are those of :mod:`reference.http.intentions`.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from reference.access.authorizer import Level, Resource
from reference.http.exchange import Answer, ApiError, Call
from reference.http.intentions import change, party_in, read_one
from reference.mesh.intentions import Intention, Rule


class _Request(msgspec.Struct, rename="pascal", kw_only=True):
    source_type: str = "consul"
    action: str = ""
    description: str = ""
    meta: Mapping[str, str] = msgspec.field(default_factory=dict)
    permissions: object = None


async def get(call: Call) -> Answer:
    """``GET …/exact?source=&destination=``; 404 when there is none."""
    return await read_one(call, lambda: _found(call))


async def put(call: Call) -> Answer:
    """``PUT …/exact?source=&destination=``: make the intention, or have it say something else."""
    call.check_datacenter()
    source, destination = party_in(call, "source"), party_in(call, "destination")
    call.require(Resource.INTENTION, destination.name, Level.WRITE)
    try:
        asked = msgspec.convert(await call.json(), _Request)
    except ValueError as error:
        raise ApiError(400, f"Request decode failed: {error}") from error
    if asked.permissions:
        raise ApiError(400, "Permissions are about HTTP, and this mesh carries TCP: give an Action")
    rule = Rule(
        source=source,
        destination=destination,
        action=asked.action,
        source_type=asked.source_type,
        description=asked.description,
        meta=asked.meta,
    )
    intentions, old = call.backend.intentions, _found(call)
    change(lambda: intentions.create(rule) if old is None else intentions.replace(old.id, rule))
    return Answer(body=True)


async def delete(call: Call) -> Answer:
    """``DELETE …/exact?source=&destination=``; true also when there was none."""
    call.check_datacenter()
    call.require(Resource.INTENTION, party_in(call, "destination").name, Level.WRITE)
    old = _found(call)
    if old is not None:
        change(lambda: call.backend.intentions.delete(old.id))
    return Answer(body=True)


def _found(call: Call) -> Intention | None:
    """The intention between the two parties that the query names, exactly."""
    return call.backend.intentions.known.between(party_in(call, "source"), party_in(call, "destination"))
