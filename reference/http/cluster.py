"""``/v1/agent/members``, ``join``, ``force-leave`` and ``leave``: the cluster, of which this agent is all there is."""

from __future__ import annotations

from reference.access.authorizer import Level, Resource
from reference.http.exchange import Answer, ApiError, Call
from reference.http.version import API_VERSION

_ALL_SEGMENTS = "_all"
_ALONE = "this agent is a cluster of its own"


async def members(call: Call) -> Answer:
    """``GET /v1/agent/members``, with ``?wan`` and ``?segment=``: this agent is the only one."""
    segment = call.query.get("segment", "")
    wan = bool(call.query.get("wan"))
    if segment not in ("", _ALL_SEGMENTS):
        if wan:
            raise ApiError(400, "Cannot provide a segment with wan=true")
        raise ApiError(400, f"{_ALONE}, without segments: {segment} is not known")
    node = call.backend.node
    if not call.allowed(Resource.NODE, node.name, Level.READ):
        return Answer(body=[])
    return Answer(body=[member(call, name=f"{node.name}.{node.datacenter}" if wan else node.name)])


async def join(call: Call) -> Answer:
    """``PUT /v1/agent/join/:address``: refused."""
    call.require(Resource.AGENT, call.backend.node.name, Level.WRITE)
    raise ApiError(400, f"{_ALONE} and joins no other; its services are reached through its catalog")


async def force_leave(call: Call) -> Answer:
    """``PUT /v1/agent/force-leave/:node``: nobody can be made to leave."""
    call.require(Resource.AGENT, call.backend.node.name, Level.WRITE)
    name = call.path("node")
    if name == call.backend.node.name:
        raise ApiError(400, f"{_ALONE}; use /v1/agent/leave to end it")
    raise ApiError(400, f"{_ALONE}, and {name or 'nobody'} is no member of it")


async def leave(call: Call) -> Answer:
    """``PUT /v1/agent/leave``: the agent ends, its proxies stay where they can be adopted (MP-LIFE-007)."""
    call.require(Resource.AGENT, call.backend.node.name, Level.WRITE)
    call.backend.leave()
    return Answer()


def member(call: Call, *, name: str) -> dict[str, object]:
    """This agent as a member of its cluster."""
    node = call.backend.node
    return {
        "Name": name,
        "Addr": node.address,
        "Port": 8302 if name != node.name else 8301,
        "Tags": {
            "acls": "1" if call.backend.access.enabled else "0",
            "build": f"{API_VERSION}:proxyproof",
            "dc": node.datacenter,
            "id": node.id,
            "port": "8300",
            "role": "consul",
            "segment": "",
        },
        "Status": 1,
        "ProtocolMin": 1,
        "ProtocolMax": 5,
        "ProtocolCur": 2,
        "DelegateMin": 2,
        "DelegateMax": 5,
        "DelegateCur": 4,
    }
