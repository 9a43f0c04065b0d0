"""``proxyproof smoke``: judges an adapter, before it is used for a run."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape

from conformance.cli.common import FAILED, OK
from conformance.plugin.discovery import Check
from conformance.requirements import Register
from conformance.smoke import smoke
from conformance.targets.kinds import executable


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Teach the parser this command."""
    probe = commands.add_parser(
        "smoke", help="judge an adapter, before it is used for a run", allow_abbrev=False
    )
    probe.set_defaults(action=_smoke)
    probe.add_argument("--adapter", metavar="PATH", required=True, help="the executable")


def _smoke(options: argparse.Namespace, register: Register, checks: Sequence[Check]) -> int:
    console = Console(highlight=False)
    sound = True
    for answered in smoke(executable(options.adapter, "correct --adapter")):
        word = "[bold red]no[/] " if answered.problem else "[green]yes[/]"
        console.print(f"{word} {answered.question}", soft_wrap=True)
        if answered.problem:
            console.print(f"    {escape(answered.problem)}", soft_wrap=True)
            sound = False
    return OK if sound else FAILED
