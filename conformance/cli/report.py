"""``proxyproof report``: reads reports again: what changed between two, and several side by side."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from conformance.cli.common import FAILED, OK, UsageError
from conformance.plugin.discovery import Check
from conformance.report import compare, pages
from conformance.report.compare import Change
from conformance.report.model import Report, ReportError, decode
from conformance.report.terminal import STYLES
from conformance.report.verdict import Verdict
from conformance.requirements import Register

_FORMATS = {"html": "matrix.html.j2", "md": "matrix.md.j2"}


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Teach the parser this command."""
    again = commands.add_parser("report", help="compare reports", allow_abbrev=False)
    topics = again.add_subparsers(required=True, metavar="TOPIC")
    between = topics.add_parser(
        "diff",
        help="what changed from one report to another; exit code 1 when something broke",
        allow_abbrev=False,
    )
    between.set_defaults(action=_diff)
    between.add_argument("before", type=Path, metavar="A", help="a report folder, or its report.json")
    between.add_argument("after", type=Path, metavar="B")
    beside = topics.add_parser("matrix", help="implementations side by side", allow_abbrev=False)
    beside.set_defaults(action=_matrix)
    beside.add_argument("reports", type=Path, nargs="+", metavar="REPORT", help="report folders")
    beside.add_argument("--format", choices=sorted(_FORMATS), default="md", help="(%(default)s)")
    beside.add_argument("--output", type=Path, metavar="FILE", help="(standard output)")


def _diff(options: argparse.Namespace, register: Register, checks: Sequence[Check]) -> int:
    found = compare.diff(_read(options.before), _read(options.after))
    console = Console(highlight=False)
    for each in found:
        before, after = (_shown(verdict) for verdict in (each.before, each.after))
        console.print(
            f"{each.change:<8} [bold]{each.requirement}[/] {before} → {after}  {escape(each.text)}",
            soft_wrap=True,
        )
        if each.change is Change.BROKEN and each.reason:
            console.print(f"         {escape(each.reason.splitlines()[0])}", soft_wrap=True)
    console.print(f"{len(found)} of the requirements differ" if found else "no requirement differs")
    return FAILED if any(each.change is Change.BROKEN for each in found) else OK


def _shown(verdict: Verdict | None) -> str:
    return "–" if verdict is None else f"[{STYLES[verdict]}]{verdict.word}[/]"


def _matrix(options: argparse.Namespace, register: Register, checks: Sequence[Check]) -> int:
    text = pages.matrix([_read(path) for path in options.reports], template=_FORMATS[options.format])
    if options.output is None:
        print(text, end="")
        return OK
    try:
        options.output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"--output {options.output}: {error.strerror}; name a file that can be written"
        ) from error
    return OK


def _read(path: Path) -> Report:
    file = path / "report.json" if path.is_dir() else path
    try:
        return decode(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}; name a report folder") from error
    except (ReportError, UnicodeDecodeError) as error:
        raise ReportError(f"{file}: {error}") from error
