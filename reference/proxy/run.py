"""The proxy as a process: descriptors, signals, loops; from here on until SIGINT or SIGTERM."""

from __future__ import annotations

import resource
import signal
import threading

from reference.proxy.api import Agent
from reference.proxy.log import Log
from reference.proxy.loop import Loop
from reference.proxy.service import Service

LOOPS = 1


def run(*, agent: Agent, proxy_id: str, log: Log) -> None:
    """Serve until SIGINT or SIGTERM (MP-BIP-020). To be called from the main thread."""
    _raise_descriptor_limit()
    loops = [
        Loop(on_crash=lambda problem: log.err(f"a connection failed unexpectedly: {problem!r}"))
        for _ in range(LOOPS)
    ]
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: loops[0].post(loops[0].stop))
    Service(loops, agent=agent, proxy_id=proxy_id, log=log)
    for loop in loops[1:]:
        threading.Thread(target=loop.run, name="loop", daemon=True).start()
    loops[0].run()


def _raise_descriptor_limit() -> None:
    """A relayed connection takes two descriptors, and the customary soft limit is 1,024."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
