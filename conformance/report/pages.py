"""The report as pages: HTML for people (one file, no script, nothing fetched) and Markdown for where it is pasted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from conformance.report import compare, facts
from conformance.report.model import Report
from conformance.report.verdict import PROFILES, ProfileResult, Verdict

_PAGES = Environment(
    loader=PackageLoader("conformance.report"),
    autoescape=select_autoescape(["html.j2"]),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


def html(report: Report, folder: Path) -> str:
    """The whole report; ``folder`` is where the histories of its failures are read from."""
    return _render("report.html.j2", report, history=lambda check: facts.history(folder, check))


def markdown(report: Report) -> str:
    """The outcome by profile, the failures, and what was not shown."""
    return _render("summary.md.j2", report)


def matrix(reports: Sequence[Report], *, template: str) -> str:
    """Reports side by side, as ``matrix.html.j2`` or ``matrix.md.j2``."""
    names = [
        name
        for name in PROFILES
        if any(report.profiles[name] is not ProfileResult.UNTESTED for report in reports)
    ]
    return render(
        template,
        reports=reports,
        titles=compare.titles(reports),
        areas=compare.matrix(reports),
        profiles=names,
    )


def render(template: str, **values: object) -> str:
    """A page of the folder ``templates``."""
    return _PAGES.get_template(template).render(**values)


def cell(text: str) -> str:
    """Text that may stand in a cell of a Markdown table: one line, without the cell's own borders."""
    return " ".join(text.split()).replace("|", "\\|")


def prose(text: str) -> Markup:
    """A docstring as HTML: what stands between double backquotes is code."""
    parts = text.split("``")
    return Markup().join(
        Markup("<code>{}</code>").format(part) if number % 2 else part for number, part in enumerate(parts)
    )


_PAGES.filters["cell"] = cell
_PAGES.filters["prose"] = prose


def _render(name: str, report: Report, **more: Callable[..., object]) -> str:
    return render(
        name,
        report=report,
        facts=facts,
        areas=facts.areas(report),
        profiles=facts.profiles(report),
        lines=[facts.tally_of(name, rows) for name, rows in facts.areas(report).items()],
        rows=[row for rows in facts.areas(report).values() for row in rows],
        Verdict=Verdict,
        **more,
    )
