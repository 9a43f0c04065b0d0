"""What the agent holds: the core and a world, joined by a queue."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

from reference.supervisor import events as ev
from reference.supervisor.core import Supervisor
from reference.supervisor.real import RealWorld
from reference.supervisor.spec import ProxySpec, ProxyState, ProxyStatus, Timings
from reference.supervisor.world import Post, World

_log = logging.getLogger("agent/proxy")

_SEVERITY = {
    ProxyState.REFUSED: logging.WARNING,
    ProxyState.BACKOFF: logging.WARNING,
    ProxyState.KILLING: logging.WARNING,
    ProxyState.RUNNING: logging.INFO,
    ProxyState.STOPPING: logging.INFO,
}


class ManagedProxies:
    """Keeps the defined proxies running. Used from the thread of one event loop.

    ``refusal`` is why no proxy may be started, or ``None``; ``on_change`` hears of each new status, and of a
    forgotten proxy by id with ``None``.
    """

    def __init__(
        self,
        *,
        data_dir: Path | None,
        refusal: str | None = None,
        timings: Timings | None = None,
        on_change: Callable[[str, ProxyStatus | None], None] | None = None,
        world: Callable[[Post], World] | None = None,
    ) -> None:
        self._core = Supervisor(refusal=refusal, timings=timings)
        self._data_dir = data_dir
        self._on_change = on_change
        self._make_world = world
        self._world: World
        self._queue: deque[ev.Event] = deque()
        self._busy = False
        self._idle = asyncio.Event()

    async def start(self) -> None:
        """Read what an earlier agent left behind. Call it once, before any definition."""
        make = self._make_world or self._real_world
        self._world = make(self._feed)
        for memory in self._world.remember():
            self._feed(ev.Remembered(memory=memory))

    def _real_world(self, post: Post) -> World:
        return RealWorld(data_dir=self._data_dir, post=post, loop=asyncio.get_running_loop())

    def define(self, spec: ProxySpec) -> None:
        """Have this proxy run; with an equal spec nothing happens, with another it is replaced."""
        self._feed(ev.Defined(spec=spec))

    def remove(self, proxy_id: str) -> None:
        """Have this proxy stopped and forgotten. Raises :class:`KeyError` when it is not managed."""
        if proxy_id not in self._core.status():
            raise KeyError(proxy_id)
        self._feed(ev.Removed(proxy_id=proxy_id))

    def settle(self) -> None:
        """All definitions of the start are known: stop what an earlier agent left and nobody wants."""
        self._feed(ev.Settled())

    def status(self) -> Mapping[str, ProxyStatus]:
        """Every proxy that is wanted or still being stopped, by id."""
        return self._core.status()

    async def shut_down(self, *, stop: bool) -> None:
        """End supervision: with ``stop`` take every proxy along and wait for it, without leave them running."""
        if stop:
            self._feed(ev.AgentStopping())
            if not self._core.idle:
                await self._idle.wait()
        self._world.detach()

    def _feed(self, event: ev.Event) -> None:
        """Queue an event; carry out what follows from it unless that is being done further up the stack."""
        self._queue.append(event)
        if self._busy:
            return
        self._busy = True
        try:
            while self._queue:
                for command in self._core.handle(self._queue.popleft(), now=self._world.now()):
                    if isinstance(command, ev.Report):
                        self._report(command)
                    else:
                        self._world.execute(command)
        finally:
            self._busy = False
        if self._core.idle:
            self._idle.set()
        else:
            self._idle.clear()

    def _report(self, report: ev.Report) -> None:
        status = report.status
        if status is None:
            _log.info("%s: stopped", report.proxy_id)
        else:
            pid = f" (process {status.pid})" if status.pid is not None else ""
            severity = _SEVERITY.get(status.state, logging.DEBUG)
            _log.log(
                severity, "%s: %s%s: %s", report.proxy_id, status.state, pid, status.reason or "first start"
            )
        if self._on_change is not None:
            self._on_change(report.proxy_id, status)
