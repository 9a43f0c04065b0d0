"""What the pages say of a report, worked out once for all of them: rows, counts and words, without any markup."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from conformance.report.model import CheckResult, Report, RequirementEntry, TimedWait
from conformance.report.verdict import PROFILES, ProfileResult, Verdict, judge

#: How many events of a failure's history a page quotes; the file beside it has all.
_QUOTED_EVENTS = 200
#: How many of the slowest checks are named.
_SLOWEST = 10
#: Outcomes of things that were watched for the whole of a budget, and so say nothing of speed.
_WATCHED = frozenset({"held", "broken"})
#: Worst first, as readers look for them.
WORST_FIRST: Sequence[Verdict] = tuple(reversed(Verdict))


@dataclass(frozen=True, kw_only=True)
class Tally:
    """One line of a summary: ``counts`` has a number of checks for each verdict, worst first.

    ``expected`` is how many of the failures are known ones.
    """

    name: str
    result: str
    counts: tuple[int, ...]
    expected: int

    @property
    def total(self) -> int:
        """All checks of the line."""
        return sum(self.counts)

    @property
    def passed(self) -> int:
        """Those that pass."""
        return self.counts[WORST_FIRST.index(Verdict.PASS)]


@dataclass(frozen=True, kw_only=True)
class Spent:
    """Where the time of some checks went: their seconds added up, of which they waited, and of processors."""

    name: str
    checks: int
    seconds: float
    waited: float
    cpu: float


@dataclass(frozen=True, kw_only=True)
class Row:
    """One requirement with its checks. ``verdict`` is what it comes to, ``expected`` whether that is known."""

    entry: RequirementEntry
    verdict: Verdict
    checks: tuple[CheckResult, ...]

    @property
    def expected(self) -> bool:
        """Whether every failure of it is a known one."""
        failures = [check for check in self.checks if check.verdict >= Verdict.FAIL]
        return bool(failures) and all(check.expected for check in failures)

    @property
    def seconds(self) -> float:
        """The time that its checks took together."""
        return sum(check.seconds for check in self.checks)

    @property
    def tightest(self) -> TimedWait | None:
        """What came closest to its budget of all that was awaited; None where nothing was."""
        awaited = (wait for check in self.checks for wait in check.waits if wait.outcome not in _WATCHED)
        return max(awaited, key=lambda wait: wait.share, default=None)

    @property
    def state(self) -> str:
        """The word that its line begins with."""
        return self.verdict.word if self.checks else "untested"

    @property
    def group(self) -> str:
        """What readers look for: ``failed``, ``known``, ``passed`` or ``open``, which is neither."""
        if self.verdict >= Verdict.FAIL:
            return "known" if self.expected else "failed"
        return "passed" if self.verdict is Verdict.PASS else "open"


def conclusion(report: Report) -> str:
    """The outcome in a few words, for titles and badges."""
    if report.interrupted:
        return "interrupted"
    known = report.expected_failures
    if report.exit_code == 0 and known:
        return f"conforms but for {known} known failure{'s' if known > 1 else ''}"
    return {0: "conforms", 1: "does not conform", 3: "the suite broke"}[report.exit_code]


def profiles(report: Report) -> tuple[Tally, ...]:
    """A line for each profile of which a check was selected."""
    features = {entry.id: entry.feature for entry in report.requirements}
    return tuple(
        _tally(
            name, result, [check for check in report.checks if features[check.requirement] in PROFILES[name]]
        )
        for name, result in report.profiles.items()
        if result is not ProfileResult.UNTESTED
    )


def areas(report: Report) -> Mapping[str, tuple[Row, ...]]:
    """The selected requirements by area, in the order of the register."""
    found: dict[str, tuple[Row, ...]] = {}
    for entry in report.requirements:
        if entry.selected:
            row = Row(
                entry=entry,
                verdict=report.verdicts[entry.id],
                checks=tuple(check for check in report.checks if check.requirement == entry.id),
            )
            found[entry.area] = (*found.get(entry.area, ()), row)
    return found


def tally_of(name: str, rows: Sequence[Row]) -> Tally:
    """The line of one area."""
    checks = [check for row in rows for check in row.checks]
    return _tally(name, judge(check.counted for check in checks), checks)


def spent(report: Report) -> tuple[Spent, ...]:
    """Where the time went: a line for each area, the longest first, and one for all of them."""
    by_area: dict[str, list[CheckResult]] = {}
    for check in report.checks:
        by_area.setdefault(check.requirement.partition("/")[0], []).append(check)
    lines = sorted((_spent(area, checks) for area, checks in by_area.items()), key=lambda line: -line.seconds)
    return (*lines, _spent("all", report.checks))


def slowest(report: Report) -> tuple[CheckResult, ...]:
    """The checks that took longest, longest first."""
    return tuple(sorted(report.checks, key=lambda check: -check.seconds)[:_SLOWEST])


def total(report: Report) -> Tally:
    """One line for all checks."""
    return _tally("all checks", conclusion(report), report.checks)


def seen(lines: Iterable[Tally]) -> tuple[Verdict, ...]:
    """The verdicts that occur at all, worst first: others need no column."""
    numbers = [line.counts for line in lines]
    return tuple(
        verdict for place, verdict in enumerate(WORST_FIRST) if any(counts[place] for counts in numbers)
    )


def groups(rows: Iterable[Row]) -> Mapping[str, int]:
    """How many requirements each group of :attr:`Row.group` has, in the order in which readers care."""
    numbers = Counter(row.group for row in rows)
    return {name: numbers[name] for name in ("failed", "known", "open", "passed") if numbers[name]}


def segments(line: Tally) -> tuple[tuple[str, str, int], ...]:
    """The parts of a bar: colour, name and number; known failures are a part of their own."""
    parts = []
    for verdict, count in zip(WORST_FIRST, line.counts, strict=True):
        known = line.expected if verdict is Verdict.FAIL else 0
        parts += [(verdict.word, verdict.word, count - known), ("skip", "known to fail", known)]
    return tuple(parts)


def history(folder: Path, check: CheckResult) -> tuple[str, ...]:
    """The end of what a check recorded, one readable line for each event; empty when there is none to read."""
    lines = recorded(folder, check)
    quoted = lines[-_QUOTED_EVENTS:]
    omitted = len(lines) - len(quoted)
    shown = (f"… {omitted} earlier events are in {check.history}",) if omitted else ()
    return (*shown, *map(readable, quoted))


def recorded(folder: Path, check: CheckResult) -> list[str]:
    """The lines of a check's history; none when there is none to read."""
    if not check.history:
        return []
    try:
        return (folder / check.history).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def readable(line: str) -> str:
    """One event of a history, as people read it."""
    event = json.loads(line)
    at, kind = event.pop("at"), event.pop("kind")
    told = " ".join(f"{key}={value}" for key, value in event.items() if value not in (None, {}, ""))
    return f"{at:8.3f} {kind}: {told}"


def _spent(name: str, checks: Sequence[CheckResult]) -> Spent:
    return Spent(
        name=name,
        checks=len(checks),
        seconds=sum(check.seconds for check in checks),
        waited=sum(check.waited for check in checks),
        cpu=sum(check.cpu for check in checks),
    )


def _tally(name: str, result: str, checks: Sequence[CheckResult]) -> Tally:
    counts = Counter(check.verdict for check in checks)
    return Tally(
        name=name,
        result=str(result),
        counts=tuple(counts[verdict] for verdict in WORST_FIRST),
        expected=sum(bool(check.expected) for check in checks),
    )
