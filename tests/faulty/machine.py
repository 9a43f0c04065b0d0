"""What an agent makes of things that happen to the whole machine."""

from __future__ import annotations

import asyncio
import time

from msgspec.structs import replace

from reference.supervisor import events as ev
from reference.supervisor.real import RealWorld
from reference.supervisor.runner import ManagedProxies
from tests.faulty import fault

#: Between the shortest standstill that a check makes and the longest that a busy machine does.
_GAP_SECONDS = 2.5


@fault("lifecycle/machine/01")
def blames_proxies_for_a_power_cut() -> None:
    """Takes proxies that were all gone when it came back for crashed, and has them wait for their next start."""
    honest = RealWorld.remember

    def blaming(self: RealWorld) -> tuple[ev.Memory, ...]:
        found = honest(self)
        gone = [memory for memory in found if memory.process and not self._lives(memory.process)]
        if len(found) < 2 or len(gone) < len(found):
            return found
        later = time.monotonic() + 60
        return tuple(replace(memory, process=None, starts=8, retry_at=later) for memory in found)

    RealWorld.remember = blaming  # type: ignore[method-assign]


@fault("lifecycle/machine/02")
def starts_over_after_a_standstill() -> None:
    """Starts all its proxies again when it notices that it has not run for a while."""
    honest = ManagedProxies.start

    async def vigilant(self: ManagedProxies) -> None:
        await honest(self)
        self._vigil = asyncio.get_running_loop().create_task(watch(self))  # type: ignore[attr-defined]

    async def watch(proxies: ManagedProxies) -> None:
        seen = time.monotonic()
        while True:
            await asyncio.sleep(0.1)
            before, seen = seen, time.monotonic()
            if seen - before > _GAP_SECONDS:
                for proxy_id in proxies.status():
                    proxies.restart(proxy_id, reason="the machine stood still")

    ManagedProxies.start = vigilant  # type: ignore[method-assign]
