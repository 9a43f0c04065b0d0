"""HTML, Markdown, badge and schema are faces of one report: none of them knows better than the data."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.report.badge import badge
from conformance.report.facts import areas, conclusion, slowest, spent
from conformance.report.folder import FILES, write
from conformance.report.model import Report, decode, encode, schema
from conformance.report.pages import html, markdown, matrix, prose
from conformance.report.verdict import Verdict
from tests.conformance.reports import patient, reports
from tests.conformance.tiny import Suite

_VOID = frozenset({"meta", "br", "rect", "input"})
#: Elements whose end HTML lets authors leave out.
_OPEN_ENDED = frozenset({"tr", "td", "th", "p", "thead", "li", "dt", "dd"})


class Page(HTMLParser):
    """Reads a page and complains of what does not nest; ``ids`` are those of its elements."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open, f"{self._open} are never closed"

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        facts = dict(attributes)
        self.ids += [value for name, value in attributes if name == "id" and value]
        self.links += [value for name in ("href", "src") if (value := facts.get(name))]
        if tag not in _VOID | _OPEN_ENDED:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in _VOID | _OPEN_ENDED:
            assert self._open.pop() == tag, f"</{tag}> closes something else"


@patient
@given(reports)
def test_the_page_names_every_selected_requirement_and_needs_nothing(report: Report) -> None:
    page = Page(html(report, Path("/nowhere")))
    selected = {entry.id for entry in report.requirements if entry.selected}
    assert selected <= set(page.ids)
    assert not page.tags & {"script", "link", "img", "iframe"}
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.links)


@patient
@given(reports)
def test_what_a_target_says_stays_text(report: Report) -> None:
    assert "Do <this>" not in html(report, Path("/nowhere"))


@patient
@given(reports)
def test_every_failure_is_in_the_summary_and_no_cell_breaks_its_table(report: Report) -> None:
    text = markdown(report)
    for check in report.checks:
        if check.verdict >= Verdict.FAIL:
            assert f"`{check.requirement}`" in text
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        columns = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(columns) == 1, table


@patient
@given(reports)
def test_every_second_of_a_check_is_accounted_for(report: Report) -> None:
    *lines, all_ = spent(report)
    assert all_.checks == sum(line.checks for line in lines) == len(report.checks)
    for kind in ("seconds", "waited", "cpu"):
        assert getattr(all_, kind) == pytest.approx(sum(getattr(line, kind) for line in lines))
        assert getattr(all_, kind) == pytest.approx(sum(getattr(check, kind) for check in report.checks))
    assert slowest(report)[0].seconds == max(check.seconds for check in report.checks)


@patient
@given(reports)
def test_the_badge_is_an_image_of_the_conclusion(report: Report) -> None:
    image = ElementTree.fromstring(badge(report))
    title = image.findtext("{http://www.w3.org/2000/svg}title") or ""
    assert title.startswith(f"proxyproof: {conclusion(report)}")


@patient
@given(reports)
def test_a_report_is_as_its_schema_says(report: Report) -> None:
    jsonschema.validate(json.loads(encode(report)), json.loads(schema()))


@patient
@given(reports)
def test_areas_hold_each_selected_requirement_once(report: Report) -> None:
    rows = [row.entry for group in areas(report).values() for row in group]
    assert rows == [entry for entry in report.requirements if entry.selected]


@patient
@given(reports)
def test_the_page_begins_with_what_failed_and_is_not_known(report: Report) -> None:
    page = html(report, Path("/nowhere"))
    _, _, rest = page.partition("<h2>What failed</h2>")
    named = re.findall(r'<li><a href="#([^"]+)">', rest)
    failed = [row.entry.id for group in areas(report).values() for row in group if row.group == "failed"]
    assert named == failed


@patient
@given(st.lists(reports, min_size=2, max_size=3))
def test_a_matrix_nests_and_marks_where_reports_differ(those: list[Report]) -> None:
    text = matrix(those, template="matrix.html.j2")
    Page(text)
    told = [[report.verdicts[line] for report in those if _has(report, line)] for line in _selected(those)]
    assert text.count('<tr class="differs">') == sum(len(set(verdicts)) > 1 for verdicts in told)


def _selected(those: list[Report]) -> set[str]:
    return {entry.id for report in those for entry in report.requirements if entry.selected}


def _has(report: Report, requirement: str) -> bool:
    selected = {entry.id for entry in report.requirements if entry.selected}
    return requirement in selected & {check.requirement for check in report.checks}


def test_code_in_a_text_is_code_and_all_else_is_text() -> None:
    assert prose("a ``<b>`` & c") == "a <code>&lt;b&gt;</code> &amp; c"


def test_a_run_writes_all_faces_and_a_failure_brings_its_history(tmp_path: Path) -> None:
    suite = Suite.of(
        tmp_path,
        {
            "tiny/good/01": "pass",
            "tiny/bad/01": 'lab.history.record("seen", what="<the cause>")\nassert False, "it is wrong"',
        },
    )
    assert suite.run().returncode == 1
    folder = tmp_path / "proxyproof-report"
    assert {path.name for path in folder.iterdir()} == {*FILES, "history"}
    page = (folder / "report.html").read_text()
    Page(page)
    assert "seen: what=&lt;the cause&gt;" in page
    assert "Stimulus, expectation." in page
    before = {name: (folder / name).read_text() for name in FILES}
    write(decode(before["report.json"]), folder)
    assert {name: (folder / name).read_text() for name in FILES} == before
