"""A report does not depend on which worker finished first, nor on how often a result was delivered."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from conformance.report.model import CheckResult, combined
from conformance.report.verdict import merge
from tests.conformance.reports import patient, results

many = st.lists(results, max_size=10)


@patient
@given(many.flatmap(lambda those: st.tuples(st.just(those), st.permutations(those))))
def test_order_never_matters(pair: tuple[list[CheckResult], list[CheckResult]]) -> None:
    assert combined(pair[0]) == combined(pair[1])


@patient
@given(many, many)
def test_parts_combine_as_the_whole(left: list[CheckResult], right: list[CheckResult]) -> None:
    assert combined([*combined(left), *combined(right)]) == combined(left + right)


@patient
@given(many)
def test_a_result_delivered_twice_counts_once(those: list[CheckResult]) -> None:
    assert combined(those + those) == combined(those)


@patient
@given(many, results)
def test_another_result_only_raises(those: list[CheckResult], another: CheckResult) -> None:
    before = {result.key: result.verdict for result in combined(those)}
    after = {result.key: result.verdict for result in combined([*those, another])}
    assert all(after[key] >= verdict for key, verdict in before.items())
    assert merge(after.values()) >= merge(before.values())


@patient
@given(many)
def test_the_worst_result_gives_the_reason(those: list[CheckResult]) -> None:
    for result in combined(those):
        worst = [each for each in those if each.key == result.key and each.verdict is result.verdict]
        assert result.reason in {each.reason for each in worst}
