"""Failures that are known of an implementation, each with the way it fails: a file in TOML per implementation.

.. code-block:: toml

    implementation = "Consul 1.4.3"

    [[expected]]
    requirement = "stopping/deregister/06"
    reason = "deregistering a service drops the checks of all others"
    pattern = "check .* is gone"
    link = "https://example.org/issues/1"
    expires = 2027-12-31

``pattern`` is a regular expression that the account of the failure must match; ``check`` names one of several checks
of the requirement; ``link`` and ``expires`` may be left out. An expectation is a claim about the implementation, and
is judged like one:

==========================================  ===============================
the check                                   comes to
==========================================  ===============================
fails, and the pattern matches              ``fail``, marked as expected: it does not count against the implementation
fails in another way                        ``fail``
passes                                      ``fail``: the entry has to go
fails as expected after ``expires``         ``fail``
is skipped, disabled, unknown or an error   the same
==========================================  ===============================
"""

from __future__ import annotations

import datetime
import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from conformance.report.model import CheckResult
from conformance.report.verdict import Verdict

_KEYS = frozenset({"requirement", "check", "reason", "pattern", "link", "expires"})


class ExpectationError(Exception):
    """The file cannot be used; the message names file, entry and remedy."""


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """One known failure. ``check`` is empty for every check of the requirement."""

    requirement: str
    reason: str
    pattern: re.Pattern[str]
    check: str = ""
    link: str = ""
    expires: datetime.date | None = None

    def covers(self, result: CheckResult) -> bool:
        """Whether this is about that check."""
        return result.requirement == self.requirement and self.check in ("", result.name)


def load(path: Path, *, known: Iterable[str]) -> tuple[Expectation, ...]:
    """The expectations of a file; ``known`` are the ids of the register. Raises :class:`ExpectationError`."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ExpectationError(f"{path} cannot be read: {error.strerror}; name a file that can") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ExpectationError(f"{path} is not valid TOML: {error}") from error
    foreign = document.keys() - {"implementation", "expected"}
    entries = document.get("expected", [])
    if foreign or not isinstance(entries, list):
        raise ExpectationError(f"{path} may hold implementation and [[expected]], not {sorted(foreign)}")
    ids = frozenset(known)
    expectations = tuple(_entry(path, number, entry, ids) for number, entry in enumerate(entries, 1))
    seen: set[tuple[str, str]] = set()
    for number, entry in enumerate(expectations, 1):
        key = (entry.requirement, entry.check)
        if key in seen:
            raise ExpectationError(f"{path}: entry {number} ({entry.requirement}) is there twice; remove one")
        seen.add(key)
    return expectations


def _entry(path: Path, number: int, entry: object, ids: frozenset[str]) -> Expectation:
    where = f"{path}: entry {number}"
    if not isinstance(entry, dict):
        raise ExpectationError(f"{where} is no table; write [[expected]]")
    if foreign := entry.keys() - _KEYS:
        raise ExpectationError(
            f"{where} has the unknown key {min(foreign)}; known are {', '.join(sorted(_KEYS))}"
        )
    expires = entry.get("expires")
    if expires is not None and type(expires) is not datetime.date:
        raise ExpectationError(f"{where}: expires is no date; write it as 2027-12-31")
    texts = {key: entry.get(key, "") for key in _KEYS - {"expires"}}
    for key, value in texts.items():
        needed = key in ("requirement", "reason", "pattern")
        if not isinstance(value, str) or (needed and not value.strip()):
            raise ExpectationError(f"{where}: {key} {'is missing or empty' if needed else 'is no text'}")
    if texts["requirement"] not in ids:
        raise ExpectationError(f"{where}: no requirement is called {texts['requirement']}; correct the id")
    try:
        pattern = re.compile(texts.pop("pattern"), re.DOTALL)
    except re.error as error:
        raise ExpectationError(f"{where}: pattern is no regular expression: {error}") from error
    return Expectation(pattern=pattern, expires=expires, **texts)


def apply(
    expectations: Sequence[Expectation], results: Iterable[CheckResult], *, today: datetime.date
) -> tuple[CheckResult, ...]:
    """The results as they count under these expectations, in the same order."""
    return tuple(_judged(expectations, result, today) for result in results)


def _judged(expectations: Sequence[Expectation], result: CheckResult, today: datetime.date) -> CheckResult:
    expectation = next((entry for entry in expectations if entry.covers(result)), None)
    if expectation is None:
        return result
    if result.verdict is Verdict.PASS:
        reason = f"passes, and is expected to fail ({expectation.reason}): remove the expectation"
        return replace(result, verdict=Verdict.FAIL, reason=reason)
    if result.verdict is not Verdict.FAIL:
        return result
    if not expectation.pattern.search(result.reason):
        reason = f"{result.reason}\nexpected to fail in another way: {expectation.pattern.pattern}"
        return replace(result, reason=reason)
    if expectation.expires is not None and today > expectation.expires:
        reason = f"{result.reason}\nexpected only until {expectation.expires}: {expectation.reason}"
        return replace(result, reason=reason)
    known = f"{expectation.reason} ({expectation.link})" if expectation.link else expectation.reason
    return replace(result, expected=known)
