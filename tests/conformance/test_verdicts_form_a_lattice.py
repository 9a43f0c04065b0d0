"""The worst wins, in whatever order verdicts come in, and nothing can talk a failure down."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from conformance.report.verdict import ProfileResult, Verdict, judge, merge
from tests.conformance.reports import patient

verdicts = st.sampled_from(Verdict)
many = st.lists(verdicts)


def test_order_from_unknown_to_error() -> None:
    assert [verdict.word for verdict in sorted(Verdict)] == [
        "unknown",
        "disabled",
        "skip",
        "pass",
        "fail",
        "error",
    ]


def test_nothing_is_unknown() -> None:
    assert merge([]) is Verdict.UNKNOWN


@patient
@given(many.flatmap(lambda those: st.tuples(st.just(those), st.permutations(those))))
def test_order_never_matters(pair: tuple[list[Verdict], list[Verdict]]) -> None:
    before, after = pair
    assert merge(before) is merge(after)
    assert judge(before) is judge(after)


@patient
@given(many, many)
def test_parts_merge_as_the_whole(left: list[Verdict], right: list[Verdict]) -> None:
    assert merge([merge(left), merge(right)]) is merge(left + right)


@patient
@given(many, verdicts)
def test_another_verdict_only_raises(those: list[Verdict], another: Verdict) -> None:
    assert merge([*those, another]) >= merge(those)


@patient
@given(many, verdicts)
def test_no_verdict_mends_a_failed_profile(those: list[Verdict], another: Verdict) -> None:
    failed = [*those, Verdict.FAIL]
    assert judge(failed) is ProfileResult.FAILURE
    assert judge([*failed, another]) is ProfileResult.FAILURE


@patient
@given(st.lists(st.sampled_from([Verdict.PASS, Verdict.SKIP, Verdict.DISABLED, Verdict.UNKNOWN]), min_size=1))
def test_success_takes_passes_alone(those: list[Verdict]) -> None:
    assert (judge(those) is ProfileResult.SUCCESS) == (set(those) == {Verdict.PASS})


def test_a_skip_beside_passes_is_partial() -> None:
    assert judge([Verdict.PASS, Verdict.SKIP, Verdict.PASS]) is ProfileResult.PARTIAL


def test_a_profile_without_checks_is_untested() -> None:
    assert judge([]) is ProfileResult.UNTESTED


def test_a_profile_of_which_nothing_is_asked_is_unclaimed() -> None:
    assert judge([Verdict.DISABLED, Verdict.DISABLED]) is ProfileResult.UNCLAIMED
    assert judge([Verdict.DISABLED, Verdict.PASS]) is ProfileResult.PARTIAL
