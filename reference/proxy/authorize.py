"""May this peer speak to our service? The agent decides, before the application is dialled.

Rules:

1. A verdict is reused until some intention changes, which a blocking query tells (:class:`Intentions`), and for
   :data:`KEEP_SECONDS` at most. While that query is not in step it is reused for :data:`REUSE_SECONDS` only; so a
   changed intention is in force well within a second either way.
2. Connections of one peer that arrive while the agent is being asked share its answer.
3. When the agent cannot be reached, the last verdict about the peer stands, however old ("fail static"; deviation
   from MP-BIP-006). A peer that it never spoke about stays outside, and so does everybody when it answers with a
   refusal of our token.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from reference.proxy.api import Agent, AgentError, Client, Unreachable
from reference.proxy.catalog import AnswerError, Verdict, verdict
from reference.proxy.log import Log
from reference.proxy.loop import Answer, Loop
from reference.proxy.watch import Watch
from reference.proxy.workers import Workers

REUSE_SECONDS = 0.5
KEEP_SECONDS = 30.0
#: How long the agent may take for a verdict; less than a peer is given for its handshake by default.
ASK_SECONDS = 3.0
#: Peers that are remembered; the longest unused go first.
REMEMBERED = 4096


class Intentions:
    """Hears of every change of an intention. ``on_change`` is called on a thread of the watch."""

    def __init__(self, agent: Agent, *, on_change: Callable[[], None], log: Log) -> None:
        #: Counts the changes; verdicts of an earlier number may be outdated.
        self.number = 0
        self._on_change = on_change
        self._watch = Watch(
            agent,
            name="connect_intentions",
            path="/v1/connect/intentions",
            on_change=self._hear,
            log=log,
        )

    @property
    def in_step(self) -> bool:
        """Whether a change would be heard of at once."""
        return self._watch.in_step

    def stop(self) -> None:
        self._watch.stop()

    def _hear(self, _answer: Any) -> None:
        self.number += 1
        self._on_change()


@dataclass(frozen=True, kw_only=True)
class _Known:
    """A verdict, when it was asked for, and after which change of intentions."""

    verdict: Verdict
    asked: float
    number: int


class Authorizer:
    """Asks ``/v1/agent/connect/authorize`` about peers. Usable from every loop."""

    def __init__(
        self,
        client: Client,
        workers: Workers,
        intentions: Intentions,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._workers = workers
        self._intentions = intentions
        self._clock = clock
        self._lock = threading.Lock()
        #: By (service, peer URI), least recently asked about first.
        self._known: dict[tuple[str, str], _Known] = {}
        self._asking: dict[tuple[str, str], list[Answer[Verdict]]] = {}

    async def check(self, loop: Loop, *, service: str, uri: str, serial: str) -> Verdict:
        """The verdict about ``uri`` (with the serial number of its certificate); never raises."""
        while True:
            number = self._intentions.number
            found = await self._look(loop, (service, uri), serial)
            if number == self._intentions.number:
                return found

    async def _look(self, loop: Loop, key: tuple[str, str], serial: str) -> Verdict:
        with self._lock:
            known = self._known.get(key)
            if known is not None and self._holds(known):
                return known.verdict
            answer = Answer[Verdict](loop)
            waiting = self._asking.setdefault(key, [])
            waiting.append(answer)
            first = len(waiting) == 1
        if first:
            self._workers.submit(lambda: self._ask(key, serial))
        return await answer

    def _holds(self, known: _Known) -> bool:
        age = self._clock() - known.asked
        if self._intentions.in_step:
            return known.number == self._intentions.number and age < KEEP_SECONDS
        return age < REUSE_SECONDS

    def _ask(self, key: tuple[str, str], serial: str) -> None:
        service, uri = key
        asked, number = self._clock(), self._intentions.number
        fresh: Verdict | None = None
        problem = ""
        try:
            body = {"Target": service, "ClientCertURI": uri, "ClientCertSerial": serial}
            fresh = verdict(self._client.post("/v1/agent/connect/authorize", body, timeout=ASK_SECONDS))
        except (AgentError, AnswerError) as failure:
            problem = f"the agent gave no answer: {failure}"
            away = isinstance(failure, Unreachable)
        with self._lock:
            known = self._known.pop(key, None)
            if fresh is not None:
                self._known[key] = _Known(verdict=fresh, asked=asked, number=number)
                while len(self._known) > REMEMBERED:
                    del self._known[next(iter(self._known))]
            elif known is not None and away:
                self._known[key] = known
                fresh = known.verdict
            waiting = self._asking.pop(key)
        for one in waiting:
            one.give(fresh or Verdict(authorized=False, reason=problem))
