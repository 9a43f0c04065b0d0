"""The proxy as a process: descriptors, signals, loops; from here on until SIGINT or SIGTERM.

SIGTERM drains: nothing is accepted any more, and connections have ``drain_timeout_ms`` to end. SIGINT, also a second
signal of either kind, ends at once: it is what the agent stops a managed proxy with, and a proxy that is replaced must
not keep its successor waiting (the agent starts that one when this one is gone). Both exit with 0 (MP-BIP-020).
"""

from __future__ import annotations

import os
import resource
import signal
import threading
from types import FrameType

from reference.proxy.api import Agent
from reference.proxy.bulk import Bulk
from reference.proxy.config import ProxyConfig
from reference.proxy.log import Log
from reference.proxy.loop import Loop
from reference.proxy.registration import Registration
from reference.proxy.service import Service

LOOPS = 1
#: Threads for streams, where there are the cores; more would mostly wait for the interpreter's lock.
BULK_LOOPS = 3


def run(*, agent: Agent, what: str | ProxyConfig, registration: Registration | None, log: Log) -> None:
    """Serve until a signal ends it. To be called from the main thread.

    ``what`` is the id of a proxy that the agent describes, or the description itself; ``registration`` ends with it,
    before connections do: nobody shall be sent here any more.
    """
    _raise_descriptor_limit()

    def crashed(problem: Exception) -> None:
        log.err(f"a connection failed unexpectedly: {problem!r}")

    loops = [Loop(on_crash=crashed) for _ in range(LOOPS)]
    main = loops[0]
    # One core is left to those who converse.
    bulk = Bulk(min(len(os.sched_getaffinity(0)) - 1, BULK_LOOPS), on_crash=crashed)
    service = Service(loops, bulk=bulk, agent=agent, log=log)
    signalled: list[int] = []

    def end() -> None:
        service.close()
        main.stop()

    def hear(number: int, _frame: FrameType | None) -> None:
        signalled.append(number)
        if registration is not None:
            registration.stop()
        if signalled == [signal.SIGTERM]:
            main.post(lambda: service.drain(main.stop))
        else:
            main.post(end)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, hear)
    if isinstance(what, str):
        service.follow(what)
    else:
        service.serve(what)
    for loop in loops[1:]:
        threading.Thread(target=loop.run, name="loop", daemon=True).start()
    main.run()
    service.report()
    if registration is not None:
        registration.join()


def _raise_descriptor_limit() -> None:
    """A relayed connection takes two descriptors, and the customary soft limit is 1,024."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
