"""May this peer speak to our service? The agent decides, for each connection, before the application is dialled.

An answer is reused for :data:`REUSE_SECONDS`, and connections of one peer that arrive while it is being asked for
share it; so a changed intention is in force well within a second, and a busy client does not turn into as many
requests to the agent. Without an answer nobody comes in (MP-BIP-004, MP-BIP-006).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from reference.proxy.api import AgentError, Client
from reference.proxy.catalog import AnswerError, Verdict, verdict
from reference.proxy.loop import Answer, Loop
from reference.proxy.workers import Workers

REUSE_SECONDS = 0.5


class Authorizer:
    """Asks ``/v1/agent/connect/authorize`` about peers of one service. Usable from every loop."""

    def __init__(
        self, client: Client, workers: Workers, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client
        self._workers = workers
        self._clock = clock
        self._lock = threading.Lock()
        #: Verdicts by (service, peer URI), with the time they were asked for.
        self._recent: dict[tuple[str, str], tuple[float, Verdict]] = {}
        self._asking: dict[tuple[str, str], list[Answer[Verdict]]] = {}

    async def check(self, loop: Loop, *, service: str, uri: str, serial: str) -> Verdict:
        """The verdict about ``uri`` (with the serial number of its certificate); never raises."""
        key = (service, uri)
        with self._lock:
            asked, recent = self._recent.get(key, (0.0, None))
            if recent is not None and self._clock() - asked < REUSE_SECONDS:
                return recent
            answer = Answer[Verdict](loop)
            waiting = self._asking.setdefault(key, [])
            waiting.append(answer)
            first = len(waiting) == 1
        if first:
            self._workers.submit(lambda: self._ask(key, serial))
        return await answer

    def _ask(self, key: tuple[str, str], serial: str) -> None:
        service, uri = key
        asked = self._clock()
        try:
            body = {"Target": service, "ClientCertURI": uri, "ClientCertSerial": serial}
            decided: Verdict | None = verdict(self._client.post("/v1/agent/connect/authorize", body))
            answer = decided
        except (AgentError, AnswerError) as problem:
            decided, answer = None, Verdict(authorized=False, reason=f"the agent gave no answer: {problem}")
        with self._lock:
            self._recent = {
                known: entry for known, entry in self._recent.items() if asked - entry[0] < REUSE_SECONDS
            }
            if decided is not None:
                self._recent[key] = (asked, decided)
            waiting = self._asking.pop(key)
        for one in waiting:
            one.give(answer)  # type: ignore[arg-type]  # one of the two branches above has set it
