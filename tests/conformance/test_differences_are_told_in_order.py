"""Two small reports, and exactly what is said of their differences."""

from __future__ import annotations

from dataclasses import replace

from conformance.report.compare import Change, diff, matrix, titles
from conformance.report.model import CheckResult, Report
from conformance.report.pages import matrix as drawn
from conformance.report.verdict import Verdict
from tests.conformance.reports import report_of

NAMES = ("area/one/01", "area/one/02", "area/two/01", "other/one/01")


def result(requirement: str, verdict: Verdict, reason: str = "", name: str = "check_a") -> CheckResult:
    return CheckResult(requirement=requirement, name=name, verdict=verdict, reason=reason)


def reports(*pairs: tuple[Verdict | None, Verdict | None]) -> tuple[Report, Report]:
    """Before and after, with a check of each requirement in turn; None for no check."""
    before, after = (
        report_of(
            *(
                result(name, verdict)
                for name, verdict in zip(NAMES, side, strict=False)
                if verdict is not None
            )
        )
        for side in zip(*pairs, strict=True)
    )
    return before, after


def changes(*pairs: tuple[Verdict | None, Verdict | None]) -> list[tuple[str, Change]]:
    return [(each.requirement, each.change) for each in diff(*reports(*pairs))]


def test_what_broke_stands_before_what_was_mended_and_all_else_after() -> None:
    assert changes(
        (None, Verdict.PASS),
        (Verdict.SKIP, Verdict.PASS),
        (Verdict.FAIL, Verdict.PASS),
        (Verdict.PASS, Verdict.FAIL),
    ) == [
        ("other/one/01", Change.BROKEN),
        ("area/two/01", Change.MENDED),
        ("area/one/02", Change.CHANGED),
        ("area/one/01", Change.APPEARED),
    ]


def test_what_is_the_same_is_no_difference_and_hides_none() -> None:
    assert changes((Verdict.PASS, Verdict.PASS), (None, None), (Verdict.PASS, Verdict.FAIL)) == [
        ("area/two/01", Change.BROKEN)
    ]


def test_a_requirement_that_only_one_register_has_appears_or_goes() -> None:
    one = report_of(result("area/one/01", Verdict.PASS))
    none = replace(one, requirements=one.requirements[1:], checks=())
    assert [(each.change, each.text) for each in diff(none, one)] == [(Change.APPEARED, "It does.")]
    assert [(each.change, each.text) for each in diff(one, none)] == [(Change.GONE, "It does.")]


def test_only_a_pass_mends_and_only_what_did_not_fail_breaks() -> None:
    assert changes(
        (Verdict.ERROR, Verdict.SKIP),
        (Verdict.FAIL, Verdict.ERROR),
        (Verdict.SKIP, Verdict.ERROR),
        (Verdict.FAIL, None),
    ) == [
        ("area/two/01", Change.BROKEN),
        ("area/one/01", Change.CHANGED),
        ("area/one/02", Change.CHANGED),
        ("other/one/01", Change.GONE),
    ]


def test_a_difference_comes_with_the_reason_of_the_worst_check() -> None:
    before = report_of(result("area/one/01", Verdict.PASS))
    after = report_of(
        result("area/one/01", Verdict.PASS, "it passed"),
        result("area/one/01", Verdict.FAIL, "it fell", "check_b"),
    )
    (broke,) = diff(before, after)
    assert (broke.before, broke.after, broke.reason) == (Verdict.PASS, Verdict.FAIL, "it fell")
    assert broke.text == "It does."
    (gone,) = diff(after, report_of())
    assert (gone.before, gone.after, gone.reason) == (Verdict.FAIL, None, "")


def test_the_words_are_those_of_the_newer_register_where_it_has_the_requirement() -> None:
    before, after = reports((Verdict.PASS, Verdict.FAIL))
    entry, *others = after.requirements
    newer = replace(after, requirements=(replace(entry, text="It does so now."), *others))
    assert diff(before, newer)[0].text == "It does so now."
    older = replace(after, requirements=(replace(entry, selected=False), *others), checks=())
    assert [(each.change, each.text) for each in diff(before, older)] == [(Change.GONE, "It does.")]


def test_a_matrix_has_no_cell_where_a_report_has_no_check_and_marks_what_differs() -> None:
    lines = matrix(reports((Verdict.PASS, Verdict.PASS), (Verdict.PASS, Verdict.FAIL), (Verdict.PASS, None)))
    assert {area: len(group) for area, group in lines.items()} == {"area": 3, "other": 1}
    same, differing, alone = lines["area"]
    assert [line.differs for line in (same, differing, alone)] == [False, True, False]
    assert [cell and cell.verdict for cell in alone.cells] == [Verdict.PASS, None]
    assert lines["other"][0].cells == (None, None)


def test_a_matrix_has_a_line_for_each_profile_that_any_report_tested() -> None:
    text = drawn(reports((Verdict.PASS, None), (None, Verdict.PASS)), template="matrix.md.j2")
    assert "| core |" in text
    assert "| hardening |" in text
    assert "| discovery |" not in text


def test_titles_have_the_version_and_a_number_only_where_they_need_one() -> None:
    one, two = reports((Verdict.PASS, Verdict.PASS))
    versioned = replace(one, checks=(replace(one.checks[0], version="1.4.3"),))
    assert titles([one, versioned, two]) == ("process (1)", "process 1.4.3", "process (2)")
