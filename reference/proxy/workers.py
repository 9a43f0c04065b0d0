"""Threads for the few calls that block: asking the agent, looking up host names."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import TypeVar

from reference.proxy.loop import Answer, Loop

T = TypeVar("T")


class Workers:
    """At most ``count`` threads, started when they are first needed; calls wait in a queue."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._started = 0
        self._lock = threading.Lock()
        self._queue: SimpleQueue[Callable[[], None]] = SimpleQueue()

    async def run(self, loop: Loop, call: Callable[[], T]) -> T:
        """Await ``call()`` made on a worker thread; what it raises is raised here."""
        answer = Answer[tuple[T | None, Exception | None]](loop)

        def work() -> None:
            try:
                answer.give((call(), None))
            except Exception as problem:
                answer.give((None, problem))

        self.submit(work)
        value, problem = await answer
        if problem is not None:
            raise problem
        return value  # type: ignore[return-value]  # T may itself be optional

    def submit(self, call: Callable[[], None]) -> None:
        """Run ``call`` on a worker thread some time; it must not raise. From any thread."""
        with self._lock:
            if self._started < self._count:
                self._started += 1
                threading.Thread(target=self._serve, name=f"worker {self._started}", daemon=True).start()
        self._queue.put(call)

    def _serve(self) -> None:
        while True:
            self._queue.get()()
