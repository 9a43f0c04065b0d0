"""Which checks a faulty agent meets: all of what it breaks, and samples that new requirements hardly change."""

from __future__ import annotations

import msgspec
import pytest

from conformance.mutants.faults import Fault, judged_by

CHECKED = [
    f"{area}/{behaviour}/{number:02}" for area in "ab" for behaviour in "xyz" for number in range(1, 9)
]
FAULT = Fault(name="liar", lie="Lies.", command=("agent",), breaks=frozenset({"a/x/01", "a/x/05"}))


@pytest.mark.parametrize(("near", "far"), [(0, 0), (1, 1), (3, 5), (50, 50)])
def test_samples_are_drawn_from_the_same_behaviours_and_from_others(near: int, far: int) -> None:
    samples = set(judged_by(FAULT, CHECKED, near=near, far=far)) - FAULT.breaks
    neighbours = {entry for entry in samples if entry.startswith("a/x/")}
    assert (len(neighbours), len(samples - neighbours)) == (min(near, 6), min(far, 40))


def test_a_part_of_all_faults_meets_one_more() -> None:
    faults = [msgspec.structs.replace(FAULT, name=f"liar-{number}") for number in range(400)]
    for far, least, most in ((0.25, 70, 130), (1.25, 470, 530)):
        met = [len(judged_by(fault, CHECKED, near=0, far=far)) - len(FAULT.breaks) for fault in faults]
        assert least < sum(met) < most
        assert set(met) == {int(far), int(far) + 1}


def test_what_a_fault_breaks_is_always_asked() -> None:
    assert FAULT.breaks == set(judged_by(FAULT, CHECKED, near=0, far=0))


def test_what_a_fault_disturbs_is_never_asked() -> None:
    disturbs = frozenset({"a/x/02", "b/y/03"})
    chosen = judged_by(msgspec.structs.replace(FAULT, disturbs=disturbs), CHECKED, near=50, far=50)
    assert set(CHECKED) - set(chosen) == disturbs


def test_a_new_requirement_joins_the_samples_or_leaves_them_as_they_were() -> None:
    before = set(judged_by(FAULT, CHECKED, near=2, far=3))
    for new in ("a/x/09", "b/y/09", "c/x/01"):
        after = set(judged_by(FAULT, [*CHECKED, new], near=2, far=3))
        assert after == before or (after - before == {new} and len(before - after) == 1)
