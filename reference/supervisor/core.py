"""The state machine of managed proxies: it decides, and touches nothing.

Rules
-----
1.  A wanted proxy runs. It is started when it is defined, and again whenever it exits, whatever the exit code.
2.  A proxy never has two processes. A new one is started only when the old one is known to be gone; on the
    first definition the world is asked whether one is still running (:class:`~.events.Seek`).
3.  Starts one to three follow at once, later ones wait 2, 4, 8 ... 60 s; a run of ten seconds resets the count.
    Count and wait are in the snapshot: a restart of the agent neither ends a back-off nor begins it anew.
4.  A process started from an equal spec is kept. One started from another spec is stopped, then replaced.
5.  Stopping is SIGINT, or the signal that the agent was told to use, a grace period, SIGKILL; SIGKILL is
    repeated and reported until the process is gone.
6.  An unwanted proxy is stopped, then forgotten: pid file, snapshot entry and status go together.
7.  What an earlier agent ran and nobody defines, once all definitions are known, is unwanted.
8.  While the agent refuses to run proxies, none is started, and one that still runs is stopped.
9.  When the agent takes its proxies along, every proxy is unwanted and nothing is started again.
10. A restart that is asked for is a stop and a start; it ends a back-off, and the crashes before it are forgiven.
11. A proxy that an operator stops is held: it is not started until a restart is asked for, its definition changes or
    another agent takes over.
12. Ready is what the process says of itself, by a notice. Each new process has to say it anew.
13. Input that the rules do not foresee raises :class:`IllegalEvent` and changes nothing.

``TRANSITIONS`` is rule 13 as data: which event may come in which state, what handles it, where it may lead. What
handlers do, step by step, is in :mod:`~reference.supervisor.steps`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from reference.supervisor import events as ev
from reference.supervisor.spec import ProxyState, ProxyStatus, Tally
from reference.supervisor.steps import Managed, Steps, status_of


class IllegalEvent(ValueError):
    """An event that cannot happen in the state the proxy is in; the core is unchanged."""


_S = ProxyState


class Supervisor(Steps):
    """Feed it events with :meth:`handle`, carry out the commands it returns, in their order."""

    # --- the outside ---------------------------------------------------------------------------------

    def handle(self, event: ev.Event, *, now: float) -> tuple[ev.Command, ...]:
        """Decide what follows from ``event`` at monotonic time ``now`` (seconds).

        Raises :class:`IllegalEvent`, changing nothing, when the event cannot come now.
        """
        handler, proxy = self._route(event)
        self._begin(now)
        handler(self, proxy, event)
        return self._ordered()

    def status(self) -> Mapping[str, ProxyStatus]:
        """Every proxy that is wanted or still being stopped, by id."""
        return {proxy.proxy_id: status_of(proxy) for proxy in self._proxies.values()}

    @property
    def remembered(self) -> frozenset[str]:
        """What an earlier agent ran and nothing has been decided about yet."""
        return frozenset(self._remembered)

    @property
    def tally(self) -> Tally:
        """What was counted since this supervisor began."""
        return self._tally

    @property
    def idle(self) -> bool:
        """Whether nothing is managed any more."""
        return not self._proxies

    # --- routing -------------------------------------------------------------------------------------

    def _route(self, event: ev.Event) -> tuple[_Handler, Managed]:
        match event:
            case ev.Remembered():
                if self._proxies or event.memory.proxy_id in self._remembered:
                    raise IllegalEvent(f"{event.memory.proxy_id} is remembered twice or too late")
                return Supervisor._remember, _NOBODY
            case ev.Settled():
                return Supervisor._settle, _NOBODY
            case ev.Orphaned():
                if event.proxy_id not in self._remembered:
                    raise IllegalEvent(f"{event.proxy_id} is not remembered")
                return Supervisor._orphan, _NOBODY
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
        if isinstance(event, ev.Exited | ev.Ready) and event.process != proxy.process:
            raise IllegalEvent(f"{type(event).__name__} for {proxy_id} names another process")
        if isinstance(event, ev.TimerFired) and event.timer is not proxy.timer:
            raise IllegalEvent(f"TimerFired for {proxy_id} names another timer")
        return transition.handler, proxy

    # --- events that concern no state ------------------------------------------------------------------

    def _remember(self, _: Managed, event: ev.Remembered) -> None:
        self._remembered[event.memory.proxy_id] = event.memory

    def _first_definition(self, _: Managed, event: ev.Defined) -> None:
        memory = self._remembered.pop(event.spec.proxy_id, None)
        self._seek(event.spec.proxy_id, event.spec, memory)

    def _settle(self, _: Managed, event: ev.Settled) -> None:
        for proxy_id in tuple(self._remembered):
            self._seek(proxy_id, None, self._remembered.pop(proxy_id))

    def _orphan(self, _: Managed, event: ev.Orphaned) -> None:
        self._seek(event.proxy_id, None, self._remembered.pop(event.proxy_id))

    def _agent_stopping(self, _: Managed, event: ev.AgentStopping) -> None:
        self._stopping = True
        for proxy in tuple(self._proxies.values()):
            if proxy.wanted is not None:
                TRANSITIONS[proxy.state, ev.Removed].handler(self, proxy, ev.Removed(proxy_id=proxy.proxy_id))

    # --- events by state -------------------------------------------------------------------------------

    def _redefine(self, proxy: Managed, event: ev.Defined) -> None:
        """The new spec takes effect when what is under way ends."""
        if self._stopping:
            raise IllegalEvent(f"{proxy.proxy_id} is defined while the agent stops")
        if proxy.wanted != event.spec:
            proxy.held = ""
        proxy.wanted = event.spec

    def _redefine_running(self, proxy: Managed, event: ev.Defined) -> None:
        proxy.wanted = event.spec
        if not proxy.is_current:
            self._stop(proxy, "its definition changed")

    def _redefine_waiting(self, proxy: Managed, event: ev.Defined) -> None:
        changed = proxy.wanted != event.spec
        proxy.wanted = event.spec
        if changed:
            # A new definition deserves a new chance: neither its predecessor's crashes nor its stop are its own.
            proxy.held = ""
            proxy.starts = 0
            self._start(proxy)

    def _unwant(self, proxy: Managed, event: ev.Removed) -> None:
        """What is under way must end first; its end finds the proxy unwanted."""
        proxy.wanted = None

    def _remove_running(self, proxy: Managed, event: ev.Removed) -> None:
        proxy.wanted = None
        self._stop(proxy, "it is no longer wanted")

    def _remove_idle(self, proxy: Managed, event: ev.Removed) -> None:
        self._forget(proxy)

    def _sought(self, proxy: Managed, event: ev.Sought) -> None:
        if proxy.memory is not None:
            proxy.starts = proxy.memory.starts
            proxy.retry_at = proxy.memory.retry_at
        if event.process is None:
            self._start_after_delay(proxy)
            return
        proxy.process = event.process
        proxy.running_since = self._now
        proxy.restarts = 0
        proxy.ready = proxy.memory is not None and proxy.memory.ready
        proxy.outdated = event.outdated
        # The answer is about the spec that was asked for; it may have been redefined meanwhile.
        current = event.current and proxy.is_current
        if not event.current:
            # Until it is gone this is not a process of the wanted spec, whatever becomes of this agent meanwhile.
            proxy.fingerprint = proxy.memory.fingerprint if proxy.memory is not None else ""
        self._order(ev.WritePidFile(proxy_id=proxy.proxy_id, pid=event.process.pid))
        if proxy.wanted is None:
            self._stop(proxy, "no definition wants it any more")
        elif self._refusal is not None:
            self._stop(proxy, self._refusal)
        elif not current:
            self._stop(proxy, "its definition changed while the agent was away")
        else:
            self._enter(proxy, _S.RUNNING, "adopted")

    def _started(self, proxy: Managed, event: ev.Started) -> None:
        proxy.process = event.process
        proxy.running_since = self._now
        self._order(ev.WritePidFile(proxy_id=proxy.proxy_id, pid=event.process.pid))
        if proxy.wanted is None:
            self._stop(proxy, "it is no longer wanted")
        elif not proxy.is_current:
            self._stop(proxy, "its definition changed")
        else:
            self._enter(proxy, _S.RUNNING, "started")

    def _start_failed(self, proxy: Managed, event: ev.StartFailed) -> None:
        self._count(failures=1)
        proxy.reason = event.reason
        self._start_after_delay(proxy)

    def _crashed(self, proxy: Managed, event: ev.Exited) -> None:
        self._count(failures=1)
        if self._now - proxy.running_since >= self._timings.healthy_run:
            proxy.starts = 0
        self._lose_process(proxy)
        proxy.reason = event.reason
        self._start_after_delay(proxy)

    def _stopped(self, proxy: Managed, event: ev.Exited) -> None:
        self._cancel_timer(proxy)
        self._lose_process(proxy)
        proxy.starts = 0
        self._start_after_delay(proxy)

    def _announced(self, proxy: Managed, event: ev.Ready) -> None:
        if not proxy.ready:
            proxy.ready = True
            self._enter(proxy, _S.RUNNING, "ready")

    def _announced_too_late(self, proxy: Managed, event: ev.Ready) -> None:
        """It is already on its way out."""

    def _restart_running(self, proxy: Managed, event: ev.Restart) -> None:
        self._stop(proxy, event.reason)

    def _restart_idle(self, proxy: Managed, event: ev.Restart) -> None:
        proxy.held = ""
        proxy.starts = 0
        proxy.reason = event.reason
        self._start(proxy)

    def _restart_after_all(self, proxy: Managed, event: ev.Restart) -> None:
        """It is being stopped, and what comes then is another matter."""
        proxy.held = ""

    def _hold_running(self, proxy: Managed, event: ev.Hold) -> None:
        proxy.held = event.reason
        self._stop(proxy, event.reason)

    def _hold_waiting(self, proxy: Managed, event: ev.Hold) -> None:
        self._cancel_timer(proxy)
        proxy.held = event.reason
        proxy.starts = 0
        self._start_after_delay(proxy)

    def _hold_after_all(self, proxy: Managed, event: ev.Hold) -> None:
        proxy.held = event.reason
        self._enter(proxy, proxy.state, event.reason)

    def _wait_over(self, proxy: Managed, event: ev.TimerFired) -> None:
        proxy.timer = None
        self._start(proxy)

    def _kill(self, proxy: Managed, event: ev.TimerFired) -> None:
        assert proxy.process is not None
        reason = "did not end when asked to"
        if event.timer is ev.Timer.KILL_RETRY:
            reason = f"process {proxy.process.pid} is still there after SIGKILL"
        self._order(ev.Signal(proxy_id=proxy.proxy_id, process=proxy.process, signal="SIGKILL"))
        self._set_timer(proxy, ev.Timer.KILL_RETRY, self._timings.kill_retry)
        self._enter(proxy, _S.KILLING, reason)


#: Each takes its own kind of event; the table is what pairs them.
_Handler = Callable[[Supervisor, Managed, Any], None]
_NOBODY = Managed(proxy_id="", wanted=None, state=_S.REFUSED)


class Transition(msgspec.Struct, frozen=True):
    """What handles an event in a state, and the states it may lead to; ``None`` is *forgotten*."""

    handler: _Handler
    leads_to: frozenset[ProxyState | None]


def _to(handler: _Handler, *states: ProxyState | None) -> Transition:
    return Transition(handler, frozenset(states))


_RESTART = (_S.STARTING, _S.BACKOFF, _S.REFUSED, None)
_AFTER_STOP = (*_RESTART, _S.STOPPED)

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
    (_S.RUNNING, ev.Ready): _to(Supervisor._announced, _S.RUNNING),
    (_S.RUNNING, ev.Restart): _to(Supervisor._restart_running, _S.STOPPING),
    (_S.RUNNING, ev.Hold): _to(Supervisor._hold_running, _S.STOPPING),
    (_S.RUNNING, ev.Exited): _to(Supervisor._crashed, *_RESTART),
    (_S.BACKOFF, ev.Defined): _to(Supervisor._redefine_waiting, _S.BACKOFF, _S.STARTING),
    (_S.BACKOFF, ev.Removed): _to(Supervisor._remove_idle, None),
    (_S.BACKOFF, ev.Restart): _to(Supervisor._restart_idle, _S.STARTING),
    (_S.BACKOFF, ev.Hold): _to(Supervisor._hold_waiting, _S.STOPPED),
    (_S.BACKOFF, ev.TimerFired): _to(Supervisor._wait_over, _S.STARTING),
    (_S.STOPPING, ev.Defined): _to(Supervisor._redefine, _S.STOPPING),
    (_S.STOPPING, ev.Removed): _to(Supervisor._unwant, _S.STOPPING),
    (_S.STOPPING, ev.Ready): _to(Supervisor._announced_too_late, _S.STOPPING),
    (_S.STOPPING, ev.Restart): _to(Supervisor._restart_after_all, _S.STOPPING),
    (_S.STOPPING, ev.Hold): _to(Supervisor._hold_after_all, _S.STOPPING),
    (_S.STOPPING, ev.TimerFired): _to(Supervisor._kill, _S.KILLING),
    (_S.STOPPING, ev.Exited): _to(Supervisor._stopped, *_AFTER_STOP),
    (_S.KILLING, ev.Defined): _to(Supervisor._redefine, _S.KILLING),
    (_S.KILLING, ev.Removed): _to(Supervisor._unwant, _S.KILLING),
    (_S.KILLING, ev.Ready): _to(Supervisor._announced_too_late, _S.KILLING),
    (_S.KILLING, ev.Restart): _to(Supervisor._restart_after_all, _S.KILLING),
    (_S.KILLING, ev.Hold): _to(Supervisor._hold_after_all, _S.KILLING),
    (_S.KILLING, ev.TimerFired): _to(Supervisor._kill, _S.KILLING),
    (_S.KILLING, ev.Exited): _to(Supervisor._stopped, *_AFTER_STOP),
    (_S.STOPPED, ev.Defined): _to(Supervisor._redefine_waiting, _S.STOPPED, _S.STARTING),
    (_S.STOPPED, ev.Removed): _to(Supervisor._remove_idle, None),
    (_S.STOPPED, ev.Restart): _to(Supervisor._restart_idle, _S.STARTING),
}
