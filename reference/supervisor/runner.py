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


class Runner:
    """A core and a world, joined: what one decides the other does, what one does the other hears."""

    def __init__(
        self,
        core: Supervisor,
        *,
        world: Callable[[Post], World],
        on_change: Callable[[str, ProxyStatus | None], None],
    ) -> None:
        self.core = core
        self.world = world(self.feed)
        self._on_change = on_change
        self._queue: deque[ev.Event] = deque()
        self._busy = False

    def remember(self) -> None:
        """Tell the core what an earlier agent left behind; comes before any definition."""
        for memory in self.world.remember():
            self.feed(ev.Remembered(memory=memory))

    def feed(self, event: ev.Event) -> None:
        """Queue an event; carry out what follows from it unless that is being done further up the stack."""
        self._queue.append(event)
        if self._busy:
            return
        self._busy = True
        try:
            while self._queue:
                for command in self.core.handle(self._queue.popleft(), now=self.world.now()):
                    if isinstance(command, ev.Report):
                        self._on_change(command.proxy_id, command.status)
                    else:
                        self.world.execute(command)
        finally:
            self._busy = False


class ManagedProxies:
    """Keeps the defined proxies running. Used from the thread of one event loop.

    ``agent_id`` is as lasting as ``data_dir``: it marks the proxies that are this agent's. ``refusal`` is why no
    proxy may be started, or ``None``; ``on_change`` hears of each new status, and of a forgotten proxy by id with
    ``None``.
    """

    def __init__(
        self,
        *,
        data_dir: Path | None,
        agent_id: str,
        refusal: str | None = None,
        timings: Timings | None = None,
        on_change: Callable[[str, ProxyStatus | None], None] | None = None,
    ) -> None:
        self._core = Supervisor(refusal=refusal, timings=timings)
        self._data_dir = data_dir
        self._agent_id = agent_id
        self._on_change = on_change
        self._runner: Runner
        self._idle = asyncio.Event()

    async def start(self) -> None:
        """Read what an earlier agent left behind. Call it once, before any definition."""
        loop = asyncio.get_running_loop()
        self._runner = Runner(
            self._core,
            world=lambda post: RealWorld(
                data_dir=self._data_dir, agent_id=self._agent_id, post=post, loop=loop
            ),
            on_change=self._report,
        )
        self._runner.remember()

    def define(self, spec: ProxySpec) -> None:
        """Have this proxy run; with an equal spec nothing happens, with another it is replaced."""
        self._runner.feed(ev.Defined(spec=spec))

    def remove(self, proxy_id: str) -> None:
        """Have this proxy stopped and forgotten. Raises :class:`KeyError` when it is not managed."""
        if proxy_id not in self._core.status():
            raise KeyError(proxy_id)
        self._runner.feed(ev.Removed(proxy_id=proxy_id))

    def settle(self) -> None:
        """All definitions of the start are known: stop what an earlier agent left and nobody wants."""
        self._runner.feed(ev.Settled())

    def status(self) -> Mapping[str, ProxyStatus]:
        """Every proxy that is wanted or still being stopped, by id."""
        return self._core.status()

    async def shut_down(self, *, stop: bool) -> None:
        """End supervision: with ``stop`` take every proxy along and wait for it, without leave them running."""
        if stop:
            self._runner.feed(ev.AgentStopping())
            while not self._core.idle:
                self._idle.clear()
                await self._idle.wait()
        self._runner.world.detach()

    def _report(self, proxy_id: str, status: ProxyStatus | None) -> None:
        if status is None:
            _log.info("%s: stopped", proxy_id)
            self._idle.set()
        else:
            pid = f" (process {status.pid})" if status.pid is not None else ""
            severity = _SEVERITY.get(status.state, logging.DEBUG)
            _log.log(severity, "%s: %s%s: %s", proxy_id, status.state, pid, status.reason or "first start")
        if self._on_change is not None:
            self._on_change(proxy_id, status)
