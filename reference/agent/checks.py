"""The listening check of managed proxies: is there anybody on the port? (MP-CAT-006 to MP-CAT-009)

The original looks every 10 seconds, the first time after a random delay, so a proxy takes 5 seconds on average
to be found. Here a check looks at once, then ever more slowly until the first success or the 10 seconds are
reached, and starts over whenever the proxy was started (:meth:`ProxyChecks.look_now`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from reference.agent.proxies import Managed, check_target
from reference.agent.services import LocalState, Registration
from reference.catalog.model import Check, Status

#: Seconds between looks at a proxy that listens, and the most that a look may take.
INTERVAL = 10.0
#: Seconds until the second look; each further pause is longer by the factor, up to the interval.
FIRST_PAUSE = 0.05
PAUSE_FACTOR = 1.5


class Board(Protocol):
    """Where results are shown: the catalog."""

    def put_check(self, check: Check) -> None:
        """Show a result."""

    def remove_check(self, check: Check) -> None:
        """Show it no longer."""


@dataclass(kw_only=True)
class _Probe:
    target: tuple[str, int]
    check: Check
    start_over: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class ProxyChecks:
    """One check per managed proxy. An observer of the local state, on a running event loop.

    ``board`` shows each new result. ``notes`` stands in every check: why no proxy is started, when none is.
    """

    def __init__(
        self,
        state: LocalState,
        *,
        board: Board,
        notes: str = "",
        interval: float = INTERVAL,
    ) -> None:
        self._state = state
        self._board = board
        self._notes = notes
        self._interval = interval
        self._probes: dict[str, _Probe] = {}

    def records(self) -> Mapping[str, Check]:
        """The checks with their last results, by id."""
        return {probe.check.id: probe.check for probe in self._probes.values()}

    def of_service(self, service_id: str) -> tuple[Check, ...]:
        """The checks of one service."""
        probe = self._probes.get(service_id)
        return () if probe is None else (probe.check,)

    def look_now(self, proxy_id: str) -> None:
        """The proxy was just started: look at once, and closely."""
        probe = self._probes.get(proxy_id)
        if probe is not None:
            probe.start_over.set()

    def service_put(self, registration: Registration) -> None:
        """Services have no checks of their own here."""

    def service_gone(self, service_id: str) -> None:
        """Services have no checks of their own here."""

    def proxy_put(self, managed: Managed) -> None:
        """Begin to look, or look elsewhere when the proxy has moved."""
        service = managed.service
        target = check_target(self._state.effective_config(managed))
        old = self._probes.get(service.id)
        if target is None:
            self._drop(service.id)
            return
        if old is not None and old.target == target and old.check.service_name == service.name:
            return
        self._cancel(old)
        check = Check(
            id=f"service:{service.id}",
            name="Connect Proxy Listening",
            status=Status.CRITICAL,
            notes=self._notes,
            service_id=service.id,
            service_name=service.name,
            service_tags=service.tags,
        )
        probe = _Probe(target=target, check=check)
        self._probes[service.id] = probe
        self._board.put_check(check)
        probe.task = asyncio.get_running_loop().create_task(self._run(probe), name=check.id)

    def proxy_gone(self, managed: Managed) -> None:
        """Stop looking."""
        self._drop(managed.service.id)

    async def close(self) -> None:
        """Stop looking at all proxies; the last results stay."""
        tasks = [probe.task for probe in self._probes.values() if probe.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _drop(self, proxy_id: str) -> None:
        probe = self._probes.pop(proxy_id, None)
        self._cancel(probe)
        if probe is not None:
            self._board.remove_check(probe.check)

    @staticmethod
    def _cancel(probe: _Probe | None) -> None:
        if probe is not None and probe.task is not None:
            probe.task.cancel()

    async def _run(self, probe: _Probe) -> None:
        pause = FIRST_PAUSE
        while True:
            status, output = await look(*probe.target, seconds=self._interval)
            check = replace(probe.check, status=status, output=output)
            if check != probe.check:
                probe.check = check
                self._board.put_check(check)
            if status is Status.PASSING:
                pause = self._interval
            try:
                # Not wait_for: on Python 3.11 it may swallow a cancellation that comes with the result.
                async with asyncio.timeout(pause):
                    await probe.start_over.wait()
            except TimeoutError:
                pause = min(self._interval, pause * PAUSE_FACTOR)
            else:
                probe.start_over.clear()
                pause = FIRST_PAUSE


async def look(address: str, port: int, *, seconds: float) -> tuple[Status, str]:
    """Connect and hang up; the result with the original's words. it takes at most ``seconds``."""
    where = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    try:
        async with asyncio.timeout(seconds):
            _, writer = await asyncio.open_connection(address, port)
    except TimeoutError:
        return Status.CRITICAL, f"dial tcp {where}: i/o timeout"
    except OSError as error:
        # asyncio words its errors its own way; the number says it in the system's.
        reason = os.strerror(error.errno).lower() if error.errno and error.errno > 0 else str(error)
        return Status.CRITICAL, f"dial tcp {where}: connect: {reason}"
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return Status.PASSING, f"TCP connect {where}: Success"
