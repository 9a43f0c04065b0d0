"""The steps that decisions of :mod:`~reference.supervisor.core` are made of, each with the commands that it takes.

Here stand the proxies themselves, what was counted, and the commands of the event that is being handled. Pure, as the
core is.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from reference.supervisor import events as ev
from reference.supervisor.fingerprint import fingerprint
from reference.supervisor.spec import Process, ProxySpec, ProxyState, ProxyStatus, Tally, Timings


class Managed(msgspec.Struct):
    """One proxy: ``wanted`` is ``None`` once it shall go, ``held`` is why a wanted one shall not run."""

    proxy_id: str
    wanted: ProxySpec | None
    state: ProxyState
    memory: ev.Memory | None = None
    process: Process | None = None
    fingerprint: str = ""
    starts: int = 0
    restarts: int = -1
    ready: bool = False
    outdated: bool = False
    held: str = ""
    running_since: float = 0.0
    since: float = 0.0
    reason: str = ""
    timer: ev.Timer | None = None
    retry_at: float | None = None

    @property
    def is_current(self) -> bool:
        """Whether what runs, or is being started or looked for, is what is wanted."""
        return self.wanted is not None and fingerprint(self.wanted) == self.fingerprint


_S = ProxyState


class Steps:
    """What a supervisor knows, and what it can do about it. ``refusal`` is why no proxy may run, if so."""

    def __init__(self, *, refusal: str | None = None, timings: Timings | None = None) -> None:
        self._refusal = refusal
        self._timings = timings or Timings()
        self._proxies: dict[str, Managed] = {}
        self._remembered: dict[str, ev.Memory] = {}
        self._stopping = False
        self._now = 0.0
        self._commands: list[ev.Command] = []
        self._persisted: tuple[ev.Memory, ...] = ()
        self._tally = Tally()

    def _begin(self, now: float) -> None:
        """Another event is handled, at monotonic time ``now``."""
        self._now = now
        self._commands = []

    def _ordered(self) -> tuple[ev.Command, ...]:
        """The commands since :meth:`_begin`, with the snapshot that they need."""
        self._persist()
        return tuple(self._commands)

    def _seek(self, proxy_id: str, spec: ProxySpec | None, memory: ev.Memory | None) -> None:
        proxy = Managed(proxy_id=proxy_id, wanted=spec, state=_S.ADOPTING, memory=memory, since=self._now)
        proxy.fingerprint = "" if spec is None else fingerprint(spec)
        self._proxies[proxy_id] = proxy
        self._order(ev.Seek(proxy_id=proxy_id, spec=spec, memory=memory))

    def _start_after_delay(self, proxy: Managed) -> None:
        """Start now, later or never: the one place that knows rules 3, 6, 8 and 11."""
        if proxy.wanted is None:
            self._forget(proxy)
            return
        if self._refusal is not None:
            self._order(ev.RemovePidFile(proxy_id=proxy.proxy_id))
            self._enter(proxy, _S.REFUSED, self._refusal)
            return
        if proxy.held:
            proxy.retry_at = None
            self._order(ev.RemovePidFile(proxy_id=proxy.proxy_id))
            self._enter(proxy, _S.STOPPED, proxy.held)
            return
        delay = self._timings.delay_before(proxy.starts + 1)
        if proxy.retry_at is not None:
            delay = min(delay, proxy.retry_at - self._now)
        if delay <= 0.0:
            self._start(proxy)
            return
        proxy.retry_at = self._now + delay
        self._count(backoff_seconds=delay)
        self._set_timer(proxy, ev.Timer.RESTART, delay)
        self._enter(proxy, _S.BACKOFF, f"{proxy.reason or 'it exited'}; waiting {delay:g}s before restarting")

    def _start(self, proxy: Managed) -> None:
        assert proxy.wanted is not None
        self._cancel_timer(proxy)
        proxy.retry_at = None
        proxy.starts += 1
        proxy.restarts += 1
        if proxy.restarts:
            self._count(restarts=1)
        proxy.fingerprint = fingerprint(proxy.wanted)
        self._enter(proxy, _S.STARTING, proxy.reason)
        self._order(ev.Spawn(spec=proxy.wanted))

    def _stop(self, proxy: Managed, reason: str) -> None:
        assert proxy.process is not None
        self._order(
            ev.Signal(proxy_id=proxy.proxy_id, process=proxy.process, signal=self._timings.stop_signal)
        )
        self._set_timer(proxy, ev.Timer.GRACE, self._timings.stop_grace)
        self._enter(proxy, _S.STOPPING, reason)

    def _forget(self, proxy: Managed) -> None:
        self._cancel_timer(proxy)
        del self._proxies[proxy.proxy_id]
        self._order(ev.RemovePidFile(proxy_id=proxy.proxy_id))
        self._order(ev.Report(proxy_id=proxy.proxy_id, status=None))

    def _enter(self, proxy: Managed, state: ProxyState, reason: str) -> None:
        if state is not proxy.state:
            proxy.since = self._now
        proxy.state = state
        proxy.reason = reason
        self._order(ev.Report(proxy_id=proxy.proxy_id, status=status_of(proxy)))

    @staticmethod
    def _lose_process(proxy: Managed) -> None:
        proxy.process = None
        proxy.ready = proxy.outdated = False

    def _count(self, *, restarts: int = 0, failures: int = 0, backoff_seconds: float = 0.0) -> None:
        tally = self._tally
        self._tally = replace(
            tally,
            restarts=tally.restarts + restarts,
            failures=tally.failures + failures,
            backoff_seconds=tally.backoff_seconds + backoff_seconds,
        )

    def _set_timer(self, proxy: Managed, timer: ev.Timer, seconds: float) -> None:
        proxy.timer = timer
        self._order(ev.SetTimer(proxy_id=proxy.proxy_id, timer=timer, seconds=seconds))

    def _cancel_timer(self, proxy: Managed) -> None:
        if proxy.timer is not None:
            proxy.timer = None
            self._order(ev.CancelTimer(proxy_id=proxy.proxy_id))

    def _order(self, command: ev.Command) -> None:
        self._commands.append(command)

    def _persist(self) -> None:
        """Put the snapshot first when it changed: a crash after it finds the truth, one before it the past."""
        memories = (*(_memory(proxy) for proxy in self._proxies.values()), *self._remembered.values())
        if memories != self._persisted:
            self._persisted = memories
            self._commands.insert(0, ev.Persist(memories=memories))


def status_of(proxy: Managed) -> ProxyStatus:
    return ProxyStatus(
        proxy_id=proxy.proxy_id,
        state=proxy.state,
        process=proxy.process,
        starts=proxy.starts,
        restarts=max(proxy.restarts, 0),
        reason=proxy.reason,
        since=proxy.since,
        retry_at=proxy.retry_at if proxy.state is _S.BACKOFF else None,
        ready=proxy.ready,
        outdated=proxy.outdated,
    )


def _memory(proxy: Managed) -> ev.Memory:
    if proxy.state is _S.ADOPTING and proxy.memory is not None:
        return proxy.memory  # not answered yet: what was remembered is still all that is known
    return ev.Memory(
        proxy_id=proxy.proxy_id,
        process=proxy.process,
        fingerprint=proxy.fingerprint,
        starts=proxy.starts,
        retry_at=proxy.retry_at,
        ready=proxy.ready,
    )
