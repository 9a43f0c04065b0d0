"""The command line of the suite: ``run`` judges an implementation, ``requirements`` tells what is asked of it.

Exit codes: 0 conforms, 1 does not, 2 the command was wrong, 3 the suite itself broke, 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from conformance.plugin import discovery
from conformance.plugin.discovery import Check, DiscoveryError
from conformance.report.terminal import announce, summarize
from conformance.requirements import Level, Register, RegisterError, Requirement, load
from conformance.requirements.register import FOLDER as REQUIREMENTS
from conformance.runner import RunPlan, run
from conformance.targets import TargetError, resolve
from conformance.targets.privileges import determine
from conformance.targets.target import KINDS

OK, USAGE, BROKEN = 0, 2, 3
#: Checks wait more than they work, so two share a processor; more would only make each other late.
_WORKERS = 2 * min(os.cpu_count() or 1, 4)


class UsageError(Exception):
    """The command cannot be carried out as given; the message is one sentence with its remedy."""


def main(
    arguments: Sequence[str], *, checks: Path = discovery.FOLDER, requirements: Path = REQUIREMENTS
) -> int:
    """Carry out ``run …`` or ``requirements …`` and return the exit code.

    ``checks`` and ``requirements`` are the folders of the suite's own; its tests bring others.
    """
    try:
        options = _parser().parse_args(arguments)
    except SystemExit as ending:
        return ending.code if isinstance(ending.code, int) else USAGE
    try:
        register = load(requirements)
        found = discovery.discover(checks)
        discovery.refuse_unknown(found, register)
        code: int = options.action(options, register, found)
    except (UsageError, TargetError) as error:
        return _complain(str(error), USAGE)
    except (RegisterError, DiscoveryError) as error:
        return _complain(str(error), BROKEN)
    return code


def _complain(message: str, code: int) -> int:
    print(f"proxyproof: {message}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="proxyproof", allow_abbrev=False)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    judge = commands.add_parser("run", help="judge an implementation", allow_abbrev=False)
    judge.set_defaults(action=_run)
    judge.add_argument(
        "ids", nargs="*", metavar="ID", help="requirement ids or their beginnings; all by default"
    )
    judge.add_argument(
        "--target", choices=sorted(KINDS), default="reference", help="what to judge (%(default)s)"
    )
    judge.add_argument("--command", metavar="CMD", help="the agent's command line, for --target process")
    judge.add_argument(
        "--report", type=Path, default=Path("proxyproof-report"), metavar="DIR", help="(%(default)s)"
    )
    judge.add_argument(
        "-n",
        dest="workers",
        type=_count,
        default=_WORKERS,
        metavar="N",
        help="checks at a time (%(default)s)",
    )
    judge.add_argument(
        "--time-scale",
        type=_factor,
        default=1.0,
        metavar="X",
        help="multiplies every time budget (%(default)s)",
    )
    judge.add_argument(
        "--user", metavar="NAME", help="whom agents run as when the suite runs as root (nobody)"
    )

    inform = commands.add_parser(
        "requirements", help="what is asked of an implementation", allow_abbrev=False
    )
    topics = inform.add_subparsers(required=True, metavar="TOPIC")
    topics.add_parser("list", help="every requirement, one line each").set_defaults(action=_list)
    show = topics.add_parser("show", help="one requirement or a group, in full, with its checks")
    show.add_argument("id", metavar="ID")
    show.set_defaults(action=_show)
    topics.add_parser("coverage", help="how much has a check, and what has none").set_defaults(
        action=_coverage
    )
    return parser


def _count(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of workers")
    return int(text)


def _factor(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive factor")
    return value


def _run(options: argparse.Namespace, register: Register, checks: Sequence[Check]) -> int:
    selected = _select(options.ids, register)
    if not any(check.requirement in selected for check in checks):
        raise UsageError(f"no check proves {' or '.join(options.ids) or 'anything'} yet; nothing was run")
    target = resolve(options.target, options.command)
    plan = RunPlan(
        target=target,
        command=options.command,
        privileges=determine(options.user, target.probe),
        register=register,
        selected=selected,
        selection=tuple(options.ids),
        checks=tuple(checks),
        folder=_writable(options.report),
        workers=options.workers,
        time_scale=options.time_scale,
    )
    console = Console(highlight=False)
    report = run(plan, lambda result: announce(console, result))
    summarize(console, report, plan.folder)
    return report.exit_code


def _select(ids: Sequence[str], register: Register) -> frozenset[str]:
    if not ids:
        return frozenset(entry.id for entry in register)
    return frozenset(entry.id for prefix in ids for entry in _matching(prefix, register))


def _matching(prefix: str, register: Register) -> tuple[Requirement, ...]:
    found = register.select(prefix)
    if not found:
        raise UsageError(
            f"no requirement is or begins with {prefix!r}; `proxyproof requirements list` names them"
        )
    return found


def _writable(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "report.json").touch()
    except OSError as error:
        raise UsageError(f"--report {folder}: {error.strerror}; name a folder that can be written") from error
    return folder.resolve()


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
    for entry in _matching(options.id, register):
        _show_one(console, entry, proofs)
    return OK


def _show_one(console: Console, entry: Requirement, proofs: Mapping[str, Sequence[Check]]) -> None:
    console.print(f"[bold]{entry.id}[/] {entry.level}, {entry.feature}, {entry.importance}")
    console.print(f"  {escape(entry.text)}", soft_wrap=True)
    facts = {
        "source": entry.source,
        "catalogue": ", ".join(entry.catalogue),
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
    return OK
