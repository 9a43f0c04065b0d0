"""One run: choose the checks, execute them under pytest with settings of our own, report, and leave nothing behind."""

from __future__ import annotations

import datetime
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

import proxyproof
from conformance.instruments.history import without_secrets
from conformance.plugin.collector import Collector
from conformance.plugin.discovery import Check
from conformance.plugin.hooks import OPTION
from conformance.plugin.household import end_run
from conformance.plugin.settings import RunSettings
from conformance.report.junit import junit
from conformance.report.model import CheckResult, Report, RequirementEntry, TargetEntry, combined, encode
from conformance.report.verdict import Verdict
from conformance.requirements import Register
from conformance.targets import Target
from conformance.targets.privileges import Access, Privileges

_CONFIGURATION = Path(__file__).parent / "plugin" / "pytest.ini"
_SWEEP_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """What to run and how. ``selected`` are requirement ids; ``workers`` of 0 means: in this process."""

    target: Target
    command: str | None
    privileges: Privileges
    register: Register
    selected: frozenset[str]
    selection: tuple[str, ...]
    checks: tuple[Check, ...]
    folder: Path
    workers: int
    time_scale: float


def run(plan: RunPlan, announce: Callable[[CheckResult], None]) -> Report:
    """Execute the plan and write ``report.json`` and ``junit.xml`` into its folder, also when it is interrupted."""
    started, began = datetime.datetime.now(datetime.UTC), time.monotonic()
    history = _fresh_folder(plan.folder)
    chosen = [check for check in plan.checks if check.requirement in plan.selected]
    disabled = [_disabled(check, plan) for check in chosen if not _claimed(check, plan)]
    runnable = [check for check in chosen if _claimed(check, plan)]
    collector = Collector(runnable, announce)
    if runnable:
        _execute(plan, runnable, collector, history)
    report = Report(
        suite=proxyproof.__version__,
        started=started.isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - began, 3),
        interrupted=collector.interrupted,
        broken=tuple(collector.broken),
        time_scale=plan.time_scale,
        selection=plan.selection,
        target=_target_entry(plan),
        requirements=tuple(
            RequirementEntry(
                id=entry.id,
                level=entry.level,
                text=entry.text,
                feature=entry.feature,
                selected=entry.id in plan.selected,
            )
            for entry in plan.register
        ),
        checks=combined([*collector.results, *disabled]),
    )
    (plan.folder / "junit.xml").write_text(junit(report), encoding="utf-8")
    (plan.folder / "report.json").write_text(encode(report), encoding="utf-8")
    return report


def _claimed(check: Check, plan: RunPlan) -> bool:
    return plan.register[check.requirement].feature in plan.target.features


def _disabled(check: Check, plan: RunPlan) -> CheckResult:
    feature = plan.register[check.requirement].feature
    return CheckResult(
        requirement=check.requirement,
        name=check.name,
        verdict=Verdict.DISABLED,
        reason=f"the target does not claim {feature}",
    )


def _execute(plan: RunPlan, checks: Sequence[Check], collector: Collector, history: Path) -> None:
    # Everybody must be able to pass through this folder: agents run as other users.
    folder = Path(tempfile.mkdtemp(prefix="proxyproof-", dir=_passable_folder()))
    folder.chmod(0o755)
    settings = RunSettings(
        target=plan.target.name,
        command=plan.command,
        privileges=plan.privileges,
        time_scale=plan.time_scale,
        folder=str(folder),
        history=str(history),
    )
    parallel = ("-n", str(plan.workers), "--dist", "load", "--maxschedchunk", "1")
    arguments = [
        *("-c", str(_CONFIGURATION), "--rootdir", str(checks[0].path.parent), "--noconftest"),
        *("-p", "no:cacheprovider", "-p", "conformance.plugin.hooks", "-p", "xdist.plugin"),
        *(parallel if plan.workers else ()),
        *("--continue-on-collection-errors", f"{OPTION}={settings.encode()}"),
        *(check.node_id for check in checks),
    ]
    try:
        with _own_environment(), _termination_as_interrupt():
            pytest.main(arguments, plugins=[collector])
    except KeyboardInterrupt:
        collector.interrupted = True
    finally:
        _sweep(folder)


def _sweep(folder: Path) -> None:
    """End what a worker that died could not end itself."""
    deadline = time.monotonic() + _SWEEP_SECONDS
    while end_run(folder.name) and time.monotonic() < deadline:
        time.sleep(0.02)
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _own_environment() -> Iterator[None]:
    """Hide from pytest what its environment says: a run is the same wherever it is started."""
    before = dict(os.environ)
    for name in [name for name in before if name.startswith("PYTEST_")]:
        del os.environ[name]
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _termination_as_interrupt() -> Iterator[None]:
    """SIGTERM clears away as Ctrl-C does; while clearing away, neither is heard again."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _passable_folder() -> str:
    """The folder for temporary files, unless it is private: then the one that is nobody's own."""
    folder = Path(tempfile.gettempdir()).resolve()
    private = any(not parent.stat().st_mode & 0o001 for parent in (folder, *folder.parents))
    return "/tmp" if private else str(folder)  # noqa: S108 (mkdtemp makes the folder inside it safely)


def _fresh_folder(folder: Path) -> Path:
    """Make the report's folder and an empty one for histories; returns the latter."""
    history = folder / "history"
    shutil.rmtree(history, ignore_errors=True)
    history.mkdir(parents=True)
    for name in ("report.json", "junit.xml"):
        (folder / name).unlink(missing_ok=True)
    return history


def _target_entry(plan: RunPlan) -> TargetEntry:
    def way(access: Access | None, reason: str) -> str:
        return access.way if access else f"none: {reason}"

    return TargetEntry(
        name=plan.target.name,
        command=tuple(map(without_secrets, plan.target.command([]))),
        features=tuple(sorted(plan.target.features)),
        unprivileged=way(plan.privileges.unprivileged, plan.privileges.no_unprivileged),
        root=way(plan.privileges.root, plan.privileges.no_root),
    )
