"""Reports side by side: what changed between two, and several implementations requirement by requirement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from conformance.report.facts import Row, areas
from conformance.report.model import Report, RequirementEntry
from conformance.report.verdict import Verdict


class Change(StrEnum):
    """How a requirement fares in the second report; the order is that of a reader's interest."""

    BROKEN = "broken"
    MENDED = "mended"
    CHANGED = "changed"
    APPEARED = "appeared"
    GONE = "gone"


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One requirement whose verdict is not the same in both reports; ``None`` where a report has no check of it."""

    requirement: str
    change: Change
    before: Verdict | None
    after: Verdict | None
    text: str
    reason: str


def diff(before: Report, after: Report) -> tuple[Difference, ...]:
    """What differs, by change and then by id. Equal verdicts with other reasons are no difference."""
    rows = [
        {row.entry.id: row for group in areas(report).values() for row in group} for report in (before, after)
    ]
    found = []
    for identifier in sorted({*rows[0], *rows[1]}):
        old, new = (side.get(identifier) for side in rows)
        verdicts = [row.verdict if row is not None and row.checks else None for row in (old, new)]
        if verdicts[0] == verdicts[1]:
            continue
        entry = _entry(old, new)
        found.append(
            Difference(
                requirement=identifier,
                change=_change(*verdicts),
                before=verdicts[0],
                after=verdicts[1],
                text=entry.text,
                reason=""
                if new is None
                else next((c.reason for c in new.checks if c.verdict is new.verdict), ""),
            )
        )
    order = list(Change)
    return tuple(sorted(found, key=lambda each: order.index(each.change)))


def _entry(old: Row | None, new: Row | None) -> RequirementEntry:
    row = new or old
    assert row is not None, "the id comes from one of them"
    return row.entry


def _change(before: Verdict | None, after: Verdict | None) -> Change:
    if before is None:
        return Change.APPEARED
    if after is None:
        return Change.GONE
    if after >= Verdict.FAIL > before:
        return Change.BROKEN
    if before >= Verdict.FAIL and after is Verdict.PASS:
        return Change.MENDED
    return Change.CHANGED


@dataclass(frozen=True, kw_only=True)
class Line:
    """A requirement and what each report says of it; ``None`` where a report has no check of it."""

    entry: RequirementEntry
    cells: tuple[Row | None, ...]

    @property
    def differs(self) -> bool:
        """Whether the reports that have a check of it disagree."""
        return len({row.verdict for row in self.cells if row is not None}) > 1


def matrix(reports: Sequence[Report]) -> dict[str, tuple[Line, ...]]:
    """All requirements that any of the reports selected, by area, with a cell for each report."""
    sides = [{row.entry.id: row for group in areas(report).values() for row in group} for report in reports]
    entries = {identifier: row.entry for side in sides for identifier, row in side.items()}
    found: dict[str, tuple[Line, ...]] = {}
    for identifier in sorted(entries):
        cells = [side.get(identifier) for side in sides]
        line = Line(
            entry=entries[identifier],
            cells=tuple(row if row is not None and row.checks else None for row in cells),
        )
        found[line.entry.area] = (*found.get(line.entry.area, ()), line)
    return found


def titles(reports: Sequence[Report]) -> tuple[str, ...]:
    """A short name for each report, numbered where two would be the same."""
    plain = [" ".join([report.target.name, *report.versions]) for report in reports]
    return tuple(
        name if plain.count(name) == 1 else f"{name} ({plain[: place + 1].count(name)})"
        for place, name in enumerate(plain)
    )
