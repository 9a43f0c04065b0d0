"""A loop stays awake for a moment where waits have just been short, and sleeps where they have not."""

from __future__ import annotations

from reference.proxy.waiting import AWAKE_SECONDS, Waiting

LOOK = AWAKE_SECONDS / 8
EVENT = [(5, 1)]


class Machine:
    """A clock that only moves while somebody waits, events at given times, and a record of what was slept."""

    def __init__(self, *events: float) -> None:
        self.now = 0.0
        self.events = list(events)
        self.slept: list[float | None] = []
        self.looks = 0
        self.gave_way = 0

    def poll(self, seconds: float | None, _most: int) -> list[tuple[int, int]]:
        if seconds == 0:
            self.looks += 1
        else:
            self.slept.append(seconds)
            until = self.events[0] if seconds is None else min(self.now + seconds, self.events[0])
            self.now = max(self.now, until)
        if self.events[0] <= self.now:
            self.events.pop(0)
            return EVENT
        return []

    def give_way(self) -> None:
        self.gave_way += 1
        self.now += LOOK

    def waiting(self, *, awake: bool = True) -> Waiting:
        return Waiting(self.poll, awake=awake, clock=lambda: self.now, give_way=self.give_way)


def test_a_short_wait_is_followed_by_one_awake() -> None:
    machine = Machine(2 * LOOK, 5 * LOOK, 9 * LOOK)
    waiting = machine.waiting()
    assert [waiting.wait(None) for _ in range(3)] == [EVENT] * 3
    assert machine.slept == [None]
    assert machine.gave_way >= 6


def test_it_falls_asleep_after_a_moment_and_stays_asleep_while_waits_are_long() -> None:
    long = 10 * AWAKE_SECONDS
    machine = Machine(LOOK, long, 2 * long, 3 * long)
    waiting = machine.waiting()
    for _ in range(2):
        waiting.wait(None)
    looked = machine.looks
    assert looked <= AWAKE_SECONDS / LOOK + 2
    for _ in range(2):
        waiting.wait(None)
    assert machine.looks == looked
    assert machine.slept == [None] * 4


def test_waits_just_longer_than_a_moment_are_not_spent_awake_each_time() -> None:
    gap = AWAKE_SECONDS + 2 * LOOK
    machine = Machine(LOOK, *(LOOK + gap * number for number in range(1, 9)))
    waiting = machine.waiting()
    for _ in range(9):
        waiting.wait(None)
    assert machine.gave_way <= AWAKE_SECONDS / LOOK + 1


def test_nothing_due_is_overslept() -> None:
    machine = Machine(LOOK, 1.0)
    waiting = machine.waiting()
    waiting.wait(None)
    assert waiting.wait(3 * LOOK) == []
    assert LOOK * 4 <= machine.now <= LOOK * 5
    began = machine.now
    assert waiting.wait(0.5) == []
    assert machine.now - began <= 0.5 + LOOK


def test_who_is_asked_to_look_once_looks_once() -> None:
    machine = Machine(LOOK, 1.0)
    waiting = machine.waiting()
    waiting.wait(None)
    assert waiting.wait(0) == []
    assert machine.looks == 1
    assert machine.gave_way == 0


def test_who_only_sleeps_is_never_awake() -> None:
    machine = Machine(LOOK, 2 * LOOK, 3 * LOOK)
    waiting = machine.waiting(awake=False)
    for _ in range(3):
        waiting.wait(None)
    assert machine.slept == [None] * 3
    assert not machine.looks
