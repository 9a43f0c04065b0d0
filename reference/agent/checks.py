"""The results of the checks of this agent, and whatever brings them about: looking, waiting to be told, following.

========================  =============================================================================
check                     result
========================  =============================================================================
managed proxy             is there anybody on its port? (MP-CAT-006 to MP-CAT-009)
TCP, HTTP, script         a look each interval (:mod:`reference.agent.looking`)
TTL                       what it was told last, critical when it was told nothing for too long
alias                     the worst of the checks of another service, and of its node
maintenance               critical
========================  =============================================================================

The original looks every 10 seconds at a proxy, the first time after a random delay, so one takes 5 seconds on
average to be found. Here every check looks at once; that of a proxy ever more slowly until the first success or the
10 seconds are reached, and it starts over whenever the proxy was started (:meth:`HealthChecks.look_now`).

A service with a check that stayed critical for as long as its ``deregister_critical_service_after`` is reaped.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping

from msgspec.structs import replace

from reference.agent.check_runs import Board, CheckMemory, CheckSettings, Run, worst_of
from reference.agent.local_checks import LocalCheck
from reference.agent.looking import Look, look_of, look_tcp
from reference.agent.proxies import Managed, check_target
from reference.agent.services import KeeperError, LocalState, NotAllowed, Registration
from reference.catalog.model import Check, Status
from reference.catalog.store import NodeCheck
from reference.config.checks import CheckDefinition, CheckKind

_log = logging.getLogger("agent")

#: Seconds until the second look; each further pause is longer by the factor, up to the interval.
FIRST_PAUSE = 0.05
PAUSE_FACTOR = 1.5
#: Checks do not run more often than this (s).
_SHORTEST_INTERVAL = 1.0
#: How many checks look at the same time.
_LOOKS_AT_ONCE = 32
#: How long an alias check waits for a change of a node that another agent looks after (s).
_ALIAS_WAIT = 600.0
#: Looks at proxies whose pauses end within so many seconds are taken together.
_TOGETHER = 0.5


class HealthChecks:
    """The checks of one agent. An observer of the local state and of its checks, on a running event loop.

    ``board`` shows each new result; ``elsewhere`` has the checks of other nodes, by name, and ``changed`` waits, at
    most for the given seconds, for a check somewhere in the mesh to change.
    """

    def __init__(
        self,
        state: LocalState,
        *,
        board: Board,
        settings: CheckSettings | None = None,
        memory: CheckMemory | None = None,
        elsewhere: Callable[[str], Iterable[NodeCheck]] = lambda node: (),
        changed: Callable[[float], Awaitable[object]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._state = state
        self._board = board
        self._settings = settings or CheckSettings()
        self._memory = memory
        self._elsewhere = elsewhere
        self._changed = changed
        self._clock = clock
        self._runs: dict[str, Run] = {}
        self._looks = asyncio.Semaphore(_LOOKS_AT_ONCE)
        self._reaper: asyncio.Task[None] | None = None
        #: Of runs that are over: a script, say, has still to be ended.
        self._ending: set[asyncio.Task[None]] = set()

    def records(self) -> Mapping[str, Check]:
        """The checks with their last results, by id."""
        return {run.check.id: run.check for run in self._runs.values()}

    def of_service(self, service_id: str) -> tuple[Check, ...]:
        """The checks of one service, or of the node for the empty id."""
        return tuple(run.check for run in self._runs.values() if run.check.service_id == service_id)

    def of_proxy(self, proxy_id: str) -> Check | None:
        """The check that tells whether a managed proxy listens, unless it is switched off."""
        run = self._runs.get(_proxy_check(proxy_id))
        return None if run is None else run.check

    def tell(self, proxy_id: str, trouble: str) -> None:
        """What to add, from the next look on, when a proxy does not listen: the reason, if the supervisor knows one."""
        run = self._runs.get(_proxy_check(proxy_id))
        if run is not None:
            run.trouble = trouble

    def look_now(self, proxy_id: str) -> None:
        """The proxy was just started: look at once, and closely."""
        run = self._runs.get(_proxy_check(proxy_id))
        if run is not None:
            run.start_over = True
            run.wake.set()

    def set_result(self, check_id: str, status: Status, output: str) -> None:
        """Tell a TTL check how its service is, and start its time anew. Raises :class:`ValueError` for other checks.

        The result is remembered before anybody sees it: :class:`~reference.agent.services.KeeperError`.
        """
        run = self._runs.get(check_id)
        if run is None or run.definition is None or run.definition.kind is not CheckKind.TTL:
            raise ValueError(f'CheckID "{check_id}" does not have associated TTL')
        if self._memory is not None:
            expires = time.time() + run.definition.ttl
            self._memory.remember_result(check_id, status, output, expires=expires)
        run.told = output
        self._start_ttl(run, run.definition)
        self._result(run, status, output)

    def service_put(self, registration: Registration) -> None:
        """The checks of services are told one by one."""

    def service_gone(self, service_id: str) -> None:
        """The checks of services are told one by one."""

    def proxy_put(self, managed: Managed) -> None:
        """Begin to look, or look elsewhere when the proxy has moved."""
        service = managed.service
        target = check_target(self._state.effective_config(managed))
        check_id = _proxy_check(service.id)
        old = self._runs.get(check_id)
        if target is None:
            self._drop(check_id)
            return
        if old is not None and old.target == target and old.check.service_name == service.name:
            return
        check = Check(
            id=check_id,
            name="Connect Proxy Listening",
            status=Status.CRITICAL,
            notes=self._settings.proxy_notes,
            service_id=service.id,
            service_name=service.name,
            service_tags=service.tags,
        )
        interval = self._settings.proxy_interval
        run = Run(
            check=check,
            shown=check,
            look=lambda: look_tcp(*target, seconds=interval),
            target=target,
            trouble="" if old is None else old.trouble,
        )
        self._start(run)

    def proxy_gone(self, managed: Managed) -> None:
        """Look no longer."""
        self._drop(_proxy_check(managed.service.id))

    def check_put(self, check: LocalCheck) -> None:
        """Begin with a check, or go on with it in another way; its last result stays until there is a new one."""
        old, record, definition = self._runs.get(check.id), check.record, check.definition
        if old is not None and definition is not None:
            record = replace(record, status=old.check.status, output=old.check.output)
            if old.definition == definition:
                self._carry_on(old, record, definition)
                return
        run = Run(check=record, shown=record, definition=definition)
        if definition is not None:
            run.look = look_of(definition)
            if definition.kind is CheckKind.TTL:
                self._recall(run)
        self._start(run)

    def check_gone(self, check: LocalCheck) -> None:
        """Look no longer."""
        self._drop(check.id)

    def reap(self) -> None:
        """Remove the services with a check that has been critical for too long."""
        now = self._clock()
        for run in list(self._runs.values()):
            definition, since = run.definition, run.critical_since
            if definition is None or not definition.deregister_after or since is None:
                continue
            service_id = run.check.service_id
            if now - since <= max(definition.deregister_after, self._settings.reap_after_min):
                continue
            try:
                if self._state.deregister(service_id):
                    _log.info(
                        'Check "%s" for service "%s" has been critical for too long; deregistered service',
                        run.check.id,
                        service_id,
                    )
            except (NotAllowed, KeeperError) as error:
                _log.error(
                    'unable to deregister service "%s" after check "%s" has been critical for too long: %s',
                    service_id,
                    run.check.id,
                    error,
                )

    async def close(self) -> None:
        """Stop looking, and wait until nobody looks any more."""
        for run in self._runs.values():
            self._end(run)
        tasks = [*self._ending]
        if self._reaper is not None:
            self._reaper.cancel()
            tasks.append(self._reaper)
        await asyncio.gather(*tasks, return_exceptions=True)

    def _end(self, run: Run) -> None:
        run.cancel()
        if run.task is not None:
            self._ending.add(run.task)
            run.task.add_done_callback(self._ending.discard)

    def _start(self, run: Run) -> None:
        old = self._runs.get(run.check.id)
        if old is not None:
            self._end(old)
        self._runs[run.check.id] = run
        self._note_state(run)
        self._board.put_check(run.check)
        self._follow(run.check)
        definition = run.definition
        loop = asyncio.get_running_loop()
        if run.look is not None:
            run.task = loop.create_task(self._look_on(run, run.look), name=run.check.id)
        elif definition is not None and definition.kind is CheckKind.TTL:
            self._start_ttl(run, definition)
        elif definition is not None and self._is_elsewhere(definition):
            run.task = loop.create_task(self._follow_node(run, definition), name=run.check.id)
        elif definition is not None:
            self._result(run, *self._aliased(run, definition))
        if definition is not None and definition.deregister_after and self._reaper is None:
            self._reaper = loop.create_task(self._reap_on(), name="reaper")

    def _carry_on(self, run: Run, record: Check, definition: CheckDefinition) -> None:
        """The same check was registered again: its service may have another name, and a TTL begins anew."""
        if definition.kind is CheckKind.TTL:
            self._start_ttl(run, definition)
        if run.check != record:
            run.check = run.shown = record
            self._board.put_check(record)

    def _drop(self, check_id: str) -> None:
        run = self._runs.pop(check_id, None)
        if run is not None:
            self._end(run)
            self._board.remove_check(check_id)
            self._follow(run.check)

    def _start_ttl(self, run: Run, definition: CheckDefinition) -> None:
        if run.timer is not None:
            run.timer.cancel()

        def expire() -> None:
            _log.warning('Check "%s" missed TTL, is now critical', run.check.id)
            last = f" (last output before timeout follows): {run.told}" if run.told else ""
            self._result(run, Status.CRITICAL, f"TTL expired{last}")

        run.timer = asyncio.get_running_loop().call_later(definition.ttl, expire)

    def _recall(self, run: Run) -> None:
        recalled = None if self._memory is None else self._memory.recall_result(run.check.id)
        if recalled is not None:
            status, output = recalled
            run.check = run.shown = replace(run.check, status=status, output=output)

    def _result(self, run: Run, status: Status, output: str) -> None:
        before = run.check
        output = "" if self._settings.discard_output else output
        if (before.status, before.output) == (status, output):
            return
        run.check = replace(before, status=status, output=output)
        self._note_state(run)
        if run.shown.status is status and run.shown.output:
            # Only the words are new: they can wait, and so can those who are woken by each change.
            if run.late is None:
                run.late = asyncio.get_running_loop().call_later(self._settings.output_delay, self._show, run)
        else:
            self._show(run)
        # An alias tells of a new status only, or two that follow each other would never come to an end.
        if before.status is not status or run.definition is None or not _is_alias(run.definition):
            self._follow(run.check)

    def _show(self, run: Run) -> None:
        if run.late is not None:
            run.late.cancel()
            run.late = None
        run.shown = run.check
        self._board.put_check(run.check)

    def _note_state(self, run: Run) -> None:
        if run.check.status is not Status.CRITICAL:
            run.critical_since = None
        elif run.critical_since is None:
            run.critical_since = self._clock()

    def _follow(self, changed: Check) -> None:
        """Bring the aliases up to date that are concerned by a change."""
        for run in list(self._runs.values()):
            definition = run.definition
            if definition is None or not _is_alias(definition) or self._is_elsewhere(definition):
                continue
            if run.check.id != changed.id and changed.service_id in ("", definition.alias_service):
                self._result(run, *self._aliased(run, definition))

    def _is_elsewhere(self, definition: CheckDefinition) -> bool:
        """Whether an alias is about a node that another agent looks after."""
        return definition.alias_node.lower() not in ("", self._settings.node.lower())

    def _aliased(self, alias: Run, definition: CheckDefinition) -> tuple[Status, str]:
        followed = (run.check for run in self._runs.values() if run is not alias)
        return worst_of(check for check in followed if check.service_id in ("", definition.alias_service))

    async def _follow_node(self, run: Run, definition: CheckDefinition) -> None:
        while True:
            found = (each.check.value for each in self._elsewhere(definition.alias_node))
            concerned = [each for each in found if each.service_id in ("", definition.alias_service)]
            self._result(run, *worst_of(concerned))
            await self._changed(_ALIAS_WAIT)

    async def _look_on(self, run: Run, look: Look) -> None:
        longest = self._settings.proxy_interval
        if run.definition is not None:
            longest = max(run.definition.interval, _SHORTEST_INTERVAL)
        pause = FIRST_PAUSE if run.target is not None else longest
        while True:
            async with self._looks:
                status, output = await look()
            if run.trouble and status is not Status.PASSING:
                output = f"{output}; {run.trouble}"
            self._result(run, status, output)
            if status is Status.PASSING:
                pause = longest
            await self._pause(run, pause)
            pause = FIRST_PAUSE if run.start_over else min(longest, pause * PAUSE_FACTOR)
            run.start_over = False

    async def _pause(self, run: Run, seconds: float) -> None:
        """Wait that long, or until something wakes it; the last pause is a little shorter, so that many end together.

        A thousand proxies are looked at a hundred times a second. Waking up is most of what that costs.
        """
        loop = asyncio.get_running_loop()
        if run.target is not None and seconds > _TOGETHER:
            seconds -= (loop.time() + seconds) % _TOGETHER
        alarm = loop.call_later(seconds, run.wake.set)
        try:
            await run.wake.wait()
        finally:
            alarm.cancel()
            run.wake.clear()

    async def _reap_on(self) -> None:
        while True:
            await asyncio.sleep(self._settings.reap_interval)
            self.reap()


def _is_alias(definition: CheckDefinition) -> bool:
    return definition.kind is CheckKind.ALIAS


def _proxy_check(proxy_id: str) -> str:
    return f"service:{proxy_id}"
