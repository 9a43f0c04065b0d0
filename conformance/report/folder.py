"""The folder of a report: which files it has, and who they are for.

===============  ===================================================
``report.json``  programs, and :mod:`conformance.report.compare`
``junit.xml``    build servers
``report.html``  people
``summary.md``   where it is pasted: pull requests, chats
``badge.svg``    a README
``history/``     what each check did and saw, as JSON lines
===============  ===================================================
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from conformance.report.badge import badge
from conformance.report.junit import junit
from conformance.report.model import Report, encode
from conformance.report.pages import html, markdown

#: ``report.json`` is written last: where it is, the others are complete.
FILES: Mapping[str, Callable[[Report, Path], str]] = {
    "junit.xml": lambda report, folder: junit(report),
    "summary.md": lambda report, folder: markdown(report),
    "report.html": html,
    "badge.svg": lambda report, folder: badge(report),
    "report.json": lambda report, folder: encode(report),
}


def write(report: Report, folder: Path) -> None:
    """Write every file of the report."""
    for name, draw in FILES.items():
        (folder / name).write_text(draw(report, folder), encoding="utf-8")
