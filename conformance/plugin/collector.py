"""The plugin of the process that writes the report: gathers results, however they come in."""

from __future__ import annotations

import signal
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePath

import pytest

from conformance import canary
from conformance.plugin.discovery import Check
from conformance.plugin.hooks import PROPERTY, VARIANT, repetition_of
from conformance.report.model import CheckResult, combined, decode_check, titled
from conformance.report.verdict import Verdict


class Listener(ABC):
    """Hears what becomes of checks, in this process and in others."""

    def __init__(self, checks: Iterable[Check]) -> None:
        self.checks = {(check.path.name, check.name): check for check in checks}
        self.interrupted = False
        self.broken: list[str] = []

    @abstractmethod
    def heard(self, result: CheckResult, *, variant: str, over: bool) -> None:
        """Take in a part of the result of a check that met ``variant``; ``over`` if it is the last part."""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        told = dict(report.user_properties)
        part = told.get(PROPERTY)
        if isinstance(part, Mapping):
            self.heard(decode_check(part), variant=str(told[VARIANT]), over=report.when == "teardown")
        else:  # the process that ran it died, and pytest-xdist speaks for it
            parameters = report.nodeid.partition("[")[2].removesuffix("]")
            self.heard(self._lost(self.check_of(report.nodeid), report), variant=parameters, over=True)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.broken.append(f"{report.nodeid or 'collection'}: {report.longreprtext}")

    def pytest_internalerror(self, excrepr: object) -> None:
        self.broken.append(str(excrepr))

    def pytest_keyboard_interrupt(self) -> None:
        self.interrupted = True
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # clearing away takes seconds, and is owed

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        config.pluginmanager.unregister(name="terminalreporter")

    def check_of(self, nodeid: str) -> Check:
        """The check that pytest calls so; it names no file that is outside of the folder of the checks."""
        path, _, name = nodeid.partition("[")[0].partition("::")
        known = [check for check in self.checks.values() if check.name == name]
        return self.checks.get((PurePath(path).name, name)) or known[0]

    def _lost(self, check: Check, report: pytest.TestReport) -> CheckResult:
        return CheckResult(
            requirement=check.requirement,
            name=check.name,
            repetition=repetition_of(report.nodeid),
            verdict=Verdict.ERROR,
            reason=report.longreprtext,
        )


class Collector(Listener):
    """Knows which checks were to run, and how often; whatever is not heard of stays unknown.

    ``begun`` is called with requirement and title of each check that begins, ``announce`` with its result when it is
    over.
    """

    def __init__(
        self,
        expected: Iterable[Check],
        *,
        begun: Callable[[str, str], None],
        announce: Callable[[CheckResult], None],
        repeat: int = 1,
    ) -> None:
        expected = tuple(expected)
        super().__init__((*expected, canary.CHECK))
        self._parts = [
            CheckResult(
                requirement=check.requirement, name=check.name, text=check.text, repetition=repetition
            )
            for check in expected
            for repetition in range(1, repeat + 1)
        ]
        self._begun = begun
        self._announce = announce
        self._canary: list[CheckResult] = []

    @property
    def results(self) -> tuple[CheckResult, ...]:
        """One result for each expected check."""
        return combined(self._parts)

    @property
    def canary(self) -> tuple[CheckResult, ...]:
        """What became of the check that must fail."""
        return combined(self._canary)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        check = self.check_of(nodeid)
        if check != canary.CHECK:
            self._begun(check.requirement, titled(check.name, repetition_of(nodeid)))

    def heard(self, result: CheckResult, *, variant: str, over: bool) -> None:
        if result.requirement == canary.CHECK.requirement:
            self._canary.append(result)
            return
        self._parts.append(result)
        if over:
            (whole,) = combined(part for part in self._parts if part.key == result.key)
            self._announce(whole)
