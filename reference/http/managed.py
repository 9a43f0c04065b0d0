"""``/v1/agent/connect/proxies``: the managed proxies of this agent, for operators. The original has nothing like it."""

from __future__ import annotations

from datetime import datetime

import msgspec

from reference.access.authorizer import Level, Resource
from reference.agent.operations import OperationFailed, View
from reference.config.durations import parse_duration
from reference.http.exchange import Answer, ApiError, Call

#: How long a restart or stop is waited for when the request does not say (s), and at most.
_WAIT, _LONGEST_WAIT = 30.0, 600.0


class Logs(msgspec.Struct, kw_only=True, rename="pascal"):
    """Where a proxy's output is."""

    stdout: str
    stderr: str


class ProxyView(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One managed proxy as the list shows it; times are RFC 3339, what does not apply is left out."""

    proxy_id: str = msgspec.field(name="ProxyID")
    target_id: str = msgspec.field(name="TargetServiceID")
    port: int = msgspec.field(name="Port")
    state: str = msgspec.field(name="State")
    reason: str = msgspec.field(name="Reason")
    ready: bool = msgspec.field(name="Ready")
    crash_loop: bool = msgspec.field(name="CrashLoop")
    outdated: bool = msgspec.field(name="Outdated")
    starts: int = msgspec.field(name="Starts")
    restarts: int = msgspec.field(name="Restarts")
    since: datetime = msgspec.field(name="Since")
    pid: int | None = msgspec.field(name="PID", default=None)
    started: datetime | None = msgspec.field(name="StartedAt", default=None)
    next_start: datetime | None = msgspec.field(name="NextStart", default=None)
    logs: Logs | None = msgspec.field(name="Logs", default=None)


async def list_(call: Call) -> Answer:
    """``GET /v1/agent/connect/proxies``: every managed proxy, by id, that is wanted or still being stopped."""
    call.require(Resource.AGENT, call.backend.node.name, Level.READ)
    return Answer(body=[_view(view) for view in call.backend.operations.views()])


async def restart(call: Call) -> Answer:
    """``PUT /v1/agent/connect/proxies/restart/:id``: answers when the new process is ready.

    ``wait`` is how long that may take; 404 for an id that is not managed, 409 when it failed or took too long.
    """
    proxy_id = _authorized(call)
    try:
        done = await call.backend.operations.restart(proxy_id, seconds=_wait(call))
    except OperationFailed as error:
        raise ApiError(409, str(error)) from error
    return Answer(
        body={"ProxyID": proxy_id, "OldPID": done.old_pid, "NewPID": done.new_pid, "ReadyBy": done.known_by}
    )


async def stop(call: Call) -> Answer:
    """``PUT /v1/agent/connect/proxies/stop/:id``: answers when the process is gone; it is not started again by itself.

    ``wait`` is how long that may take; 404 for an id that is not managed, 409 when it took too long.
    """
    proxy_id = _authorized(call)
    try:
        old_pid = await call.backend.operations.stop(proxy_id, seconds=_wait(call))
    except OperationFailed as error:
        raise ApiError(409, str(error)) from error
    return Answer(body={"ProxyID": proxy_id, "OldPID": old_pid})


def _authorized(call: Call) -> str:
    """The id in the path, of a proxy that there is and that the caller may act on."""
    call.require(Resource.AGENT, call.backend.node.name, Level.WRITE)
    proxy_id = call.path("id")
    if not call.backend.operations.knows(proxy_id):
        raise ApiError(404, f"no managed proxy with the ID {proxy_id}")
    return proxy_id


def _wait(call: Call) -> float:
    text = call.query.get("wait", "")
    try:
        seconds = parse_duration(text) if text else 0.0
    except ValueError as error:
        raise ApiError(400, "Invalid wait time") from error
    return min(seconds, _LONGEST_WAIT) if seconds > 0 else _WAIT


def _view(view: View) -> ProxyView:
    status = view.status
    return ProxyView(
        proxy_id=status.proxy_id,
        target_id=view.target_id,
        port=view.port,
        state=str(status.state),
        reason=status.reason,
        ready=view.ready,
        crash_loop=view.crash_loop,
        outdated=status.outdated,
        starts=status.starts,
        restarts=status.restarts,
        since=view.since,
        pid=status.pid,
        started=view.started,
        next_start=view.next_start,
        logs=None if view.logs is None else Logs(stdout=str(view.logs[0]), stderr=str(view.logs[1])),
    )
