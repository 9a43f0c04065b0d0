"""``proxyproof requirements``: what is asked of an implementation, and what has no check."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.markup import escape

from conformance.cli.common import OK, matching
from conformance.plugin import discovery
from conformance.plugin.discovery import Check
from conformance.requirements import Level, Register, Requirement
from conformance.requirements.statements import Source, load_sources


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Teach the parser this command."""
    inform = commands.add_parser(
        "requirements", help="what is asked of an implementation", allow_abbrev=False
    )
    topics = inform.add_subparsers(required=True, metavar="TOPIC")
    topics.add_parser("list", help="every requirement, one line each").set_defaults(action=_list)
    show = topics.add_parser("show", help="one requirement or a group, in full, with its checks")
    show.add_argument("id", metavar="ID")
    show.set_defaults(action=_show)
    coverage = topics.add_parser(
        "coverage", help="how much has a check, how much of each source is required, and what is not"
    )
    coverage.add_argument("--statements", action="store_true", help="tell of every statement of the sources")
    coverage.set_defaults(action=_coverage)


def _list(options: argparse.Namespace, register: Register, checks: Sequence[Check]) -> int:
    proofs = discovery.by_requirement(checks)
    console = Console(highlight=False)
    for area in register.areas:
        console.print(f"[bold]{area.name}[/] {escape(area.title)}", soft_wrap=True)
        for entry in area.requirements:
            tested = "" if entry.id in proofs else " [yellow](untested)[/]"
            console.print(f"  {entry.id} {entry.level} {escape(entry.text)}{tested}", soft_wrap=True)
    return OK


def _show(options: argparse.Namespace, register: Register, checks: Sequence[Check]) -> int:
    proofs = discovery.by_requirement(checks)
    console = Console(highlight=False)
    sources = load_sources(register)
    for entry in matching(options.id, register):
        _show_one(console, entry, proofs, sources)
    return OK


def _show_one(
    console: Console,
    entry: Requirement,
    proofs: Mapping[str, Sequence[Check]],
    sources: Sequence[Source],
) -> None:
    console.print(f"[bold]{entry.id}[/] {entry.level}, {entry.feature}, {entry.importance}")
    console.print(f"  {escape(entry.text)}", soft_wrap=True)
    facts = {
        "source": entry.source,
        "asked for by": ", ".join(
            statement.id
            for source in sources
            for statement in source.statements
            if entry.id in statement.requirements
        ),
        "since": entry.since,
        "until": entry.until,
        "the original": entry.characterisation,
        "notes": entry.notes,
    }
    for name, fact in facts.items():
        if fact:
            console.print(f"  [dim]{name}:[/] {escape(fact)}", soft_wrap=True)
    for check in proofs.get(entry.id, ()):
        console.print(f"  [bold]{check.name}[/] [dim]{check.path.name}[/]")
        for line in check.text.splitlines():
            console.print(f"    {escape(line)}", soft_wrap=True)
    if entry.id not in proofs:
        console.print("  [yellow]untested[/]")
    console.print()


def _coverage(options: argparse.Namespace, register: Register, checks: Sequence[Check]) -> int:
    proofs = discovery.by_requirement(checks)
    console = Console(highlight=False)
    for level in Level:
        entries = [entry for entry in register if entry.level is level]
        untested = [entry.id for entry in entries if entry.id not in proofs]
        console.print(f"[bold]{level}[/] {len(entries) - len(untested)} of {len(entries)} tested")
        for identifier in untested:
            console.print(f"  untested {identifier}")
    for source in load_sources(register):
        _tell_source(console, source, every=options.statements)
    return OK


def _tell_source(console: Console, source: Source, *, every: bool) -> None:
    """How many of its statements are required, and why the others are not; each of them if ``every``."""
    others = ", ".join(f"{kind} {count}" for kind, count in source.outside.items())
    console.print(
        f"[bold]{escape(source.title)}[/] {source.required} of {len(source.statements)} required, others: {others}",
        soft_wrap=True,
    )
    for statement in source.statements if every else ():
        said = f" {statement.text}" if statement.text else ""
        asked = (
            ", ".join(statement.requirements)
            if statement.outside is None
            else f"{statement.outside}: {statement.reason}"
        )
        console.print(f"  {statement.id}{escape(said)} [dim]{escape(asked)}[/]", soft_wrap=True)
