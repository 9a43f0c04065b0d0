"""How readers wait for a change: by topic, woken once, nothing lost in between.

A reader that reads and then waits without an ``await`` in between cannot miss a change, because all writers
run on the same event loop. This is the whole trick; there are no queues and no locks.
"""

from __future__ import annotations

import asyncio


class Watch:
    """Wakes the readers of a topic when it changes."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether the agent is ending: then nobody waits any more."""
        return self._closed

    @property
    def waiting(self) -> int:
        """How many readers wait."""
        return sum(len(futures) for futures in self._waiting.values())

    def notify(self, *topics: str) -> None:
        """Wake everybody who waits for one of ``topics``."""
        for topic in topics:
            for future in self._waiting.pop(topic, ()):
                if not future.done():
                    future.set_result(None)

    def close(self) -> None:
        """Wake everybody, now and from now on, so that no reader holds up the end of the agent."""
        self._closed = True
        self.notify(*list(self._waiting))

    async def wait(self, topic: str, *, seconds: float) -> bool:
        """Wait up to ``seconds`` for a change of ``topic``; False when there was none."""
        if self._closed:
            return False
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(topic, set()).add(future)
        try:
            async with asyncio.timeout(seconds):
                await future
        except TimeoutError:
            return False
        finally:
            waiting = self._waiting.get(topic)
            if waiting is not None:
                waiting.discard(future)
                if not waiting:
                    del self._waiting[topic]
        return not self._closed
