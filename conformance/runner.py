"""One run: choose the checks, execute them, and report."""

from __future__ import annotations

import datetime
import random
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import proxyproof
from conformance import canary, claims, instrument
from conformance.budgets import PATIENCE
from conformance.instrument import DoubleRun
from conformance.instruments.history import without_secrets
from conformance.plugin.collector import Collector
from conformance.plugin.discovery import Check
from conformance.plugin.session import execute
from conformance.plugin.settings import DEFAULTS, RunSettings, Tuning
from conformance.report import expectations
from conformance.report.expectations import Expectation
from conformance.report.folder import FILES, write
from conformance.report.model import CheckResult, Report, RequirementEntry, TargetEntry, combined
from conformance.report.progress import Watcher
from conformance.report.verdict import Verdict
from conformance.requirements import Feature, Register
from conformance.targets import Target, TargetChoice
from conformance.targets.privileges import Access, Privileges


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """What to run and how. ``selected`` are requirement ids; ``workers`` of 0 means: in this process.

    ``exempt`` is what the operator takes back of the target's claims; ``detect`` takes back what a probe does not find.

    ``random_order`` is the seed of the order in which checks begin, which is otherwise as they are
    written, with those that take long at the head.
    """

    choice: TargetChoice
    target: Target
    privileges: Privileges
    register: Register
    selected: frozenset[str]
    selection: tuple[str, ...]
    checks: tuple[Check, ...]
    folder: Path
    workers: int
    time_scale: float
    exempt: frozenset[Feature] = frozenset()
    detect: bool = False
    patience: float = PATIENCE
    repeat: int = 1
    tuning: Tuning = DEFAULTS
    random_order: int | None = None
    expected: tuple[Expectation, ...] = ()


def run(plan: RunPlan, watcher: Watcher) -> Report:
    """Execute the plan and write the report into its folder, also when it is interrupted."""
    started, began = datetime.datetime.now(datetime.UTC), time.monotonic()
    chosen = [check for check in plan.checks if check.requirement in plan.selected]
    target = _target_entry(plan, chosen)
    history = _fresh_folder(plan.folder)
    disabled = [_disabled(check, reason) for check in chosen if (reason := _not_asked(check, plan, target))]
    runnable = [check for check in chosen if not _not_asked(check, plan, target)]
    runnable.sort(key=lambda check: -check.takes)
    if plan.random_order is not None:
        random.Random(plan.random_order).shuffle(runnable)

    def as_counted(results: Iterable[CheckResult]) -> tuple[CheckResult, ...]:
        return expectations.apply(plan.expected, results, today=started.date())

    watcher.expects(_areas(runnable, plan.repeat))
    collector = Collector(
        runnable,
        begun=watcher.begun,
        announce=lambda result: watcher.over(*as_counted([result])),
        repeat=plan.repeat,
    )
    double_run = DoubleRun(plan.target.simulation)
    if execute(
        lambda folder: _settings(plan, folder=folder, history=history),
        [*runnable, canary.CHECK],
        workers=min(plan.workers, (len(runnable) + 1) * plan.repeat),
        collector=collector,
        around=plan.target.run,
    ):
        collector.interrupted = True
    report = Report(
        suite=proxyproof.__version__,
        started=started.isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - began, 3),
        interrupted=collector.interrupted,
        broken=tuple(collector.broken),
        time_scale=plan.time_scale,
        random_order=plan.random_order,
        selection=plan.selection,
        target=target,
        requirements=tuple(
            RequirementEntry(
                id=entry.id,
                level=entry.level,
                text=entry.text,
                source=entry.source,
                feature=entry.feature,
                selected=entry.id in plan.selected,
            )
            for entry in plan.register
        ),
        checks=as_counted(combined([*collector.results, *disabled])),
    )
    report = replace(
        report,
        instrument=(
            instrument.canary(collector.canary),
            instrument.honesty(report, plan.register, target.claimed),
            double_run.proof(),
        ),
    )
    write(report, plan.folder)
    return report


def _areas(checks: Iterable[Check], repeat: int) -> Mapping[str, int]:
    """How many results each area is going to have."""
    numbers = Counter(check.requirement.partition("/")[0] for check in checks)
    return {area: numbers[area] * repeat for area in sorted(numbers)}


def _not_asked(check: Check, plan: RunPlan, target: TargetEntry) -> str:
    """Why the check is not asked of the target; empty when it is."""
    requirement = plan.register[check.requirement]
    (feature,) = (entry for entry in target.features if entry.feature is requirement.feature)
    if feature.unclaimed or requirement.applies_to(plan.target.version):
        return feature.unclaimed
    return f"not asked of version {plan.target.version}"


def _disabled(check: Check, reason: str) -> CheckResult:
    return CheckResult(
        requirement=check.requirement,
        name=check.name,
        text=check.text,
        verdict=Verdict.DISABLED,
        reason=reason,
    )


def _settings(plan: RunPlan, *, folder: Path, history: Path) -> RunSettings:
    return RunSettings(
        target=plan.choice,
        privileges=plan.privileges,
        time_scale=plan.time_scale,
        patience=plan.patience,
        repeat=plan.repeat,
        tuning=plan.tuning,
        folder=str(folder),
        history=str(history),
    )


def _fresh_folder(folder: Path) -> Path:
    """Make the report's folder and an empty one for histories; returns the latter."""
    history = folder / "history"
    shutil.rmtree(history, ignore_errors=True)
    history.mkdir(parents=True)
    for name in FILES:
        (folder / name).unlink(missing_ok=True)
    return history


def _target_entry(plan: RunPlan, chosen: Iterable[Check]) -> TargetEntry:
    """What the target claims and what it runs as; it is probed where something depends on that."""
    asked = {plan.register[check.requirement].feature for check in chosen}
    findings = (
        claims.probed(plan.target, plan.privileges, time_scale=plan.time_scale)
        if asked & claims.PROBES.keys()
        else {}
    )

    def way(access: Access | None, reason: str) -> str:
        return access.way if access else f"none: {reason}"

    return TargetEntry(
        name=plan.target.name,
        command=tuple(map(without_secrets, plan.target.command([]))),
        features=claims.settle(
            plan.target.features, exempt=plan.exempt, detect=plan.detect, findings=findings
        ),
        unprivileged=way(plan.privileges.unprivileged, plan.privileges.no_unprivileged),
        root=way(plan.privileges.root, plan.privileges.no_root),
    )
