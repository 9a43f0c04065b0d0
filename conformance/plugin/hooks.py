"""The pytest plugin: gives each check its ``lab``, and turns what pytest saw into verdicts.

It runs in every process that executes checks. A result leaves that process as a property of pytest's own report
(:data:`PROPERTY`), which pytest-xdist carries to the process that writes the report.
"""

from __future__ import annotations

import errno
import re
import resource
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
from conformance.plugin.settings import RunSettings, Variant
from conformance.report.verdict import Verdict
from conformance.targets import resolve
from proxyproof.start import importing

OPTION = "--proxyproof"
PROPERTY = "proxyproof"
#: The property that names the variant which a check met.
VARIANT = "proxyproof variant"
#: What a repetition is called in pytest's own names.
_REPETITION = re.compile(r"repetition(\d+)")

#: What a check raises when the implementation did wrong, or was silent. Anything else means that the suite did.
_FAILURES = (
    AssertionError,
    pytest.fail.Exception,
    Unreachable,
    ProcessLookupError,
    ConnectionError,
    TimeoutError,
)

_settings = pytest.StashKey[RunSettings]()
_lab = pytest.StashKey[Lab]()
_variant = pytest.StashKey[str]()
_phases = pytest.StashKey[tuple[float, ...]]()
_cpu = pytest.StashKey[float]()


class CheckHung(BaseException):
    """A check did not end within the budget ``check``. No check may take that for what it looks for."""


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


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    repeat = metafunc.config.stash[_settings].repeat
    if repeat > 1 and "repetition" in metafunc.fixturenames:
        numbers = range(1, repeat + 1)
        metafunc.parametrize("repetition", numbers, indirect=True, ids=map(repetition_id, numbers))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(
        key=_repetition
    )  # round by round: what breaks one check for a while need not break it each time


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """This is when the checks are imported."""
    with importing():
        return (yield)


def repetition_id(number: int) -> str:
    """How a repetition is called in pytest's own names."""
    return f"repetition{number}"


def repetition_of(node_id: str) -> int:
    """The number of a repetition, from pytest's name of it."""
    found = _REPETITION.search(node_id)
    return int(found[1]) if found else 1


@pytest.fixture
def repetition(request: pytest.FixtureRequest) -> int:
    """Which time the check is run, from 1."""
    return int(getattr(request, "param", 1))


@pytest.fixture
def variant(request: pytest.FixtureRequest) -> Variant:
    """What the check meets: the implementation that the run is about, unless it is parametrized with others."""
    given = getattr(request, "param", None)
    return given if isinstance(given, Variant) else Variant(target=request.config.stash[_settings].target)


@pytest.fixture
def lab(request: pytest.FixtureRequest, repetition: int, variant: Variant) -> Iterator[Lab]:
    """The check's own corner of the machine; see :class:`conformance.plugin.lab.Lab`."""
    settings = request.config.stash[_settings]
    requirement, name = _names(request.node)
    made = Lab(
        run=Path(settings.folder),
        target=resolve(variant.target),
        privileges=settings.privileges,
        budgets=budgets.load(settings.time_scale, settings.patience),
        history=History(settings.history_file(requirement, name, repetition, variant.name)),
        tuning=settings.tuning,
    )
    request.node.stash[_lab] = made
    request.node.stash[_variant] = variant.name
    try:
        yield made
    finally:
        made.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, bool, bool]:
    item.stash[_cpu] = _spent()
    return (yield)


def _spent() -> float:
    """The processor time (s) of this process and of all that it has reaped: the tear-down reaps what a check began."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    settings = item.config.stash[_settings]
    # Whoever wants to see more examples has the time for it.
    seconds = budgets.load(settings.time_scale)["check"] * max(1, settings.tuning.examples or 1)
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
    report.user_properties.append((VARIANT, item.stash.get(_variant, _given_variant(item))))
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
        "repetition": _repetition(item),
        "verdict": verdict.word,
        "reason": lab.history.redact_text(reason) if lab else reason,
        "seconds": round(sum(phases), 3),
        "cpu": round(_spent() - item.stash[_cpu], 3),
        "history": f"history/{lab.history.path.name}" if lab and lab.history.path else "",
        "version": lab.version if lab else "",
        "waits": [asdict(timing) for timing in lab.waits.timings] if lab else [],
        "measurements": [asdict(measurement) for measurement in lab.measurements] if lab else [],
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
    if isinstance(error, OSError) and error.errno == errno.ENOTCONN:
        return True  # a connection of which nothing is left: the one such error that is no ConnectionError
    return isinstance(error, _FAILURES)


def _names(item: pytest.Item) -> tuple[str, str]:
    """Requirement and name of a check; its parameters, if any, are one check."""
    mark = item.get_closest_marker("requirement")
    assert mark is not None, f"{item.nodeid} has no requirement"  # the command line saw to it
    return mark.args[0], getattr(item, "originalname", item.name)


def _repetition(item: pytest.Item) -> int:
    return int(_parameters(item).get("repetition", 1))


def _given_variant(item: pytest.Item) -> str:
    variant = _parameters(item).get("variant")
    return variant.name if isinstance(variant, Variant) else ""


def _parameters(item: pytest.Item) -> Mapping[str, Any]:
    callspec = getattr(item, "callspec", None)
    return callspec.params if callspec else {}
