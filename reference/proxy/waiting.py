"""How a loop waits: asleep, or awake for a moment where that has just paid off.

To fall asleep and be woken takes a process longer than to relay a message: on a virtual machine, where an idle core is
given back, most of a round trip. So who was woken shortly after falling asleep does not sleep the next time, but
looks again and again for :data:`AWAKE_SECONDS`, and lets anybody else run who can before each look. A moment in vain,
and the next wait is asleep, until one turns out short again: whoever has nothing to do costs nothing.

On a crowded machine it is the other way round: who gives way there waits for others' turns to end, who looks in vain
has used up a part of its own, and who was asleep is let in before them. So when too many looks of late did not pay,
waits are asleep for :data:`CALM_SECONDS`; then one look decides whether they stay so.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

AWAKE_SECONDS = 0.0004
CALM_SECONDS = 0.05
#: About so many of the last looks count, and this part of them may have lasted longer than a moment.
LOOKS, MOST_IN_VAIN = 8, 0.4
#: Events taken in one turn. Room for them is allocated each time, so it is not made for a thousand.
EVENTS_AT_ONCE = 64

Events = list[tuple[int, int]]


class Waiting:
    """Waits with ``poll(seconds, events)``, that of :class:`select.epoll`; ``awake`` is False for who only sleeps."""

    def __init__(
        self,
        poll: Callable[[float | None, int], Events],
        *,
        awake: bool = True,
        clock: Callable[[], float] = time.perf_counter,
        give_way: Callable[[], None] = os.sched_yield,
    ) -> None:
        self._poll = poll
        self._awake = awake
        self._clock = clock
        self._give_way = give_way
        self._brief = False
        self._in_vain = 0.0
        self._calm_until = 0.0

    def wait(self, most: float | None) -> Events:
        """The events that come within ``most`` seconds; None: for ever."""
        if not self._awake:
            return self._poll(most, EVENTS_AT_ONCE)
        began = self._clock()
        if self._brief and began >= self._calm_until:
            if (found := self._look(began, most)) or most == 0:
                return found
            self._brief = False
            return self._poll(
                None if most is None else max(0.0, began + most - self._clock()), EVENTS_AT_ONCE
            )
        found = self._poll(most, EVENTS_AT_ONCE)
        self._brief = bool(found) and self._clock() - began < AWAKE_SECONDS
        return found

    def _look(self, began: float, most: float | None) -> Events:
        poll, clock, give_way = self._poll, self._clock, self._give_way
        ends = began + (AWAKE_SECONDS if most is None else min(most, AWAKE_SECONDS))
        while not (found := poll(0, EVENTS_AT_ONCE)) and clock() < ends:
            give_way()
        now = clock()
        in_vain = now - began >= AWAKE_SECONDS
        self._in_vain += (in_vain - self._in_vain) / LOOKS
        if in_vain and self._in_vain > MOST_IN_VAIN:
            self._calm_until = now + CALM_SECONDS
        return found
