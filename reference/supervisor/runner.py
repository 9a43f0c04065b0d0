"""What the agent holds: the core and a world, joined by a queue."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

from reference.supervisor import events as ev
from reference.supervisor.core import TRANSITIONS, Supervisor
from reference.supervisor.linux import Linux
from reference.supervisor.logs import LogFiles, Rotation
from reference.supervisor.notices import Notices, address
from reference.supervisor.real import Locate, RealWorld
from reference.supervisor.spec import ProxySpec, ProxyState, ProxyStatus, Tally, Timings
from reference.supervisor.world import Post, World

_log = logging.getLogger("agent/proxy")

#: How often the logs of running proxies are looked at (s).
LOG_INTERVAL = 5.0

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
    proxy may be started, or ``None``; ``rotation`` keeps their logs small; ``locate`` finds the launcher of a spec when
    its proxy is started, and ``release`` is the one of that program; ``on_change`` hears of each new status, and of a
    forgotten proxy by id with ``None``.
    """

    def __init__(
        self,
        *,
        data_dir: Path | None,
        agent_id: str,
        refusal: str | None = None,
        timings: Timings | None = None,
        rotation: Rotation | None = None,
        locate: Locate = lambda launcher: launcher,
        release: str = "",
        on_change: Callable[[str, ProxyStatus | None], None] | None = None,
    ) -> None:
        self._core = Supervisor(refusal=refusal, timings=timings)
        self._data_dir = data_dir
        self._agent_id = agent_id
        self._locate = locate
        self._release = release
        self._rotation = rotation or Rotation(limit=0, keep=1)
        self._logs = None if data_dir is None else LogFiles(data_dir, self._rotation)
        self._notices: Notices
        self._log_care: asyncio.Task[None] | None = None
        self._on_change = on_change
        self._runner: Runner
        self._idle = asyncio.Event()

    async def start(self) -> None:
        """Read what an earlier agent left behind. Call it once, before any definition."""
        loop = asyncio.get_running_loop()
        self._runner = Runner(
            self._core,
            world=lambda post: RealWorld(
                Linux(loop),
                data_dir=self._data_dir,
                agent_id=self._agent_id,
                post=post,
                variables={
                    "NOTIFY_SOCKET": address(self._agent_id),
                    "CONNECT_PROXY_LOG_ROTATE_BYTES": str(self._rotation.limit),
                    "CONNECT_PROXY_LOG_ROTATE_MAX_FILES": str(self._rotation.keep),
                },
                locate=self._locate,
                release=self._release,
            ),
            on_change=self._report,
        )
        self._notices = Notices(self._agent_id, on_ready=self._announced)
        if self._logs is not None and self._rotation.limit:
            self._log_care = loop.create_task(self._tend(self._logs), name="logs of managed proxies")
        self._runner.remember()

    def define(self, spec: ProxySpec) -> None:
        """Have this proxy run; with an equal spec nothing happens, with another it is replaced."""
        self._runner.feed(ev.Defined(spec=spec))

    def remove(self, proxy_id: str) -> None:
        """Have this proxy stopped and forgotten. Raises :class:`KeyError` when it is not managed."""
        if proxy_id not in self._core.status():
            raise KeyError(proxy_id)
        self._runner.feed(ev.Removed(proxy_id=proxy_id))

    def restart(self, proxy_id: str, *, reason: str) -> bool:
        """Have a proxy that runs, waits or is held started afresh; False where its state does not allow it now.

        Raises :class:`KeyError` when it is not managed.
        """
        return self._ask(ev.Restart(proxy_id=proxy_id, reason=reason))

    def hold(self, proxy_id: str, *, reason: str) -> bool:
        """Have a proxy stopped until a restart is asked for; False where its state does not allow it now.

        Raises :class:`KeyError` when it is not managed.
        """
        return self._ask(ev.Hold(proxy_id=proxy_id, reason=reason))

    def _ask(self, event: ev.Restart | ev.Hold) -> bool:
        possible = (self._core.status()[event.proxy_id].state, type(event)) in TRANSITIONS
        if possible:
            self._runner.feed(event)
        return possible

    def remembered(self) -> frozenset[str]:
        """What an earlier agent ran and neither a definition nor :meth:`settle` has been about yet."""
        return self._core.remembered

    def orphan(self, proxy_id: str) -> None:
        """Of what is remembered, stop this one: nobody wants it."""
        self._runner.feed(ev.Orphaned(proxy_id=proxy_id))

    def settle(self) -> None:
        """All definitions of the start are known: stop what an earlier agent left and nobody wants."""
        self._runner.feed(ev.Settled())

    def status(self) -> Mapping[str, ProxyStatus]:
        """Every proxy that is wanted or still being stopped, by id."""
        return self._core.status()

    def tally(self) -> Tally:
        """What supervision came to since the agent began; what is now is in :meth:`status`."""
        return self._core.tally

    async def shut_down(self, *, stop: bool) -> None:
        """End supervision: with ``stop`` take every proxy along and wait for it, without leave them running."""
        if stop:
            self._runner.feed(ev.AgentStopping())
            while not self._core.idle:
                self._idle.clear()
                await self._idle.wait()
        if self._log_care is not None:
            self._log_care.cancel()
        self._notices.close()
        self._runner.world.detach()

    async def _tend(self, logs: LogFiles) -> None:
        """Look at the logs of what runs, again and again."""
        while True:
            await asyncio.sleep(LOG_INTERVAL)
            if not logs.is_any_full():
                continue
            for proxy_id, status in self._core.status().items():
                if status.state is ProxyState.RUNNING:
                    for path in logs.full(proxy_id):
                        await asyncio.to_thread(logs.cut, path)

    def _announced(self, pid: int) -> None:
        """Some process says that it is ready; it may be anyone's."""
        try:
            leader = os.getsid(pid)
        except OSError:
            return
        for proxy_id, status in self._core.status().items():
            if status.process is None or status.pid != leader:
                continue
            if (status.state, ev.Ready) in TRANSITIONS:
                self._runner.feed(ev.Ready(proxy_id=proxy_id, process=status.process))
            return

    def _report(self, proxy_id: str, status: ProxyStatus | None) -> None:
        if status is not None and status.state is ProxyState.STARTING and self._logs is not None:
            self._logs.before_start(proxy_id)
        if status is None:
            _log.info("%s: stopped", proxy_id)
            self._idle.set()
        else:
            pid = f" (process {status.pid})" if status.pid is not None else ""
            severity = _SEVERITY.get(status.state, logging.DEBUG)
            _log.log(severity, "%s: %s%s: %s", proxy_id, status.state, pid, status.reason or "first start")
        if self._on_change is not None:
            self._on_change(proxy_id, status)
