"""``/v1/agent/monitor``: the agent's log as it is written, until its reader hangs up."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

from reference.access.authorizer import Level, Resource
from reference.agent import log
from reference.config.model import LogLevel
from reference.http.exchange import Answer, ApiError, Call

_log = logging.getLogger("agent")


async def monitor(call: Call) -> Answer:
    """``GET /v1/agent/monitor``, with ``?loglevel=``: the latest lines, and then each new one."""
    call.require(Resource.AGENT, call.backend.node.name, Level.READ)
    level = (call.query.get("loglevel") or LogLevel.INFO).upper()
    if level not in [*LogLevel]:
        raise ApiError(400, f"Unknown log level: {level}")
    # A line that waits for more to be compressed with is of no use to whoever watches.
    headers = {"Content-Encoding": "identity"}
    return Answer(stream=_lines(LogLevel(level)), headers=headers)


async def _lines(level: LogLevel) -> AsyncIterator[bytes]:
    follower = log.feed.follow(level)
    try:
        async for line in follower:
            yield f"{line}\n".encode(errors="replace")
    finally:
        log.feed.leave(follower)
        if follower.dropped:
            _log.warning("Dropped %d logs during monitor request", follower.dropped)
