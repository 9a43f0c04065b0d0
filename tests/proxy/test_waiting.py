"""A loop stays awake for a moment where waits have just been short, and sleeps where they have not."""

from __future__ import annotations

from itertools import pairwise

from reference.proxy.waiting import AWAKE_SECONDS, CALM_SECONDS, LOOKS, Waiting

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
        self.turn = LOOK  # what others take who are let in

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
        self.now += self.turn

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


def crowded() -> tuple[Machine, Waiting]:
    """A machine on which looks were in vain until they were given up."""
    machine = Machine()
    waiting = machine.waiting()
    for _ in range(LOOKS):
        gave_way = machine.gave_way
        machine.events += [machine.now + LOOK, machine.now + LOOK + 2 * AWAKE_SECONDS]
        waiting.wait(None)
        waiting.wait(None)
        if machine.gave_way == gave_way:
            return machine, waiting
    raise AssertionError("it looks in vain again and again")


def test_on_a_crowded_machine_it_sleeps_for_a_while_and_looks_once_whether_it_still_is() -> None:
    machine, waiting = crowded()
    looks, ends = [machine.looks], machine.now + 3 * CALM_SECONDS
    while machine.now < ends:
        machine.events += [machine.now + LOOK, machine.now + LOOK + 2 * AWAKE_SECONDS]
        waiting.wait(None)
        waiting.wait(None)
        looks.append(machine.looks)
    awake = [after - before for before, after in pairwise(looks) if after > before]
    assert 2 <= len(awake) <= 3
    assert max(awake) <= AWAKE_SECONDS / LOOK + 2


def test_it_stays_awake_again_when_the_crowd_is_gone() -> None:
    machine, waiting = crowded()
    machine.events.append(machine.now + 2 * CALM_SECONDS)
    for _ in range(1000):
        waiting.wait(None)
        machine.events.append(machine.now + LOOK)
    slept = len(machine.slept)
    for _ in range(100):
        waiting.wait(None)
        machine.events.append(machine.now + LOOK)
    assert len(machine.slept) == slept


def test_who_was_kept_waiting_looked_in_vain_whatever_was_there_then() -> None:
    machine = Machine(LOOK)
    waiting = machine.waiting()
    waiting.wait(None)
    machine.turn = 2 * AWAKE_SECONDS
    for _ in range(4 * LOOKS):
        machine.events.append(machine.now + LOOK)
        waiting.wait(None)
    assert machine.gave_way < LOOKS


def test_a_look_that_must_end_at_once_was_not_in_vain() -> None:
    machine = Machine(LOOK)
    waiting = machine.waiting()
    waiting.wait(None)
    machine.events.append(1.0)
    for _ in range(LOOKS):
        waiting.wait(0)
    looked = machine.looks
    machine.events[:] = [machine.now + LOOK]
    waiting.wait(None)
    assert machine.looks > looked + 1
