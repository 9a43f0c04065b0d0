"""``proxyproof run``: judges an implementation and writes a report."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from conformance.budgets import PATIENCE
from conformance.claims import PROBES
from conformance.cli.common import UsageError, factor, pace, selection, writable
from conformance.plugin.discovery import Check
from conformance.plugin.settings import DEFAULTS, Tuning
from conformance.report import expectations
from conformance.report.expectations import Expectation
from conformance.report.progress import watching
from conformance.report.terminal import summarize
from conformance.requirements import Feature, Register
from conformance.runner import RunPlan, run
from conformance.targets import TargetChoice, names, resolve


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Teach the parser this command."""
    judge = commands.add_parser("run", help="judge an implementation", allow_abbrev=False)
    judge.set_defaults(action=_run)
    judge.add_argument(
        "ids", nargs="*", metavar="ID", help="requirement ids or their beginnings; all by default"
    )
    judge.add_argument(
        "--profile",
        dest="profiles",
        action="append",
        choices=[str(feature) for feature in Feature],
        metavar="NAME",
        help=f"only the requirements of a profile, which may be given several times: {', '.join(Feature)}",
    )
    judge.add_argument(
        "--target",
        metavar="KIND",
        default="reference",
        help=f"what to judge: {', '.join(names())} (%(default)s)",
    )
    judge.add_argument(
        "--command",
        metavar="CMD",
        help="the agent's command line, for --target process, and for an image without entry point",
    )
    judge.add_argument(
        "--one-file",
        action="store_true",
        help="the first word of --command is all of the program: upgrades can be tried with copies of it",
    )
    judge.add_argument(
        "--exempt-features",
        action="extend",
        type=lambda text: text.split(","),
        default=[],
        metavar="NAME[,NAME...]",
        help="what the implementation is not meant to have: its requirements are not asked",
    )
    judge.add_argument(
        "--detect-features",
        action="store_true",
        help=f"as well what a probe does not find, of {', '.join(PROBES)}; otherwise that fails",
    )
    judge.add_argument("--binary", metavar="PATH", help="a Consul of 1.2 to 1.5, for --target consul")
    judge.add_argument("--adapter", metavar="PATH", help="what starts and ends the agents, for --target exec")
    judge.add_argument("--image", metavar="NAME", help="what to judge, for --target container")
    judge.add_argument("--next-image", metavar="NAME", help="what an upgrade of it leads to (the same)")
    judge.add_argument(
        "--report",
        type=Path,
        default=Path("proxyproof-report"),
        metavar="DIR",
        help="where the report goes (%(default)s)",
    )
    pace(judge)
    judge.add_argument(
        "--patience",
        type=_patience,
        default=PATIENCE,
        metavar="N",
        help="how many budgets to wait before a thing counts as never happening (%(default)s)",
    )
    judge.add_argument(
        "--repeat", type=_times, default=1, metavar="N", help="runs of each check; the worst counts"
    )
    judge.add_argument(
        "--throughput-floor",
        type=factor,
        default=DEFAULTS.throughput_floor,
        metavar="RATIO",
        help="the least that the pair of proxies must carry, as a part of the direct path (%(default)s)",
    )
    judge.add_argument(
        "--latency-ceiling",
        type=factor,
        default=DEFAULTS.latency_ceiling,
        metavar="RATIO",
        help="the longest round trip through the pair, as a multiple of a direct one (%(default)s)",
    )
    judge.add_argument(
        "--random-order",
        type=_seed,
        metavar="SEED",
        help="the checks in an order made of this number, the same one each time; otherwise as they are written",
    )
    judge.add_argument(
        "--seed", type=_seed, default=DEFAULTS.seed, metavar="N", help="of what checks generate (%(default)s)"
    )
    judge.add_argument(
        "--examples", type=_times, metavar="N", help="how many each of these checks generates (a few)"
    )
    judge.add_argument(
        "--expected",
        type=Path,
        metavar="FILE",
        help="known failures of the implementation, in TOML; for a Consul release those that the suite knows",
    )
    judge.add_argument(
        "--user", metavar="NAME", help="whom agents run as when the suite runs as root (nobody)"
    )


def _times(text: str) -> int:
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of times")
    return int(text)


def _seed(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a seed: a number from 0")
    return int(text)


def _patience(text: str) -> float:
    value = factor(text)
    if value < 1.0:
        raise argparse.ArgumentTypeError(f"{text!r} is less than one budget")
    return value


def _run(options: argparse.Namespace, register: Register, checks: Sequence[Check]) -> int:
    selected = selection(options.ids, register)
    profiles = options.profiles or ()
    if profiles:
        selected = frozenset(entry for entry in selected if register[entry].feature in profiles)
    if not any(check.requirement in selected for check in checks):
        asked = " or ".join(options.ids) or "anything"
        within = f" of the profile {' or '.join(profiles)}" if profiles else ""
        raise UsageError(f"no check proves {asked}{within} yet; nothing was run")
    choice = TargetChoice(
        kind=options.target,
        command=options.command,
        binary=options.binary,
        adapter=options.adapter,
        image=options.image,
        next_image=options.next_image,
        one_file=options.one_file,
    )
    target = resolve(choice)
    exempt = _exempt(options.exempt_features)
    wanted = {register[check.requirement].feature for check in checks if check.requirement in selected}
    if not wanted & (target.features - exempt):
        raise UsageError(f"nothing was asked for but {' and '.join(sorted(wanted))}, which is not claimed")
    plan = RunPlan(
        choice=choice,
        target=target,
        privileges=target.privileges(options.user),
        register=register,
        selected=selected,
        selection=(*profiles, *options.ids),
        checks=tuple(checks),
        folder=writable(options.report, "report.json"),
        workers=options.workers,
        time_scale=options.time_scale,
        exempt=exempt,
        detect=options.detect_features,
        patience=options.patience,
        repeat=options.repeat,
        random_order=options.random_order,
        tuning=Tuning(
            throughput_floor=options.throughput_floor,
            latency_ceiling=options.latency_ceiling,
            seed=options.seed,
            examples=options.examples,
        ),
        expected=_expected(options.expected or target.expected, register),
    )
    console = Console(highlight=False)
    with watching(console) as watcher:
        report = run(plan, watcher)
    summarize(console, report, plan.folder)
    return report.exit_code


def _exempt(names: Sequence[str]) -> frozenset[Feature]:
    for name in names:
        if name not in list(Feature):
            raise UsageError(f"--exempt-features {name}: no such feature; known are {', '.join(Feature)}")
    if Feature.CORE in names:
        raise UsageError(f"--exempt-features {Feature.CORE}: that is what everyone is judged by")
    return frozenset(map(Feature, names))


def _expected(path: Path | None, register: Register) -> tuple[Expectation, ...]:
    if path is None:
        return ()
    return expectations.load(path, known=[entry.id for entry in register])
