"""What operators see of managed proxies, and what they can have done to them.

The supervisor knows processes, the local state knows services and ports, the checks know who listens: here they are
seen together. Nothing of this is the original's.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import msgspec

from reference.agent.checks import HealthChecks
from reference.agent.looking import look_tcp
from reference.agent.proxies import check_target
from reference.agent.services import LocalState
from reference.catalog.model import Status
from reference.catalog.watch import Watch
from reference.config.model import AgentConfig
from reference.supervisor.linux import CLOCK_TICKS
from reference.supervisor.logs import log_paths
from reference.supervisor.spec import ProxyState, ProxyStatus, Tally

#: Why a proxy is restarted or stopped, as its status and the log have it.
ASKED = "an operator asked for it"
#: How long a look at a listener may take, and the pauses between looks (s).
_LOOK_SECONDS, _FIRST_PAUSE, _LONGEST_PAUSE, _PAUSE_FACTOR = 5.0, 0.02, 1.0, 1.5


class Supervised(Protocol):
    """What is needed of the supervisor."""

    def status(self) -> Mapping[str, ProxyStatus]:
        """Every proxy that is wanted or still being stopped."""

    def tally(self) -> Tally:
        """What supervision came to since the agent began."""

    def restart(self, proxy_id: str, *, reason: str) -> bool:
        """Have one started afresh; False where its state does not allow it now."""

    def hold(self, proxy_id: str, *, reason: str) -> bool:
        """Have one stopped until a restart is asked for; False where its state does not allow it now."""


class View(msgspec.Struct, frozen=True, kw_only=True):
    """One managed proxy, seen from all sides.

    ``target_id`` and ``port`` are empty for one whose service is gone and that is still being stopped. ``crash_loop``
    tells that it has crashed so often that its starts are delayed. ``started`` is when its process began,
    ``next_start`` when one in back-off is started again.
    """

    target_id: str
    port: int
    status: ProxyStatus
    ready: bool
    crash_loop: bool
    since: datetime
    started: datetime | None
    next_start: datetime | None
    logs: tuple[Path, Path] | None


class Restarted(msgspec.Struct, frozen=True, kw_only=True):
    """A restart that is over. ``known_by`` tells how the new process was found ready: it sent a ``notice``, its
    ``listener`` answers, or, where its check is switched off, merely that it is ``running``."""

    old_pid: int | None
    new_pid: int
    known_by: str


class OperationFailed(Exception):
    """It could not be done, or not in time; the text is for the operator."""


class UnknownProxy(LookupError):
    """No proxy is managed under this id."""


class Operations:
    """What the endpoints under ``/v1/agent/connect/proxies`` stand on."""

    def __init__(
        self,
        proxies: Supervised,
        *,
        state: LocalState,
        checks: HealthChecks,
        watch: Watch,
        config: AgentConfig,
    ) -> None:
        self._proxies = proxies
        self._state = state
        self._checks = checks
        self._watch = watch
        self._config = config

    def views(self) -> tuple[View, ...]:
        """Every managed proxy, by id."""
        return tuple(self._view(status) for _, status in sorted(self._proxies.status().items()))

    def knows(self, proxy_id: str) -> bool:
        """Whether a proxy is managed under this id."""
        return proxy_id in self._proxies.status()

    def tally(self) -> Tally:
        """What supervision came to since the agent began."""
        return self._proxies.tally()

    def heard(self, proxy_id: str, status: ProxyStatus | None) -> None:
        """The supervisor has news of this proxy: its check says so, and looks again; who waits for news goes on."""
        if status is not None:
            self._checks.tell(proxy_id, self._trouble(status))
            if status.state is not ProxyState.STARTING:
                self._checks.look_now(proxy_id)
        self._watch.notify(_topic(proxy_id))

    def _trouble(self, status: ProxyStatus) -> str:
        """What a critical check should add about the process; empty when there is nothing to say."""
        if status.state is ProxyState.RUNNING:
            return ""
        crashes = f", {status.starts} starts in a row" if status.state is ProxyState.BACKOFF else ""
        data_dir = self._config.data_dir
        logs = "" if data_dir is None else f"; its logs: {log_paths(data_dir, status.proxy_id)[1].parent}"
        return f"the proxy is {status.state}: {status.reason or 'first start'}{crashes}{logs}"

    async def restart(self, proxy_id: str, *, seconds: float) -> Restarted:
        """Start a proxy afresh and wait until the new process is ready.

        Raises :class:`UnknownProxy`, and :class:`OperationFailed` when it is not ready after ``seconds``.
        """
        old_pid = self._status(proxy_id).pid
        deadline = time.monotonic() + seconds
        if not self._proxies.restart(proxy_id, reason=ASKED):
            status = self._status(proxy_id)
            raise OperationFailed(f"{proxy_id} cannot be restarted, it is {status.state}: {status.reason}")
        pause = _FIRST_PAUSE
        while True:
            status = self._status(proxy_id)
            process = status.process
            if status.state is ProxyState.RUNNING and process is not None and process.pid != old_pid:
                known_by = await self._readiness(proxy_id, status)
                if known_by and self._is_still(status):
                    return Restarted(old_pid=old_pid, new_pid=process.pid, known_by=known_by)
            remaining = deadline - time.monotonic()
            if remaining <= 0 or self._watch.closed:
                raise OperationFailed(
                    f"{proxy_id} is not ready {seconds:g}s after its restart: {status.state}, {status.reason}"
                )
            await self._watch.wait(_topic(proxy_id), seconds=min(pause, remaining))
            pause = min(pause * _PAUSE_FACTOR, _LONGEST_PAUSE)

    async def stop(self, proxy_id: str, *, seconds: float) -> int | None:
        """Stop a proxy until a restart is asked for, and wait for its end; the pid that it had.

        Raises :class:`UnknownProxy`, and :class:`OperationFailed` when it is still there after ``seconds``.
        """
        old_pid = self._status(proxy_id).pid
        deadline = time.monotonic() + seconds
        self._proxies.hold(proxy_id, reason=ASKED)
        while True:
            status = self._proxies.status().get(proxy_id)
            if status is None or status.state in (ProxyState.STOPPED, ProxyState.REFUSED):
                return old_pid
            remaining = deadline - time.monotonic()
            if remaining <= 0 or self._watch.closed:
                raise OperationFailed(
                    f"{proxy_id} is still there after {seconds:g}s: {status.state}, {status.reason}"
                )
            await self._watch.wait(_topic(proxy_id), seconds=remaining)

    async def _readiness(self, proxy_id: str, status: ProxyStatus) -> str:
        """How the process is known to be ready; empty when it is not."""
        if status.ready:
            return "notice"
        managed = self._state.proxy(proxy_id)
        if managed is None:
            return ""
        target = check_target(self._state.effective_config(managed))
        if target is None:
            return "running"
        found, _ = await look_tcp(*target, seconds=_LOOK_SECONDS)
        return "listener" if found is Status.PASSING else ""

    def _is_still(self, status: ProxyStatus) -> bool:
        now = self._proxies.status().get(status.proxy_id)
        return now is not None and now.process == status.process

    def _status(self, proxy_id: str) -> ProxyStatus:
        status = self._proxies.status().get(proxy_id)
        if status is None:
            raise UnknownProxy(proxy_id)
        return status

    def _view(self, status: ProxyStatus) -> View:
        managed = self._state.proxy(status.proxy_id)
        now, data_dir = time.monotonic(), self._config.data_dir
        running = status.state is ProxyState.RUNNING
        check = self._checks.of_proxy(status.proxy_id)
        listening = check is not None and check.status is Status.PASSING
        started = None if status.process is None else status.process.start_time / CLOCK_TICKS
        boot = time.clock_gettime(time.CLOCK_BOOTTIME)
        return View(
            target_id="" if managed is None else managed.target_id,
            port=0 if managed is None else managed.service.port,
            status=status,
            ready=running and (status.ready or listening),
            crash_loop=self.in_crash_loop(status),
            since=_ago(now - status.since),
            started=None if started is None else _ago(boot - started),
            next_start=None if status.retry_at is None else _ago(now - status.retry_at),
            logs=None if data_dir is None else log_paths(data_dir, status.proxy_id),
        )

    def in_crash_loop(self, status: ProxyStatus) -> bool:
        """Whether a proxy has crashed so often that its starts are delayed, and has not run well since."""
        options = self._config.supervision
        if status.state is ProxyState.BACKOFF:
            return True
        healthy = (
            status.state is ProxyState.RUNNING and time.monotonic() - status.since >= options.healthy_run
        )
        return status.starts > options.quick_starts and not healthy


class CriticalRestarts:
    """Restarts proxies whose check stays critical, where the configuration asks for it.

    The time counts from when the check became critical, or its process was started, whatever was later: a new process
    has as long to come up as the last one had to recover.
    """

    def __init__(self, proxies: Supervised, checks: HealthChecks, *, after: float) -> None:
        self._proxies = proxies
        self._checks = checks
        self._after = after
        self._since: dict[str, float] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look, on the running event loop; with a time of 0 there is nothing to do."""
        if self._after > 0:
            self._task = asyncio.get_running_loop().create_task(
                self._run(), name="restarts of critical proxies"
            )

    def close(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(min(1.0, self._after / 4))
            self.look(time.monotonic())

    def look(self, now: float) -> None:
        """Restart what has been critical for long enough at monotonic time ``now``."""
        critical: dict[str, float] = {}
        for proxy_id, status in self._proxies.status().items():
            check = self._checks.of_proxy(proxy_id)
            if status.state is not ProxyState.RUNNING or check is None or check.status is not Status.CRITICAL:
                continue
            since = max(self._since.get(proxy_id, now), status.since)
            critical[proxy_id] = since
            if now - since >= self._after:
                reason = f"its check has been critical for {self._after:g}s"
                self._proxies.restart(proxy_id, reason=reason)
                del critical[proxy_id]
        self._since = critical


def _topic(proxy_id: str) -> str:
    return f"supervised/{proxy_id}"


def _ago(seconds: float) -> datetime:
    """The moment that many seconds before now; in the future when negative."""
    return datetime.fromtimestamp(time.time() - seconds, UTC)
