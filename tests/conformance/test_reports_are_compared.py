"""Two reports differ where a verdict does, and only what broke is a failure; a matrix shows all of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given

from conformance.cli import main
from conformance.report.compare import Change, diff, matrix, titles
from conformance.report.model import Report, encode
from conformance.report.verdict import Verdict
from tests.conformance.reports import FEATURES, patient, reports
from tests.conformance.tiny import Suite


@patient
@given(reports)
def test_a_report_does_not_differ_from_itself(report: Report) -> None:
    assert diff(report, report) == ()


@patient
@given(reports, reports)
def test_differences_are_those_of_the_verdicts(before: Report, after: Report) -> None:
    for each in diff(before, after):
        assert each.before != each.after
        assert (each.change is Change.APPEARED) == (each.before is None)
        assert (each.change is Change.GONE) == (each.after is None)
        if each.change is Change.BROKEN:
            assert each.before is not None
            assert each.after is not None
            assert each.before < Verdict.FAIL <= each.after


@patient
@given(reports, reports)
def test_a_matrix_has_a_cell_for_each_report_and_requirement(one: Report, two: Report) -> None:
    lines = [line for group in matrix([one, two]).values() for line in group]
    selected = {entry.id for report in (one, two) for entry in report.requirements if entry.selected}
    assert [line.entry.id for line in lines] == sorted(selected)
    assert selected <= set(FEATURES)
    assert all(len(line.cells) == 2 for line in lines)


@patient
@given(reports, reports)
def test_titles_tell_reports_apart(one: Report, two: Report) -> None:
    assert len(set(titles([one, two]))) == 2


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Reports of two runs: in the second one a requirement is broken, another mended."""
    made = []
    bodies = ("pass", 'assert False, "it is wrong"')
    for name, (first, second) in (("a", bodies), ("b", bodies[::-1])):
        folder = tmp_path_factory.mktemp(name)
        suite = Suite.of(folder, {"tiny/one/01": first, "tiny/two/01": second, "tiny/three/01": "pass"})
        assert suite.run().returncode == 1
        made.append(folder / "proxyproof-report")
    return made[0], made[1]


def test_diff_names_what_broke_and_fails(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = map(str, folders)
    assert main(["report", "diff", a, b]) == 1
    told = capsys.readouterr().out
    assert "broken   tiny/one/01 pass → fail  It does." in told
    assert "it is wrong" in told
    assert "mended   tiny/two/01 fail → pass  It does." in told
    assert "2 of the requirements differ" in told
    assert main(["report", "diff", a, a]) == 0
    assert "no requirement differs" in capsys.readouterr().out


def test_matrix_is_written_as_page_and_as_table(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = map(str, folders)
    assert main(["report", "matrix", a, b]) == 0
    assert "| `tiny/one/01` | It does. | pass | fail |" in capsys.readouterr().out
    page = tmp_path / "matrix.html"
    assert main(["report", "matrix", "--format", "html", "--output", str(page), a, b]) == 0
    assert "tiny/two/01" in page.read_text()


@pytest.mark.parametrize(
    ("content", "code", "complaint"),
    [(None, 2, "cannot be read"), ("{", 2, "truncated"), ('{"schema": 1}', 2, "no report of the schema")],
)
def test_what_is_no_report_is_refused_by_name(
    tmp_path: Path, content: str | None, code: int, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "report.json"
    if content is not None:
        path.write_text(content)
    assert main(["report", "diff", str(path), str(path)]) == code
    told = capsys.readouterr().err
    assert str(path) in told
    assert complaint in told


@patient
@given(reports)
def test_a_report_without_a_line_is_no_better_than_none(report: Report) -> None:
    lines = encode(report).splitlines(keepends=True)
    assert decode_fails("".join(lines[:-2]))
    assert decode_fails("".join(lines[: len(lines) // 2]))


def decode_fails(text: str) -> bool:
    from conformance.report.model import ReportError, decode

    try:
        decode(text)
    except ReportError:
        return True
    return False
