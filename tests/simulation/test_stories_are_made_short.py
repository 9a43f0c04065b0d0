"""Shrinking: the fewest and simplest deeds that still break the same rule."""

from __future__ import annotations

from reference.supervisor.simulation.schedule import Deed, Schedule, parse
from reference.supervisor.simulation.seeds import generate
from reference.supervisor.simulation.shrink import shrink


def verbs(schedule: Schedule) -> list[str]:
    return [deed.verb for deed in schedule.deeds]


def in_order(schedule: Schedule, *wanted: str) -> bool:
    left = iter(verbs(schedule))
    return all(verb in left for verb in wanted)


def test_only_the_deeds_that_matter_are_left() -> None:
    long = generate(1, hours=0.5)
    short = shrink(long, breaks=lambda candidate: in_order(candidate, "kill", "reboot", "define"))
    assert verbs(short) == ["kill", "reboot", "define"]
    assert not short.traits
    assert all(not deed.options for deed in short.deeds)
    assert [deed.at for deed in short.deeds] == [1.0, 2.0, 3.0], "and the pauses are short"


def test_what_matters_of_a_deed_is_kept() -> None:
    long = generate(1, hours=0.5)
    short = shrink(
        long, breaks=lambda candidate: any(deed.text("program", "") == "deaf" for deed in candidate.deeds)
    )
    assert [deed.words.partition(" ")[0] for deed in short.deeds] == ["define"]
    assert short.deeds[0].options == (("program", "deaf"),)


def test_a_breach_that_a_later_deed_undoes_is_not_cut_off() -> None:
    schedule = Schedule(deeds=tuple(Deed(float(at), "start") for at in range(8)))
    short = shrink(schedule, breaks=lambda candidate: len(candidate.deeds) in (4, 8))
    assert len(short.deeds) == 4


def test_the_budget_is_kept() -> None:
    plays = []

    def breaks(candidate: Schedule) -> bool:
        plays.append(candidate)
        return len(candidate.deeds) > 3

    shrink(generate(1, hours=0.5), breaks=breaks, plays=20)
    assert len(plays) == 20


def test_a_schedule_is_the_same_after_it_was_written_and_read() -> None:
    for seed in range(10):
        schedule = generate(seed, hours=0.5, canary=True)
        assert parse(str(schedule)) == schedule
