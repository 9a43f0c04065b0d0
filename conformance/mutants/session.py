"""One run of the kill matrix: every chosen faulty agent meets its checks, all in one session of pytest."""

from __future__ import annotations

import datetime
import shlex
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import proxyproof
from conformance.mutants import matrix
from conformance.mutants.faults import Catalogue, Fault, judged_by
from conformance.mutants.hooks import OPTION, Meetings
from conformance.mutants.matrix import Matrix, Row
from conformance.plugin.collector import Listener
from conformance.plugin.discovery import Check
from conformance.plugin.session import execute
from conformance.plugin.settings import DEFAULTS, RunSettings, Variant
from conformance.report.model import CheckResult, combined
from conformance.report.verdict import Verdict
from conformance.requirements import Register
from conformance.targets import TargetChoice
from conformance.targets.privileges import Privileges
from conformance.targets.target import ALL_FEATURES

#: What has not happened in its budget is a failure: whether it is late or never does not matter here.
_PATIENCE = 1.0
#: So many more times is asked what did not come out as it must, with less beside it that could disturb it.
_MORE_TIMES = 2
_MORE_WORKERS = 2


@dataclass(frozen=True, kw_only=True)
class MutantsPlan:
    """Which of the faulty agents to run, how many checks that should pass each meets, and where the report goes."""

    catalogue: Catalogue
    chosen: tuple[Fault, ...]
    near: int
    far: float
    privileges: Privileges
    register: Register
    checks: tuple[Check, ...]
    folder: Path
    workers: int
    time_scale: float


def run(plan: MutantsPlan, announce: Callable[[Row], None]) -> Matrix:
    """Execute the plan; ``announce`` hears of each faulty agent when it is known what it came to."""
    started, began = datetime.datetime.now(datetime.UTC), time.monotonic()
    checked = [entry for entry in plan.register if entry.id in {check.requirement for check in plan.checks}]
    # A faulty agent is a program, and is asked what a program can be asked.
    ids = [entry.id for entry in checked if entry.feature in ALL_FEATURES]
    wanted = {fault.name: judged_by(fault, ids, near=plan.near, far=plan.far) for fault in plan.chosen}
    shutil.rmtree(plan.folder / "history", ignore_errors=True)

    first = _Gathered(plan, wanted, lambda row: announce(row) if row.good else None)
    interrupted = _meet(plan, wanted, first, plan.workers)
    rows = {fault.name: first.row(fault.name) for fault in plan.chosen}
    broken = [*first.broken]
    for _ in range(_MORE_TIMES):
        asked = {fault.name: matrix.asked_next(rows[fault.name], fault, ids) for fault in plan.chosen}
        doubtful = {name: entries for name, entries in asked.items() if entries}
        if not doubtful or interrupted:
            break
        again = _Gathered(plan, doubtful, lambda row: None)
        interrupted = _meet(plan, doubtful, again, min(plan.workers, _MORE_WORKERS))
        rows |= {name: rows[name].asked_again(again.row(name)) for name in doubtful}
        broken += again.broken
    for name, row in rows.items():
        if not first.row(name).good:
            announce(row)
    return Matrix(
        suite=proxyproof.__version__,
        started=started.isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - began, 3),
        interrupted=interrupted,
        broken=tuple(broken),
        rows=tuple(rows.values()),
        obligations=matrix.obligations(plan.catalogue, checked, tuple(rows.values())),
    )


def _meet(plan: MutantsPlan, wanted: Mapping[str, Sequence[str]], gathered: _Gathered, workers: int) -> bool:
    """Let faulty agents meet the checks of the requirements wanted of them. Whether it was interrupted."""
    met = {entry for entries in wanted.values() for entry in entries}
    chosen = [fault for fault in plan.chosen if fault.name in wanted]
    history = plan.folder / "history"
    history.mkdir(parents=True, exist_ok=True)
    interrupted = execute(
        lambda folder: RunSettings(
            target=TargetChoice(),
            privileges=plan.privileges,
            time_scale=plan.time_scale,
            patience=_PATIENCE,
            repeat=1,
            # What matters is that a lie is caught, not how it can be told in fewest words.
            tuning=replace(DEFAULTS, shortening=False),
            folder=str(folder),
            history=str(history),
        ),
        [check for check in plan.checks if check.requirement in met],
        workers=min(workers, sum(map(len, wanted.values()))),
        collector=gathered,
        arguments=("-p", "conformance.mutants.hooks", f"{OPTION}={_meetings(chosen, wanted).encode()}"),
    )
    return interrupted or gathered.interrupted


def _meetings(chosen: Sequence[Fault], wanted: Mapping[str, Sequence[str]]) -> Meetings:
    """Longest first: a check that fails has mostly waited for the end of its budget."""
    breaks = {fault.name: fault.breaks for fault in chosen}
    pairs = [(entry, name) for name, entries in wanted.items() for entry in entries]
    return Meetings(
        faults={fault.name: Variant(name=fault.name, target=_choice(fault)) for fault in chosen},
        order=tuple(sorted(pairs, key=lambda pair: pair[0] not in breaks[pair[1]])),
    )


def _choice(fault: Fault) -> TargetChoice:
    return TargetChoice(kind="process", command=shlex.join(fault.command), one_file=fault.one_file)


class _Gathered(Listener):
    """What each faulty agent came to; what is not heard of stays unknown."""

    def __init__(
        self, plan: MutantsPlan, wanted: Mapping[str, Sequence[str]], announce: Callable[[Row], None]
    ) -> None:
        super().__init__(plan.checks)
        self._catalogue = plan.catalogue
        self._announce = announce
        met = {
            name: [check for check in plan.checks if check.requirement in entries]
            for name, entries in wanted.items()
        }
        self._pending = set(met)
        self._parts = {
            name: [CheckResult(requirement=check.requirement, name=check.name) for check in checks]
            for name, checks in met.items()
        }

    def row(self, fault: str) -> Row:
        """What it came to so far."""
        return matrix.row(fault, self._catalogue, combined(self._parts[fault]))

    def heard(self, result: CheckResult, *, variant: str, over: bool) -> None:
        name = next(name for name in self._parts if f"{variant}-".startswith(f"{name}-"))
        self._parts[name].append(result)
        if over and name in self._pending and all(_is_known(part) for part in combined(self._parts[name])):
            self._pending.remove(name)
            self._announce(self.row(name))


def _is_known(result: CheckResult) -> bool:
    return result.verdict is not Verdict.UNKNOWN
