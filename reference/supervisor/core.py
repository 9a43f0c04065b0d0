"""The state machine of managed proxies: it decides, and touches nothing.

Rules
-----
1.  A wanted proxy runs. It is started when it is defined, and again whenever it exits, whatever the exit code.
2.  A proxy never has two processes. A new one is started only when the old one is known to be gone; on the
    first definition the world is asked whether one is still running (:class:`~.events.Seek`).
3.  Starts one to three follow at once, later ones wait 2, 4, 8 ... 60 s; a run of ten seconds resets the count.
    Count and wait are in the snapshot: a restart of the agent neither ends a back-off nor begins it anew.
4.  A process started from an equal spec is kept. One started from another spec is stopped, then replaced.
5.  Stopping is SIGINT, a grace period, SIGKILL; SIGKILL is repeated and reported until the process is gone.
6.  An unwanted proxy is stopped, then forgotten: pid file, snapshot entry and status go together.
7.  What an earlier agent ran and nobody defines, once all definitions are known, is unwanted.
8.  While the agent refuses to run proxies, none is started, and one that still runs is stopped.
9.  When the agent takes its proxies along, every proxy is unwanted and nothing is started again.
10. Input that the rules do not foresee raises :class:`IllegalEvent` and changes nothing.

``TRANSITIONS`` is rule 10 as data: which event may come in which state, what handles it, where it may lead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from reference.supervisor import events as ev
from reference.supervisor.fingerprint import fingerprint
from reference.supervisor.spec import Process, ProxySpec, ProxyState, ProxyStatus, Timings


class IllegalEvent(ValueError):
    """An event that cannot happen in the state the proxy is in; the core is unchanged."""


@dataclass
class _Managed:
    """One proxy as the core sees it. ``wanted`` is ``None`` once it shall go."""

    proxy_id: str
    wanted: ProxySpec | None
    state: ProxyState
    memory: ev.Memory | None = None
    process: Process | None = None
    fingerprint: str = ""
    starts: int = 0
    running_since: float = 0.0
    reason: str = ""
    timer: ev.Timer | None = None
    retry_at: float | None = None


_S = ProxyState


class Supervisor:
    """Feed it events with :meth:`handle`, carry out the commands it returns, in their order."""

    def __init__(self, *, refusal: str | None = None, timings: Timings | None = None) -> None:
        self._refusal = refusal
        self._timings = timings or Timings()
        self._proxies: dict[str, _Managed] = {}
        self._remembered: dict[str, ev.Memory] = {}
        self._stopping = False
        self._now = 0.0
        self._commands: list[ev.Command] = []
        self._persisted: tuple[ev.Memory, ...] = ()

    # --- the outside ---------------------------------------------------------------------------------

    def handle(self, event: ev.Event, *, now: float) -> tuple[ev.Command, ...]:
        """Decide what follows from ``event`` at monotonic time ``now`` (seconds).

        Raises :class:`IllegalEvent`, changing nothing, when the event cannot come now.
        """
        handler, proxy = self._route(event)
        self._now = now
        self._commands = []
        handler(self, proxy, event)
        self._persist()
        return tuple(self._commands)

    def status(self) -> Mapping[str, ProxyStatus]:
        """Every proxy that is wanted or still being stopped, by id."""
        return {proxy.proxy_id: _status(proxy) for proxy in self._proxies.values()}

    @property
    def idle(self) -> bool:
        """Whether nothing is managed any more."""
        return not self._proxies

    # --- routing -------------------------------------------------------------------------------------

    def _route(self, event: ev.Event) -> tuple[_Handler, _Managed]:
        match event:
            case ev.Remembered():
                if self._proxies or event.memory.proxy_id in self._remembered:
                    raise IllegalEvent(f"{event.memory.proxy_id} is remembered twice or too late")
                return Supervisor._remember, _NOBODY
            case ev.Settled():
                return Supervisor._settle, _NOBODY
            case ev.AgentStopping():
                return Supervisor._agent_stopping, _NOBODY
            case ev.Defined():
                proxy_id = event.spec.proxy_id
            case _:
                proxy_id = event.proxy_id
        proxy = self._proxies.get(proxy_id)
        if proxy is None:
            if isinstance(event, ev.Defined) and not self._stopping:
                return Supervisor._first_definition, _NOBODY
            raise IllegalEvent(f"{type(event).__name__} for {proxy_id}, which is not managed")
        transition = TRANSITIONS.get((proxy.state, type(event)))
        if transition is None:
            raise IllegalEvent(f"{type(event).__name__} for {proxy_id}, which is {proxy.state}")
        if isinstance(event, ev.Exited) and event.process != proxy.process:
            raise IllegalEvent(f"Exited for {proxy_id} names another process")
        if isinstance(event, ev.TimerFired) and event.timer is not proxy.timer:
            raise IllegalEvent(f"TimerFired for {proxy_id} names another timer")
        return transition.handler, proxy

    # --- events that concern no state ------------------------------------------------------------------

    def _remember(self, _: _Managed, event: ev.Remembered) -> None:
        self._remembered[event.memory.proxy_id] = event.memory

    def _first_definition(self, _: _Managed, event: ev.Defined) -> None:
        memory = self._remembered.pop(event.spec.proxy_id, None)
        self._seek(event.spec.proxy_id, event.spec, memory)

    def _settle(self, _: _Managed, event: ev.Settled) -> None:
        for proxy_id, memory in tuple(self._remembered.items()):
            del self._remembered[proxy_id]
            self._seek(proxy_id, None, memory)

    def _agent_stopping(self, _: _Managed, event: ev.AgentStopping) -> None:
        self._stopping = True
        for proxy in tuple(self._proxies.values()):
            if proxy.wanted is not None:
                TRANSITIONS[proxy.state, ev.Removed].handler(self, proxy, ev.Removed(proxy_id=proxy.proxy_id))

    # --- events by state -------------------------------------------------------------------------------

    def _redefine(self, proxy: _Managed, event: ev.Defined) -> None:
        """The new spec takes effect when what is under way ends."""
        if self._stopping:
            raise IllegalEvent(f"{proxy.proxy_id} is defined while the agent stops")
        proxy.wanted = event.spec

    def _redefine_running(self, proxy: _Managed, event: ev.Defined) -> None:
        proxy.wanted = event.spec
        if fingerprint(event.spec) != proxy.fingerprint:
            self._stop(proxy, "its definition changed")

    def _redefine_waiting(self, proxy: _Managed, event: ev.Defined) -> None:
        changed = proxy.wanted != event.spec
        proxy.wanted = event.spec
        if changed:
            # A new definition deserves a new chance: its predecessor's crashes are not its own.
            proxy.starts = 0
            self._start(proxy)

    def _unwant(self, proxy: _Managed, event: ev.Removed) -> None:
        """What is under way must end first; its end finds the proxy unwanted."""
        proxy.wanted = None

    def _remove_running(self, proxy: _Managed, event: ev.Removed) -> None:
        proxy.wanted = None
        self._stop(proxy, "it is no longer wanted")

    def _remove_idle(self, proxy: _Managed, event: ev.Removed) -> None:
        proxy.wanted = None
        self._forget(proxy)

    def _sought(self, proxy: _Managed, event: ev.Sought) -> None:
        if proxy.memory is not None:
            proxy.starts = proxy.memory.starts
            proxy.retry_at = proxy.memory.retry_at
        if event.process is None:
            self._start_after_delay(proxy)
            return
        proxy.process = event.process
        proxy.running_since = self._now
        # The answer is about the spec that was asked for; it may have been redefined meanwhile.
        current = (
            event.current and proxy.wanted is not None and fingerprint(proxy.wanted) == proxy.fingerprint
        )
        self._order(ev.WritePidFile(proxy_id=proxy.proxy_id, pid=event.process.pid))
        if proxy.wanted is None:
            self._stop(proxy, "no definition wants it any more")
        elif self._refusal is not None:
            self._stop(proxy, self._refusal)
        elif not current:
            self._stop(proxy, "its definition changed while the agent was away")
        else:
            self._enter(proxy, _S.RUNNING, "adopted")

    def _started(self, proxy: _Managed, event: ev.Started) -> None:
        proxy.process = event.process
        proxy.running_since = self._now
        self._order(ev.WritePidFile(proxy_id=proxy.proxy_id, pid=event.process.pid))
        if proxy.wanted is None:
            self._stop(proxy, "it is no longer wanted")
        elif fingerprint(proxy.wanted) != proxy.fingerprint:
            self._stop(proxy, "its definition changed")
        else:
            self._enter(proxy, _S.RUNNING, "started")

    def _start_failed(self, proxy: _Managed, event: ev.StartFailed) -> None:
        proxy.reason = event.reason
        self._start_after_delay(proxy)

    def _crashed(self, proxy: _Managed, event: ev.Exited) -> None:
        if self._now - proxy.running_since >= self._timings.healthy_run:
            proxy.starts = 0
        proxy.process = None
        proxy.reason = event.reason
        self._start_after_delay(proxy)

    def _stopped(self, proxy: _Managed, event: ev.Exited) -> None:
        self._cancel_timer(proxy)
        proxy.process = None
        proxy.starts = 0
        self._start_after_delay(proxy)

    def _wait_over(self, proxy: _Managed, event: ev.TimerFired) -> None:
        proxy.timer = None
        self._start(proxy)

    def _kill(self, proxy: _Managed, event: ev.TimerFired) -> None:
        proxy.timer = None
        assert proxy.process is not None
        reason = "did not end when asked to"
        if event.timer is ev.Timer.KILL_RETRY:
            reason = "still there after SIGKILL"
        self._order(ev.Signal(proxy_id=proxy.proxy_id, process=proxy.process, signal="SIGKILL"))
        self._set_timer(proxy, ev.Timer.KILL_RETRY, self._timings.kill_retry)
        self._enter(proxy, _S.KILLING, reason)

    # --- steps -----------------------------------------------------------------------------------------

    def _seek(self, proxy_id: str, spec: ProxySpec | None, memory: ev.Memory | None) -> None:
        proxy = _Managed(proxy_id=proxy_id, wanted=spec, state=_S.ADOPTING, memory=memory)
        proxy.fingerprint = "" if spec is None else fingerprint(spec)
        self._proxies[proxy_id] = proxy
        self._order(ev.Seek(proxy_id=proxy_id, spec=spec, memory=memory))

    def _start_after_delay(self, proxy: _Managed) -> None:
        """Start now, later or never: the one place that knows rules 3, 6 and 8."""
        if proxy.wanted is None:
            self._forget(proxy)
            return
        if self._refusal is not None:
            self._order(ev.RemovePidFile(proxy_id=proxy.proxy_id))
            self._enter(proxy, _S.REFUSED, self._refusal)
            return
        delay = self._timings.delay_before(proxy.starts + 1)
        if proxy.retry_at is not None:
            delay = min(delay, proxy.retry_at - self._now)
        if delay <= 0.0:
            self._start(proxy)
            return
        proxy.retry_at = self._now + delay
        self._set_timer(proxy, ev.Timer.RESTART, delay)
        self._enter(proxy, _S.BACKOFF, f"{proxy.reason or 'it exited'}; waiting {delay:g}s before restarting")

    def _start(self, proxy: _Managed) -> None:
        assert proxy.wanted is not None
        self._cancel_timer(proxy)
        proxy.retry_at = None
        proxy.starts += 1
        proxy.fingerprint = fingerprint(proxy.wanted)
        self._enter(proxy, _S.STARTING, proxy.reason)
        self._order(ev.Spawn(spec=proxy.wanted))

    def _stop(self, proxy: _Managed, reason: str) -> None:
        assert proxy.process is not None
        self._order(ev.Signal(proxy_id=proxy.proxy_id, process=proxy.process, signal="SIGINT"))
        self._set_timer(proxy, ev.Timer.GRACE, self._timings.stop_grace)
        self._enter(proxy, _S.STOPPING, reason)

    def _forget(self, proxy: _Managed) -> None:
        self._cancel_timer(proxy)
        del self._proxies[proxy.proxy_id]
        self._order(ev.RemovePidFile(proxy_id=proxy.proxy_id))
        self._order(ev.Report(proxy_id=proxy.proxy_id, status=None))

    def _enter(self, proxy: _Managed, state: ProxyState, reason: str) -> None:
        proxy.state = state
        proxy.reason = reason
        self._order(ev.Report(proxy_id=proxy.proxy_id, status=_status(proxy)))

    def _set_timer(self, proxy: _Managed, timer: ev.Timer, seconds: float) -> None:
        proxy.timer = timer
        self._order(ev.SetTimer(proxy_id=proxy.proxy_id, timer=timer, seconds=seconds))

    def _cancel_timer(self, proxy: _Managed) -> None:
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


def _status(proxy: _Managed) -> ProxyStatus:
    return ProxyStatus(
        proxy_id=proxy.proxy_id,
        state=proxy.state,
        pid=proxy.process.pid if proxy.process else None,
        starts=proxy.starts,
        reason=proxy.reason,
    )


def _memory(proxy: _Managed) -> ev.Memory:
    if proxy.state is _S.ADOPTING and proxy.memory is not None:
        return proxy.memory  # not answered yet: what was remembered is still all that is known
    return ev.Memory(
        proxy_id=proxy.proxy_id,
        process=proxy.process,
        fingerprint=proxy.fingerprint,
        starts=proxy.starts,
        retry_at=proxy.retry_at,
    )


#: Each takes its own kind of event; the table is what pairs them.
_Handler = Callable[[Supervisor, _Managed, Any], None]
_NOBODY = _Managed(proxy_id="", wanted=None, state=_S.REFUSED)


@dataclass(frozen=True)
class Transition:
    """What handles an event in a state, and the states it may lead to; ``None`` is *forgotten*."""

    handler: _Handler
    leads_to: frozenset[ProxyState | None]


def _to(handler: _Handler, *states: ProxyState | None) -> Transition:
    return Transition(handler, frozenset(states))


_RESTART = (_S.STARTING, _S.BACKOFF, _S.REFUSED, None)

#: Every (state, event) that can happen. The documentation's picture and the tests are drawn from this table.
TRANSITIONS: Mapping[tuple[ProxyState, type[ev.Event]], Transition] = {
    (_S.REFUSED, ev.Defined): _to(Supervisor._redefine, _S.REFUSED),
    (_S.REFUSED, ev.Removed): _to(Supervisor._remove_idle, None),
    (_S.ADOPTING, ev.Defined): _to(Supervisor._redefine, _S.ADOPTING),
    (_S.ADOPTING, ev.Removed): _to(Supervisor._unwant, _S.ADOPTING),
    (_S.ADOPTING, ev.Sought): _to(Supervisor._sought, _S.RUNNING, _S.STOPPING, *_RESTART),
    (_S.STARTING, ev.Defined): _to(Supervisor._redefine, _S.STARTING),
    (_S.STARTING, ev.Removed): _to(Supervisor._unwant, _S.STARTING),
    (_S.STARTING, ev.Started): _to(Supervisor._started, _S.RUNNING, _S.STOPPING),
    (_S.STARTING, ev.StartFailed): _to(Supervisor._start_failed, *_RESTART),
    (_S.RUNNING, ev.Defined): _to(Supervisor._redefine_running, _S.RUNNING, _S.STOPPING),
    (_S.RUNNING, ev.Removed): _to(Supervisor._remove_running, _S.STOPPING),
    (_S.RUNNING, ev.Exited): _to(Supervisor._crashed, *_RESTART),
    (_S.BACKOFF, ev.Defined): _to(Supervisor._redefine_waiting, _S.BACKOFF, _S.STARTING),
    (_S.BACKOFF, ev.Removed): _to(Supervisor._remove_idle, None),
    (_S.BACKOFF, ev.TimerFired): _to(Supervisor._wait_over, _S.STARTING),
    (_S.STOPPING, ev.Defined): _to(Supervisor._redefine, _S.STOPPING),
    (_S.STOPPING, ev.Removed): _to(Supervisor._unwant, _S.STOPPING),
    (_S.STOPPING, ev.TimerFired): _to(Supervisor._kill, _S.KILLING),
    (_S.STOPPING, ev.Exited): _to(Supervisor._stopped, *_RESTART),
    (_S.KILLING, ev.Defined): _to(Supervisor._redefine, _S.KILLING),
    (_S.KILLING, ev.Removed): _to(Supervisor._unwant, _S.KILLING),
    (_S.KILLING, ev.TimerFired): _to(Supervisor._kill, _S.KILLING),
    (_S.KILLING, ev.Exited): _to(Supervisor._stopped, *_RESTART),
}
