"""The pytest plugin: gives each check its ``lab``, and turns what pytest saw into verdicts.

It runs in every process that executes checks. A result leaves that process as a property of pytest's own report
(:data:`PROPERTY`), which pytest-xdist carries to the process that writes the report.
"""

from __future__ import annotations

import signal
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from conformance import budgets
from conformance.instruments.api import Unreachable
from conformance.instruments.history import History
from conformance.instruments.processes import adopt_orphans
from conformance.plugin.lab import Lab
from conformance.plugin.settings import RunSettings
from conformance.report.verdict import Verdict
from conformance.targets import resolve

OPTION = "--proxyproof"
PROPERTY = "proxyproof"

#: What a check raises when the implementation did wrong. Anything else means that the suite did.
_FAILURES = (AssertionError, pytest.fail.Exception, Unreachable, ProcessLookupError, ConnectionError)

_settings = pytest.StashKey[RunSettings]()
_lab = pytest.StashKey[Lab]()
_phases = pytest.StashKey[tuple[float, ...]]()


class CheckHung(Exception):
    """A check did not end within the budget ``check``."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        OPTION, type=RunSettings.decode, required=True, help="what the suite hands to its workers"
    )


def pytest_configure(config: pytest.Config) -> None:
    # Here and not at import: the suite's own tests import the checks, and this module after them.
    pytest.register_assert_rewrite("conformance.checks")
    config.addinivalue_line("markers", "requirement(id): the requirement that this check proves")
    config.stash[_settings] = config.getoption(OPTION)
    adopt_orphans()


@pytest.fixture
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """The check's own corner of the machine; see :class:`conformance.plugin.lab.Lab`."""
    settings = request.config.stash[_settings]
    requirement, name = _names(request.node)
    made = Lab(
        run=Path(settings.folder),
        target=resolve(settings.target, settings.command),
        privileges=settings.privileges,
        budgets=budgets.load(settings.time_scale),
        history=History(settings.history_file(requirement, name)),
    )
    request.node.stash[_lab] = made
    try:
        yield made
    finally:
        made.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    seconds = budgets.load(item.config.stash[_settings].time_scale)["check"]
    with _alarm(seconds):
        return (yield)


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Raise :class:`CheckHung` in the main thread after ``seconds``: no check may hold up a run for ever."""

    def ring(number: int, frame: object) -> None:
        raise CheckHung(f"the check did not end within {seconds:g} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    item.stash[_phases] = (*item.stash.get(_phases, ()), call.duration)
    report.user_properties.append((PROPERTY, _result(item, call, report)))
    return report


def _result(item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport) -> Mapping[str, Any]:
    """The fields of a :class:`~conformance.report.model.CheckResult` after one phase, as JSON has them."""
    requirement, name = _names(item)
    lab = item.stash.get(_lab, None)
    verdict, reason = _verdict(call, report)
    phases = item.stash[_phases]
    return {
        "requirement": requirement,
        "name": name,
        "verdict": verdict.word,
        "reason": lab.history.redact_text(reason) if lab else reason,
        "seconds": round(sum(phases), 3),
        "history": f"history/{lab.history.path.name}" if lab and lab.history.path else "",
        "version": next((agent.version for agent in lab.agents if agent.version), "") if lab else "",
        "waits": [asdict(timing) for timing in lab.waits.timings] if lab else [],
    }


def _verdict(call: pytest.CallInfo[None], report: pytest.TestReport) -> tuple[Verdict, str]:
    """The verdict of one phase. Preparing and clearing away prove nothing, and break the suite when they fail."""
    if call.excinfo is None:
        return (Verdict.PASS if call.when == "call" else Verdict.UNKNOWN), ""
    error = call.excinfo.value
    if isinstance(error, pytest.skip.Exception):
        return Verdict.SKIP, str(error.msg)
    if call.when == "call" and _is_failure(error):
        crash = getattr(report.longrepr, "reprcrash", None)
        where = f" [{crash.path.rpartition('/')[2]}:{crash.lineno}]" if crash else ""
        return Verdict.FAIL, (crash.message if crash else str(error)) + where
    return Verdict.ERROR, report.longreprtext


def _is_failure(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(map(_is_failure, error.exceptions))
    return isinstance(error, _FAILURES)


def _names(item: pytest.Item) -> tuple[str, str]:
    """Requirement and name of a check; its parameters, if any, are one check."""
    mark = item.get_closest_marker("requirement")
    assert mark is not None, f"{item.nodeid} has no requirement"  # the command line saw to it
    return mark.args[0], getattr(item, "originalname", item.name)
