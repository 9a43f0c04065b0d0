"""``proxyproof mutants``: judges the suite itself, by agents that are known to lie."""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

import proxyproof
from conformance.cli.common import UsageError, count, number, pace, writable
from conformance.mutants import faults, show
from conformance.mutants.faults import Catalogue, Fault
from conformance.mutants.session import MutantsPlan, run
from conformance.plugin.discovery import Check
from conformance.plugin.session import passable_folder
from conformance.requirements import Register
from conformance.targets.privileges import determine

#: The project's own faulty agents, which only a checkout has.
OWN = Path(proxyproof.__file__).parents[1] / "tests" / "faulty"


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Teach the parser this command."""
    judge = commands.add_parser(
        "mutants", help="judge the suite: does it catch agents that lie?", allow_abbrev=False
    )
    judge.set_defaults(action=_run)
    judge.add_argument(
        "names", nargs="*", metavar="FAULT", help="faulty agents, or how their names begin; all by default"
    )
    judge.add_argument(
        "--faults",
        metavar="CMD",
        help="what tells of faulty agents when it is called with --list FOLDER; by default those of this checkout",
    )
    judge.add_argument(
        "--near",
        type=count,
        default=1,
        metavar="N",
        help="how many checks of the same behaviours, which must pass, each faulty agent meets (%(default)s)",
    )
    judge.add_argument(
        "--far",
        type=_share,
        default=1.0,
        metavar="X",
        help="the same of other behaviours; 0.25: one for every fourth faulty agent (%(default)g)",
    )
    judge.add_argument(
        "--report", type=Path, default=Path("proxyproof-mutants"), metavar="DIR", help="(%(default)s)"
    )
    pace(judge)


def _share(text: str) -> float:
    """An option that is a number, whole or not, from 0 on."""
    value = number(text)
    if not 0.0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of checks for each faulty agent")
    return value


def _run(options: argparse.Namespace, register: Register, checks: Sequence[Check]) -> int:
    with tempfile.TemporaryDirectory(prefix="proxyproof-faulty-", dir=passable_folder()) as programs:
        Path(programs).chmod(0o755)
        catalogue = faults.ask(_command(options.faults), Path(programs), register)
        chosen = _chosen(options.names, catalogue)
        plan = MutantsPlan(
            catalogue=catalogue,
            chosen=chosen,
            near=options.near,
            far=options.far,
            privileges=determine(None, (*chosen[0].command[:1], "--version")),
            register=register,
            checks=tuple(checks),
            folder=writable(options.report, "mutants.json"),
            workers=options.workers,
            time_scale=options.time_scale,
        )
        console = Console(highlight=False)
        matrix = run(plan, lambda row: show.announce(console, row))
    show.write(matrix, plan.folder)
    show.summarize(console, matrix, plan.folder)
    return matrix.exit_code


def _command(given: str | None) -> list[str]:
    if given is not None:
        try:
            words = shlex.split(given)
        except ValueError as error:
            raise UsageError(f"--faults {given!r} cannot be split into words: {error}") from error
        if not words:
            raise UsageError("--faults needs a command that tells of faulty agents")
        return words
    if not OWN.is_dir():
        raise UsageError(
            "the faulty agents of the reference are not installed, only a checkout of the project has them; "
            "run this there, or name others with --faults"
        )
    return [sys.executable, str(OWN)]


def _chosen(names: Sequence[str], catalogue: Catalogue) -> tuple[Fault, ...]:
    for name in names:
        if not any(fault.name.startswith(name) for fault in catalogue.faults):
            raise UsageError(f"no faulty agent is called {name!r} or so")
    chosen = tuple(
        fault for fault in catalogue.faults if not names or any(fault.name.startswith(name) for name in names)
    )
    if not chosen:
        raise UsageError("there are no faulty agents to run")
    return chosen
