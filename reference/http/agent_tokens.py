"""``/v1/agent/token``: change the tokens of the agent itself while it runs."""

from __future__ import annotations

import logging

import msgspec

from reference.access.authorizer import Level, Resource
from reference.agent.agent_tokens import NAMES
from reference.http.acl import lower, register_of
from reference.http.exchange import Answer, ApiError, Call

_log = logging.getLogger("agent")


class _Request(msgspec.Struct, rename="lower"):
    token: str = ""


async def update(call: Call) -> Answer:
    """``PUT /v1/agent/token/:name``, under the names of version 1.4 and those before."""
    register_of(call)
    call.require(Resource.AGENT, call.backend.node.name, Level.WRITE)
    try:
        body = await call.json()
        if not isinstance(body, dict):
            raise ValueError("'' expected a map")
        asked = msgspec.convert(lower(body), _Request)
    except ValueError as error:
        raise ApiError(400, f"Request decode failed: {error}") from error
    name = call.path("name")
    if name not in NAMES:
        raise ApiError(404, f'Token "{name}" is unknown')
    call.backend.tokens.update(NAMES[name], asked.token)
    _log.info('Updated agent\'s ACL token "%s"', name)
    return Answer()
