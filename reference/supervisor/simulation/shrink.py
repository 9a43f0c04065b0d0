"""A long story made short: the fewest deeds that still break the same rule.

Delta debugging over the deeds of a schedule, then a try to make each deed simpler and each pause shorter. Every
candidate is played; one that breaks another rule, or none, is dropped. The result is minimal in that no single deed can
be left out, unless the budget of plays was used up before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from reference.supervisor.simulation.schedule import Deed, Schedule

#: A schedule of a failure has a few hundred deeds and comes down to a few in some hundred plays.
PLAYS = 600
#: Between two deeds, in seconds: what a simple story has, the simplest first.
_PAUSES = (1.0, 2.0, 5.0, 10.0, 20.0, 60.0)


def shrink(schedule: Schedule, *, breaks: Callable[[Schedule], bool], plays: int = PLAYS) -> Schedule:
    """The shortest schedule found for which ``breaks`` is true, as it is of ``schedule`` itself."""
    trial = _Trial(breaks, plays)
    schedule = _without_end(schedule, trial)
    schedule = _fewer_deeds(schedule, trial)
    schedule = _fewer_traits(schedule, trial)
    schedule = _simpler_deeds(schedule, trial)
    return _shorter_pauses(schedule, trial)


class _Trial:
    """Plays candidates until the budget is used up; from then on nothing is found any more."""

    def __init__(self, breaks: Callable[[Schedule], bool], plays: int) -> None:
        self._breaks = breaks
        self._left = plays

    def __call__(self, candidate: Schedule) -> bool:
        if self._left <= 0:
            return False
        self._left -= 1
        return self._breaks(candidate)


def _without_end(schedule: Schedule, trial: _Trial) -> Schedule:
    """Cut off what comes after the breach, by halving."""
    low, high = 0, len(schedule.deeds)
    while low < high:
        middle = (low + high) // 2
        if trial(replace(schedule, deeds=schedule.deeds[:middle])):
            high = middle
        else:
            low = middle + 1
    cut = replace(schedule, deeds=schedule.deeds[:high])
    # Halving assumes that a breach stays one when more happens after it, which a later deed can undo.
    return cut if high == len(schedule.deeds) or trial(cut) else schedule


def _fewer_deeds(schedule: Schedule, trial: _Trial) -> Schedule:
    """Leave out ever smaller parts for as long as that works (ddmin)."""
    size = max(1, len(schedule.deeds) // 2)
    while True:
        start, shorter = 0, False
        while start < len(schedule.deeds):
            candidate = replace(schedule, deeds=schedule.deeds[:start] + schedule.deeds[start + size :])
            if trial(candidate):
                schedule, shorter = candidate, True
            else:
                start += size
        if size == 1 and not shorter:
            return schedule
        size = max(1, size // 2)


def _fewer_traits(schedule: Schedule, trial: _Trial) -> Schedule:
    for trait in sorted(schedule.traits):
        candidate = replace(schedule, traits=schedule.traits - {trait})
        if trial(candidate):
            schedule = candidate
    return schedule


def _simpler_deeds(schedule: Schedule, trial: _Trial) -> Schedule:
    for index, deed in enumerate(schedule.deeds):
        for simpler in _simpler(deed):
            deeds = (*schedule.deeds[:index], simpler, *schedule.deeds[index + 1 :])
            candidate = replace(schedule, deeds=deeds)
            if trial(candidate):
                schedule = candidate
                break
    return schedule


def _simpler(deed: Deed) -> Iterator[Deed]:
    """Without its options, without one of them, with a usual program."""
    if deed.options:
        yield replace(deed, options=())
    if len(deed.options) > 1:
        for option in deed.options:
            yield replace(deed, options=tuple(other for other in deed.options if other != option))
    if deed.verb == "define" and deed.text("program", "polite") not in ("polite", "builtin"):
        others = tuple(option for option in deed.options if option[0] != "program")
        yield replace(deed, options=(("program", "polite"), *others))


def _shorter_pauses(schedule: Schedule, trial: _Trial) -> Schedule:
    """Round seconds, and no more of them between two deeds than it takes."""
    for index in range(len(schedule.deeds)):
        for pause in _PAUSES:
            candidate = _with_pause(schedule, index, pause)
            if candidate == schedule or trial(candidate):
                schedule = candidate
                break
    return schedule


def _with_pause(schedule: Schedule, index: int, pause: float) -> Schedule:
    """The deed at ``index`` comes ``pause`` after the one before it; those that follow keep their distance."""
    deeds = schedule.deeds
    before = deeds[index - 1].at if index else 0.0
    moved = before + pause - deeds[index].at
    later = (replace(deed, at=round(deed.at + moved, 3)) for deed in deeds[index:])
    return replace(schedule, deeds=(*deeds[:index], *later))
