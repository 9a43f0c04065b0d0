"""The plugin of the process that writes the report: gathers results, however they come in."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePath

import pytest

from conformance.plugin.discovery import Check
from conformance.plugin.hooks import PROPERTY
from conformance.report.model import CheckResult, combined, decode_check
from conformance.report.verdict import Verdict


class Collector:
    """Knows which checks were to run; whatever is not heard of stays unknown.

    ``announce`` is called with the result of each check when it is over.
    """

    def __init__(self, expected: Iterable[Check], announce: Callable[[CheckResult], None]) -> None:
        self._checks = {(check.path.name, check.name): check for check in expected}
        self._parts = [
            CheckResult(requirement=check.requirement, name=check.name) for check in self._checks.values()
        ]
        self._announce = announce
        self.interrupted = False
        self.broken: list[str] = []

    @property
    def results(self) -> tuple[CheckResult, ...]:
        """One result for each expected check."""
        return combined(self._parts)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        told = next((value for name, value in report.user_properties if name == PROPERTY), None)
        if isinstance(told, Mapping):
            part, over = decode_check(told), report.when == "teardown"
        else:  # the process that ran it died, and pytest-xdist speaks for it
            part, over = self._lost(report), True
        self._parts.append(part)
        if over:
            self._announce(next(result for result in self.results if result.key == part.key))

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

    def _lost(self, report: pytest.TestReport) -> CheckResult:
        path, _, name = report.nodeid.partition("::")
        check = self._checks[PurePath(path).name, name.partition("[")[0]]
        return CheckResult(
            requirement=check.requirement, name=check.name, verdict=Verdict.ERROR, reason=report.longreprtext
        )
