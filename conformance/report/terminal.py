"""The report in the terminal: a line for each check as it ends, and a summary. Plain where nobody watches."""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from pathlib import Path

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from conformance.report.model import CheckResult, Report
from conformance.report.verdict import PROFILES, ProfileResult, Verdict
from conformance.requirements import Level

_STYLES = {
    Verdict.UNKNOWN: "dim",
    Verdict.DISABLED: "dim",
    Verdict.SKIP: "yellow",
    Verdict.PASS: "green",
    Verdict.FAIL: "bold red",
    Verdict.ERROR: "bold magenta",
}
_PROFILE_STYLES = {
    ProfileResult.SUCCESS: "green",
    ProfileResult.PARTIAL: "yellow",
    ProfileResult.FAILURE: "bold red",
    ProfileResult.UNTESTED: "dim",
}
#: How many events of a history, and characters of each, a failure quotes. The rest is in the file.
_QUOTED_EVENTS, _QUOTED_WIDTH = 8, 160
#: How many ids of each level the summary names; ``report.json`` has all.
_NAMED_UNTESTED = 12


def announce(console: Console, result: CheckResult) -> None:
    """One line: verdict, requirement, check, seconds."""
    word = f"[{_STYLES[result.verdict]}]{result.verdict.word:<8}[/]"
    console.print(
        f"{word} {result.requirement:<32} {result.name} [dim]{result.seconds:.1f} s[/]", soft_wrap=True
    )


def summarize(console: Console, report: Report, folder: Path) -> None:
    """What came of it: failures with their history, skips, profiles, the untested, and how it was run."""
    for result in report.checks:
        if result.verdict in (Verdict.FAIL, Verdict.ERROR):
            _account(console, report, result, folder)
    for trouble in report.broken:
        console.print(f"\n[bold magenta]the suite broke[/] {escape(trouble)}", soft_wrap=True)
    _reasons(console, report)
    _profiles(console, report)
    _untested(console, report)
    _how(console, report, folder)


def _account(console: Console, report: Report, result: CheckResult, folder: Path) -> None:
    text = next(entry.text for entry in report.requirements if entry.id == result.requirement)
    console.print(
        f"\n[{_STYLES[result.verdict]}]{result.verdict.word}[/] [bold]{result.requirement}[/] {result.name}"
    )
    console.print(f"  required: {escape(text)}", soft_wrap=True)
    console.print(escape(textwrap.indent(result.reason, "  ")), soft_wrap=True)
    for line in _last_events(folder / result.history) if result.history else ():
        console.print(f"  [dim]{escape(line)}[/]", soft_wrap=True)


def _last_events(path: Path) -> list[str]:
    """The end of a history in readable lines."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()[-_QUOTED_EVENTS:]
    except OSError:
        return []
    shown = []
    for event in map(json.loads, lines):
        at, kind = event.pop("at"), event.pop("kind")
        told = " ".join(f"{key}={value}" for key, value in event.items() if value not in (None, {}, ""))
        shown.append(textwrap.shorten(f"{at:8.3f} {kind}: {told}", _QUOTED_WIDTH, placeholder=" …"))
    return shown


def _reasons(console: Console, report: Report) -> None:
    """Why checks were skipped or disabled, each reason once."""
    told = Counter(
        (result.verdict, result.reason)
        for result in report.checks
        if result.verdict in (Verdict.SKIP, Verdict.DISABLED)
    )
    for (verdict, reason), number in sorted(told.items()):
        console.print(f"{verdict.word} {number}: {escape(reason)}", soft_wrap=True)


def _profiles(console: Console, report: Report) -> None:
    features = {entry.id: entry.feature for entry in report.requirements}
    table = Table("profile", "result", *(verdict.word for verdict in reversed(Verdict)), box=SIMPLE)
    for name, result in report.profiles.items():
        if result is not ProfileResult.UNTESTED:
            counts = Counter(
                check.verdict for check in report.checks if features[check.requirement] in PROFILES[name]
            )
            numbers = (str(counts[verdict] or "") for verdict in reversed(Verdict))
            table.add_row(name, f"[{_PROFILE_STYLES[result]}]{result}[/]", *numbers)
    console.print(table)


def _untested(console: Console, report: Report) -> None:
    for level in Level:
        missing = [entry.id for entry in report.untested if entry.level is level]
        if missing:
            more = f" and {len(missing) - _NAMED_UNTESTED} more" if len(missing) > _NAMED_UNTESTED else ""
            named = ", ".join(missing[:_NAMED_UNTESTED])
            console.print(f"untested {level}: {len(missing)} ({named}{more})", soft_wrap=True)


def _how(console: Console, report: Report, folder: Path) -> None:
    counts = ", ".join(f"{number} {word}" for word, number in report.counts.items() if number)
    version = f" {', '.join(report.versions)}" if report.versions else ""
    console.print(
        f"target {report.target.name}{version}: {escape(' '.join(report.target.command))}", soft_wrap=True
    )
    console.print(
        f"unprivileged agents: {report.target.unprivileged}; root: {report.target.root}", soft_wrap=True
    )
    state = "[bold red]interrupted[/] after" if report.interrupted else "in"
    console.print(
        f"{counts or 'no checks'} {state} {report.seconds:.1f} s; report in {folder}", soft_wrap=True
    )
