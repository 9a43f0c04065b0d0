"""``tox -e soak`` (``python -m conformance.soak``): shows that the suite never cries wolf.

The suite judges one implementation that conforms, the reference by default, again and again: as it comes, beside other
load, in random order, with other workers. Every failure is a false alarm, of the suite or of what it judges. Rounds
run each kind once, so that a short soak has seen all of them.

Each run has a bound in time, and so has the load beside it. Reports of runs that passed are removed. Exit codes: 0 not
one failure, 1 false alarms, 2 the command was wrong, 130 interrupted (what was done is shown).
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import indent

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from conformance.report.model import CheckResult, ReportError, decode
from conformance.report.verdict import Verdict

OK, WOLF, USAGE, INTERRUPTED = 0, 1, 2, 130
ROUNDS = 5
#: What runs beside the suite, bounded in time by itself, too.
LOAD = ("stress-ng", "--cpu", "4", "--io", "2", "--quiet", "--timeout")
#: A run that takes longer than this hangs (s).
LONGEST_RUN = 3600
#: As much of each reason is shown, its end; the report has all.
_TOLD_LINES = 4
REFERENCE = (sys.executable, "-m", "proxyproof", "run", "--target", "reference")


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of the suite: what sets it apart from the others."""

    number: int
    kind: str
    options: tuple[str, ...] = ()
    loaded: bool = False

    @property
    def name(self) -> str:
        """The name of its report's folder."""
        return f"{self.number:02}-{self.kind}"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a run: ``alarms`` are the results that should have been good, ``trouble`` what else went wrong."""

    run: Run
    code: int | None
    seconds: float
    counts: Mapping[str, int] = field(default_factory=dict)
    alarms: tuple[CheckResult, ...] = ()
    trouble: str = ""

    @property
    def good(self) -> bool:
        """Whether the suite said that what it judged conforms."""
        return self.code == 0 and not self.alarms and not self.trouble


def plan(rounds: int, *, loaded: bool = True) -> tuple[Run, ...]:
    """Every kind of run, ``rounds`` times; the numbers of random orders differ."""
    runs: list[Run] = []
    for seed in range(1, rounds + 1):
        kinds: list[tuple[str, tuple[str, ...], bool]] = [("plain", (), False)]
        if loaded:
            kinds.append(("loaded", (), True))
        kinds += [("random", ("--random-order", str(seed)), False), ("four-workers", ("-n", "4"), False)]
        for kind, options, beside in kinds:
            runs.append(Run(number=len(runs) + 1, kind=kind, options=options, loaded=beside))
    return tuple(runs)


def judged(run: Run, command: Sequence[str], report: Path) -> Outcome:
    """Let the suite judge; what it says is in ``output.txt`` of the report's folder."""
    shutil.rmtree(report, ignore_errors=True)
    report.mkdir(parents=True)
    began = time.monotonic()
    with (report / "output.txt").open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
    try:
        with beside(LOAD if run.loaded else ()) as lost:
            code = process.wait(LONGEST_RUN)
            trouble = lost()
    except subprocess.TimeoutExpired:
        code, trouble = None, f"it did not end within {LONGEST_RUN} s"
    finally:
        if process.poll() is None:
            process.terminate()  # it ends what it has started
            process.wait()
    return outcome_of(run, code, time.monotonic() - began, report, trouble)


def outcome_of(run: Run, code: int | None, seconds: float, report: Path, trouble: str = "") -> Outcome:
    """What a run left behind, read again. One that says it is well and has no report to show for it is not."""
    try:
        found = decode((report / "report.json").read_text(encoding="utf-8"))
    except (OSError, ReportError) as error:
        trouble = trouble or f"it left no report to believe: {error}"
        return Outcome(run=run, code=code, seconds=seconds, trouble=trouble)
    alarms = (Verdict.FAIL, Verdict.ERROR, Verdict.UNKNOWN)
    return Outcome(
        run=run,
        code=code,
        seconds=seconds,
        counts=found.counts,
        alarms=tuple(check for check in found.checks if check.counted in alarms),
        trouble=trouble or "; ".join(found.broken),
    )


@contextmanager
def beside(load: Sequence[str]) -> Iterator[Callable[[], str]]:
    """Have other work done on the machine meanwhile; yields what tells whether it is no longer being done."""
    if not load:
        yield lambda: ""
        return
    # A group of its own, since it works with many processes.
    process = subprocess.Popen([*load, str(LONGEST_RUN)], process_group=0, stdin=subprocess.DEVNULL)

    def lost() -> str:
        code = process.poll()
        return "" if code is None else f"{load[0]} beside it ended with code {code} before it did"

    try:
        yield lost
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def soak(
    runs: Sequence[Run], *, command: Sequence[str], folder: Path, announce: Callable[[Outcome], None]
) -> None:
    """Carry the runs out one by one. Reports of good ones are removed."""
    for run in runs:
        report = folder / run.name
        outcome = judged(run, [*command, *run.options, "--report", str(report)], report)
        if outcome.good:
            shutil.rmtree(report)
        announce(outcome)


def show(console: Console, outcomes: Sequence[Outcome], planned: int, folder: Path) -> None:
    """A line for each run, each false alarm once with the runs that gave it, and what it comes to."""
    table = Table("run", "result", "pass", "skip", "alarms", "seconds", box=SIMPLE)
    for each in outcomes:
        result = "[green]good[/]" if each.good else f"[bold red]exit code {each.code}[/]"
        numbers = (each.counts.get(word, 0) for word in ("pass", "skip"))
        table.add_row(each.run.name, result, *map(str, numbers), str(len(each.alarms)), f"{each.seconds:.0f}")
    console.print(table)
    given: dict[str, list[tuple[Run, CheckResult]]] = {}
    for each in outcomes:
        for alarm in each.alarms:
            given.setdefault(alarm.requirement, []).append((each.run, alarm))
        if each.trouble:
            console.print(f"[bold red]{each.run.name}[/]: {escape(each.trouble)}", soft_wrap=True)
    for requirement, alarms in sorted(given.items()):
        runs = ", ".join(run.name for run, _ in alarms)
        console.print(f"[bold red]{requirement}[/] {len(alarms)} times ({runs})", soft_wrap=True)
        for reason in sorted({alarm.reason for _, alarm in alarms}):
            told = "\n".join(reason.splitlines()[-_TOLD_LINES:])
            console.print(escape(indent(told, "    ")), soft_wrap=True)
    good = sum(each.good for each in outcomes)
    kept = "" if good == len(outcomes) else f"; the reports of the others are in {folder}"
    console.print(f"{good} of {planned} runs without a false alarm{kept}", soft_wrap=True)


def main(arguments: Sequence[str], *, command: Sequence[str] = REFERENCE) -> int:
    """Soak, show; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m conformance.soak",
        description="Judge the reference again and again; every failure is a false alarm.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--rounds", type=int, default=ROUNDS, metavar="N", help="runs of each kind (%(default)s)"
    )
    parser.add_argument("--without-load", action="store_true", help=f"no runs beside {LOAD[0]}")
    parser.add_argument(
        "--report", type=Path, default=Path("soak-report"), metavar="DIR", help="(%(default)s)"
    )
    parser.add_argument("ids", nargs="*", metavar="ID", help="as of `proxyproof run`; all by default")
    try:
        options = parser.parse_args(arguments)
    except SystemExit as ending:
        return ending.code if isinstance(ending.code, int) else USAGE
    if options.rounds < 1:
        return _complain(f"--rounds {options.rounds}: at least one is needed")
    if not options.without_load and shutil.which(LOAD[0]) is None:
        return _complain(
            f"{LOAD[0]} IS MISSING, and a soak without other load proves little: install it, or say --without-load"
        )
    folder = options.report.resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return _complain(f"--report {folder}: {error.strerror}; name a folder that can be written")
    runs = plan(options.rounds, loaded=not options.without_load)
    console = Console(highlight=False)
    outcomes: list[Outcome] = []

    def announce(outcome: Outcome) -> None:
        outcomes.append(outcome)
        alarms = ", ".join(alarm.requirement for alarm in outcome.alarms) or outcome.trouble
        said = "good" if outcome.good else f"[bold red]exit code {outcome.code}[/] {escape(alarms)}"
        console.print(f"{outcome.run.name:<16} {outcome.seconds:4.0f} s  {said}", soft_wrap=True)

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        soak(runs, command=[*command, *options.ids], folder=folder, announce=announce)
    except KeyboardInterrupt:
        show(console, outcomes, len(runs), folder)
        console.print("[bold red]interrupted[/]")
        return INTERRUPTED
    show(console, outcomes, len(runs), folder)
    return OK if all(outcome.good for outcome in outcomes) else WOLF


def _complain(message: str) -> int:
    print(f"soak: {message}", file=sys.stderr)
    return USAGE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
