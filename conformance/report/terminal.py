"""The report in the terminal: a line for each check as it ends, and a summary. Plain where nobody watches."""

from __future__ import annotations

import textwrap
from collections import Counter
from pathlib import Path

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from conformance.report import facts
from conformance.report.model import CheckResult, ProofResult, Report
from conformance.report.verdict import PROFILES, ProfileResult, Verdict
from conformance.requirements import Level

STYLES = {
    Verdict.UNKNOWN: "dim",
    Verdict.DISABLED: "dim",
    Verdict.SKIP: "yellow",
    Verdict.PASS: "green",
    Verdict.FAIL: "bold red",
    Verdict.ERROR: "bold magenta",
}
_EXPECTED_STYLE = "yellow"
_PROFILE_STYLES = {
    ProfileResult.SUCCESS: "green",
    ProfileResult.PARTIAL: "yellow",
    ProfileResult.FAILURE: "bold red",
    ProfileResult.UNCLAIMED: "dim",
    ProfileResult.UNTESTED: "dim",
}
_PROOF_STYLES = {
    ProofResult.WORKS: "green",
    ProofResult.BROKEN: "bold magenta",
    ProofResult.UNAVAILABLE: "dim",
}
#: How many events of a history, and characters of each, a failure quotes. The rest is in the file.
_QUOTED_EVENTS, _QUOTED_WIDTH = 8, 160
#: How many ids of each level the summary names; ``report.json`` has all.
_NAMED_UNTESTED = 12

#: How many areas and checks the account of time names.
_NAMED_AREAS, _NAMED_SLOWEST = 3, 5


def style_of(verdict: Verdict, *, expected: bool = False) -> str:
    """How a verdict is printed."""
    return _EXPECTED_STYLE if expected else STYLES[verdict]


def announce(console: Console, result: CheckResult) -> None:
    """One line: verdict, requirement, check, seconds."""
    style = style_of(result.verdict, expected=bool(result.expected))
    known = " [dim](expected)[/]" if result.expected else ""
    console.print(
        f"[{style}]{result.verdict.word:<8}[/] {result.requirement:<32} {result.title} "
        f"[dim]{result.seconds:.1f} s[/]{known}",
        soft_wrap=True,
    )


def summarize(console: Console, report: Report, folder: Path) -> None:
    """What came of it: failures with their history, skips, profiles, the untested, and how it was run."""
    _instrument(console, report)
    for result in report.checks:
        if result.verdict in (Verdict.FAIL, Verdict.ERROR) and not result.expected:
            _account(console, report, result, folder)
    for trouble in report.broken:
        console.print(f"\n[bold magenta]the suite broke[/] {escape(trouble)}", soft_wrap=True)
    _reasons(console, report)
    _features(console, report)
    _measured(console, report)
    _profiles(console, report)
    _untested(console, report)
    _spent(console, report)
    _how(console, report, folder)


def _instrument(console: Console, report: Report) -> None:
    for proof in report.instrument:
        style = _PROOF_STYLES[proof.result]
        console.print(f"[{style}]{proof.result}[/] {proof.name}: {escape(proof.detail)}", soft_wrap=True)
    if not report.is_proven:
        console.print(
            "[bold magenta]the instrument was not seen to work: nothing below is a success[/]", soft_wrap=True
        )


def _account(console: Console, report: Report, result: CheckResult, folder: Path) -> None:
    text = next(entry.text for entry in report.requirements if entry.id == result.requirement)
    console.print(
        f"\n[{STYLES[result.verdict]}]{result.verdict.word}[/] [bold]{result.requirement}[/] {result.title}",
        soft_wrap=True,
    )
    console.print(f"  required: {escape(text)}", soft_wrap=True)
    console.print(escape(textwrap.indent(result.reason, "  ")), soft_wrap=True)
    for event in facts.recorded(folder, result)[-_QUOTED_EVENTS:]:
        shown = textwrap.shorten(facts.readable(event), _QUOTED_WIDTH, placeholder=" …")
        console.print(f"  [dim]{escape(shown)}[/]", soft_wrap=True)


def _reasons(console: Console, report: Report) -> None:
    """Why checks were skipped or disabled, each reason once."""
    told = Counter(
        (result.verdict, result.reason)
        for result in report.checks
        if result.verdict in (Verdict.SKIP, Verdict.DISABLED)
    )
    for (verdict, reason), number in sorted(told.items()):
        console.print(f"{verdict.word} {number}: {escape(reason)}", soft_wrap=True)
    for result in report.checks:
        if result.expected:
            console.print(f"expected: {result.requirement} {escape(result.expected)}", soft_wrap=True)


def _features(console: Console, report: Report) -> None:
    """Where claims and probes differ."""
    for entry in report.target.features:
        if entry.contradiction:
            told = (
                f"{entry.feature} is {entry.claim} and {entry.presence}: {entry.seen}; {entry.contradiction}"
            )
            console.print(f"[yellow]feature[/] {escape(told)}", soft_wrap=True)


def _measured(console: Console, report: Report) -> None:
    for result in report.checks:
        if result.measurements:
            told = ", ".join(f"{figure.name} {figure.words}" for figure in result.measurements)
            console.print(f"measured {result.requirement} {result.title}: {escape(told)}", soft_wrap=True)


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


def _spent(console: Console, report: Report) -> None:
    """Where the time went, in two lines; the pages have the rest."""
    if report.checks:
        *areas, all_ = facts.spent(report)
        longest = ", ".join(f"{line.name} {line.seconds:.0f} s" for line in areas[:_NAMED_AREAS])
        console.print(
            f"time: {all_.seconds:.0f} s of checks, of which {all_.waited:.0f} s waiting; {all_.cpu:.0f} s of CPU; "
            f"most in {longest}",
            soft_wrap=True,
        )
        slowest = facts.slowest(report)[:_NAMED_SLOWEST]
        console.print(
            "slowest: " + ", ".join(f"{check.requirement} {check.seconds:.1f} s" for check in slowest),
            soft_wrap=True,
        )


def _how(console: Console, report: Report, folder: Path) -> None:
    expected = report.expected_failures
    counts = ", ".join(
        f"{number} {word}" + (f" ({expected} as expected)" if word == Verdict.FAIL.word and expected else "")
        for word, number in report.counts.items()
        if number
    )
    version = f" {', '.join(report.versions)}" if report.versions else ""
    console.print(
        f"target {report.target.name}{version}: {escape(' '.join(report.target.command))}", soft_wrap=True
    )
    console.print(
        f"unprivileged agents: {report.target.unprivileged}; root: {report.target.root}", soft_wrap=True
    )
    order = "" if report.random_order is None else f", in random order {report.random_order}"
    state = "[bold red]interrupted[/] after" if report.interrupted else "in"
    console.print(
        f"{counts or 'no checks'} {state} {report.seconds:.1f} s{order}; report in {folder}", soft_wrap=True
    )
