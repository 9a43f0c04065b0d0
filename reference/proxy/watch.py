"""Blocking queries of the agent, followed for as long as the proxy lives.

Deviation from the original (MP-BIP-019): it retried a watch after 5 s x failures^2, at most 180 s; here the first
retry comes after a quarter of a second and the pause doubles up to 30 s, with jitter, so that a restarted agent is
found at once and a missing one costs nothing.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from reference.proxy.api import REQUEST_TIMEOUT, Agent, AgentError, Connection, Reply
from reference.proxy.log import Log

#: How long the agent may hold a blocking query; it adds up to a sixteenth.
BLOCK_SECONDS = 300

FIRST_PAUSE = 0.25
LONGEST_PAUSE = 30.0
#: An answer quicker than this that brought nothing new did not block.
UNBLOCKED_SECONDS = 0.05
#: So many of those in a row are chance: an index moves for others, too.
IDLE_TURNS = 3


def next_cursor(headers: Mapping[str, str], previous: str) -> str:
    """The query parameter that makes the next request wait for news, from the headers of the last answer.

    A content hash is opaque; an index that went backwards starts again from nothing, since it belongs to another
    life of the agent.
    """
    if content_hash := headers.get("x-consul-contenthash"):
        return f"hash={content_hash}"
    index = headers.get("x-consul-index", "")
    if not (index.isascii() and index.isdigit()) or int(index) < 1:
        return ""
    if previous.startswith("index=") and int(index) < int(previous.removeprefix("index=")):
        return ""
    return f"index={index}"


def pause_before(failures: int, chance: float) -> float:
    """Seconds before retry number ``failures`` (from 1); ``chance`` in [0, 1) spreads a crowd of proxies."""
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures - 1, 16)) * (0.75 + chance / 2)


class Watch:
    """Follows one path by blocking queries, on a thread of its own, until :meth:`stop`.

    ``on_change`` gets the decoded answer, on that thread, first of all and whenever its bytes have changed; what it
    raises counts as a failure of the watch. A failure is logged when its reason is a new one, and retried.
    ``other_path`` is asked where the agent does not know ``path``.
    """

    def __init__(
        self,
        agent: Agent,
        *,
        name: str,
        path: str,
        on_change: Callable[[Any], None],
        log: Log,
        block_seconds: int = BLOCK_SECONDS,
        other_path: str = "",
    ) -> None:
        #: Whether the last request was answered, so that a change would be heard of at once.
        self.in_step = False
        self._connection = Connection(agent)
        self._name = name
        self._paths = (path, other_path) if other_path else (path,)
        self._on_change = on_change
        self._log = log
        self._block_seconds = block_seconds
        self._stopped = threading.Event()
        threading.Thread(target=self._follow, name=f"watch {name}", daemon=True).start()

    def stop(self) -> None:
        """End the watch; no change is told afterwards but one that is being told now."""
        self._stopped.set()
        self._connection.cut()

    def _follow(self) -> None:
        turn = _Turn()
        reason, failures = "", 0
        while not self._stopped.is_set():
            try:
                following = self._ask(turn)
                if self._stopped.is_set():
                    break
                self.in_step = bool(following.cursor)
                if following.idle == 0:
                    failures = 0
                    if reason:
                        self._log.info(f"consul.watch: Watch (type: {self._name}) works again")
                    reason = ""
                elif following.idle > IDLE_TURNS:
                    raise AgentError("the agent answers blocking queries without blocking")
                turn = following
            except (AgentError, ValueError, OSError) as problem:
                self.in_step = False
                failures += 1
                pause = pause_before(failures, os.urandom(1)[0] / 256)
                if str(problem) != reason and not self._stopped.is_set():
                    reason = str(problem)
                    self._log.err(
                        f"consul.watch: Watch (type: {self._name}) errored: {reason}, retry in {pause:.2g}s"
                    )
                # Another agent may answer next, with a smaller index: ask it without one, lest it makes us wait.
                turn = replace(turn, cursor="")
                self._stopped.wait(pause)
        self._connection.close()

    def _ask(self, turn: _Turn) -> _Turn:
        """One request, and what it means for the next. A path that is unknown gives way to the other one."""
        asked = time.monotonic()
        reply = self._get(turn.cursor)
        if reply.status == 404 and len(self._paths) > 1:
            self._paths = self._paths[::-1]
            turn = replace(turn, cursor="")
            reply = self._get("")
        answer = reply.json()
        following = next_cursor(reply.headers, turn.cursor)
        if self._stopped.is_set():
            return turn
        if reply.body != turn.seen:
            self._on_change(answer)
            return _Turn(cursor=following, seen=reply.body)
        if time.monotonic() - asked >= UNBLOCKED_SECONDS:
            return replace(turn, cursor=following, idle=0)
        # Without a cursor it is right to answer at once, as an agent does that is back from a restart.
        return replace(turn, cursor=following, idle=turn.idle + bool(turn.cursor or not following))

    def _get(self, cursor: str) -> Reply:
        # Without a cursor the agent has nothing to wait for, though some wait ten minutes for a leaf.
        held = self._block_seconds * 17 / 16 if cursor else 0.0
        return self._connection.request("GET", self._url(cursor), timeout=held + REQUEST_TIMEOUT)

    def _url(self, cursor: str) -> str:
        path = self._paths[0]
        if not cursor:
            return path
        return f"{path}{'&' if '?' in path else '?'}{cursor}&wait={self._block_seconds}s"


@dataclass(frozen=True, kw_only=True)
class _Turn:
    """Where a watch is: its cursor, the last body, and how many answers in a row came at once and said nothing."""

    cursor: str = ""
    seen: bytes = b""
    idle: int = 0
