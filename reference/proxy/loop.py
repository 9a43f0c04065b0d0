"""One thread, one epoll: file descriptors, timers, and tasks that read like blocking code.

Two ways to live on a :class:`Loop`:

- *handlers* (:meth:`Loop.watch`) are called with the event mask of their descriptor. Events are level-triggered.
  The relay lives here: nothing stands between the event and the system call.
- *tasks* (:meth:`Loop.spawn`) are coroutines that await :func:`ready`, :class:`Answer` and :class:`Known`;
  connection set-up lives here, where order matters more than a microsecond. A task may bound itself with
  :meth:`Task.deadline`.

All methods belong to the loop's own thread, but for :meth:`Loop.post` and :meth:`Answer.give`.
"""

from __future__ import annotations

import itertools
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from heapq import heappop, heappush
from types import coroutine
from typing import Any, Generic, TypeVar

from reference.proxy.buffers import STREAM_BUFFER, STREAM_PIECE, Buffers
from reference.proxy.waiting import Waiting

READ = select.EPOLLIN
WRITE = select.EPOLLOUT

T = TypeVar("T")
Handler = Callable[[int], None]


class Timer:
    """A call that is due; :meth:`cancel` may come at any time, also after the call."""

    __slots__ = ("call",)

    def __init__(self, call: Callable[[], None]) -> None:
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        self.call = None


class Loop:
    """See the module. ``on_crash`` is told of an exception that a handler or a task let escape.

    ``bulk`` is for streams: what happens is better late than at the cost of others, and comes in large pieces.
    """

    def __init__(self, *, on_crash: Callable[[Exception], None], bulk: bool = False) -> None:
        self._epoll = select.epoll()
        self._waiting = Waiting(self._epoll.poll, awake=not bulk)
        self._handlers: dict[int, Handler] = {}
        self._masks: dict[int, int] = {}
        #: With a number each, so that two that are due at once need no comparison of their own.
        self._timers: list[tuple[float, int, Timer]] = []
        self._numbers = itertools.count()
        self._inbox: deque[Callable[[], None]] = deque()
        self._waker = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._running = True
        self._on_crash = on_crash
        self.buffers = Buffers(STREAM_BUFFER, STREAM_PIECE) if bulk else Buffers()
        self.watch(self._waker, READ, self._drain_inbox)

    def run(self) -> None:
        """Serve until :meth:`stop`, then close the loop."""
        wait, handlers, timers = self._waiting.wait, self._handlers, self._timers
        while self._running:
            for fd, events in wait(self._run_timers() if timers else None):
                handler = handlers.get(fd)
                if handler is None:  # an earlier handler of the same batch has closed it
                    continue
                try:
                    handler(events)
                except Exception as problem:
                    self.forget(fd)  # or it would be called again at once, and fail again
                    self._on_crash(problem)
        self._epoll.close()
        os.close(self._waker)

    def stop(self) -> None:
        """Leave :meth:`run` after the events at hand."""
        self._running = False

    def post(self, call: Callable[[], None]) -> None:
        """Run ``call`` on the loop soon. The one method for other threads and signal handlers."""
        self._inbox.append(call)
        os.eventfd_write(self._waker, 1)

    def later(self, seconds: float, call: Callable[[], None]) -> Timer:
        """Run ``call`` in ``seconds``."""
        timer = Timer(call)
        heappush(self._timers, (time.monotonic() + seconds, next(self._numbers), timer))
        return timer

    def watch(self, fd: int, mask: int, handler: Handler) -> None:
        """Call ``handler(events)`` whenever ``fd`` is in a state of ``mask``; replaces an earlier watch.

        A mask of 0 asks for silence, and silence it is: epoll would still report a hung-up peer, again and again,
        so the descriptor is taken out until it is wanted again.
        """
        self._handlers[fd] = handler
        known = self._masks.get(fd, 0)
        if mask == known and not mask & select.EPOLLONESHOT:
            return
        if not known:
            self._epoll.register(fd, mask)
        elif mask:
            self._epoll.modify(fd, mask)
        else:
            self._epoll.unregister(fd)
        self._masks[fd] = mask

    def forget(self, fd: int) -> None:
        """Stop watching ``fd``; to be called before it is closed."""
        self._handlers.pop(fd, None)
        if self._masks.pop(fd, 0):
            self._epoll.unregister(fd)

    def spawn(self, main: Callable[..., Coroutine[Any, Any, None]], *arguments: Any) -> None:
        """Run ``main(task, *arguments)`` as a task, at once and up to its first wait."""
        task = Task(self)
        self._guard(lambda: task.start(main(task, *arguments)))

    def _guard(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as problem:
            self._on_crash(problem)

    def _run_timers(self) -> float | None:
        """Make the calls that are due; the seconds to the next one, None without any."""
        timers, now = self._timers, time.monotonic()
        while timers:
            due, _, timer = timers[0]
            if timer.call is not None and due > now:
                return due - now if self._running else 0.0
            heappop(timers)
            if timer.call is not None:
                self._guard(timer.call)
        return None if self._running else 0.0

    def _drain_inbox(self, _events: int) -> None:
        os.eventfd_read(self._waker)
        while self._inbox:
            self._guard(self._inbox.popleft())


class Task:
    """A coroutine on a loop. It waits for one thing at a time; whatever it waits for resumes it exactly once."""

    __slots__ = ("_coro", "_deadline", "_waiting", "loop")

    _coro: Coroutine[Any, Any, None]

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self._deadline: Timer | None = None
        self._waiting: object = None

    def start(self, coro: Coroutine[Any, Any, None]) -> None:
        self._coro = coro
        self._advance(None)

    def deadline(self, seconds: float | None) -> None:
        """Raise :class:`TimeoutError` inside the task ``seconds`` from now unless it is moved; None: never."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if seconds is None else self.loop.later(seconds, self._expire)

    def resume(self, waited_for: object) -> None:
        """Go on, provided that ``waited_for`` is still what the task waits for."""
        if self._waiting is waited_for:
            self._advance(None)

    def _expire(self) -> None:
        if self._waiting is not None:
            self._advance(TimeoutError("i/o timeout"))

    def _advance(self, problem: Exception | None) -> None:
        self._waiting = None
        try:
            waiting = self._coro.send(None) if problem is None else self._coro.throw(problem)
        except StopIteration:
            self.deadline(None)
            return
        except Exception:
            self.deadline(None)
            raise
        self._waiting = waiting
        waiting.arm(self)


class _Ready:
    """Wait until a descriptor is ready, once."""

    __slots__ = ("_fd", "_mask")

    def __init__(self, fd: int, mask: int) -> None:
        self._fd = fd
        self._mask = mask

    def arm(self, task: Task) -> None:
        task.loop.watch(self._fd, self._mask | select.EPOLLONESHOT, lambda _events: task.resume(self))


class Answer(Generic[T]):
    """A value that comes from elsewhere, perhaps from another thread; one task awaits it, once."""

    __slots__ = ("_loop", "_task", "_value")

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._task: Task | None = None

    def give(self, value: T) -> None:
        """Hand over the value, from any thread."""
        self._loop.post(lambda: self._accept(value))

    def arm(self, task: Task) -> None:
        self._task = task

    def _accept(self, value: T) -> None:
        self._value = value
        if self._task is not None:
            self._task.resume(self)

    def __await__(self) -> Generator[Answer[T], None, T]:
        if not hasattr(self, "_value"):
            yield self
        return self._value


class Known(Generic[T]):
    """A value that becomes known, and may change: set from any thread, awaited by any number of tasks."""

    def __init__(self) -> None:
        self.value: T | None = None
        self._waiting: set[Answer[T]] = set()
        self._lock = threading.Lock()

    def set(self, value: T) -> None:
        with self._lock:
            self.value = value
            waiting, self._waiting = self._waiting, set()
        for answer in waiting:
            answer.give(value)

    async def get(self, loop: Loop) -> T:
        """The value, awaited when it is not known yet."""
        with self._lock:
            if self.value is not None:
                return self.value
            answer = Answer[T](loop)
            self._waiting.add(answer)
        try:
            return await answer
        finally:  # the task may have given up
            with self._lock:
                self._waiting.discard(answer)


@coroutine
def ready(fd: int, mask: int) -> Generator[_Ready, None, None]:
    """Wait in a task until ``fd`` is in a state of ``mask`` (an error or a hang-up counts as well)."""
    yield _Ready(fd, mask)


async def pause(loop: Loop, seconds: float) -> None:
    """Wait in a task for some time."""
    over = Answer[None](loop)
    loop.later(seconds, lambda: over.give(None))
    await over
