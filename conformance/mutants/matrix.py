"""The kill matrix as data: what each faulty agent came to at each requirement by which it was judged.

====================  =========================================================================================
``killed``            the fault breaks the requirement, and its checks failed: as it must be
``silent``            the fault breaks the requirement, and its checks passed: they prove nothing
``dead``              the faulty agent never came up, whatever was asked of it: its failures show nothing
``inconclusive``      the suite broke, or this machine could not show it
``spared``            the fault does not break the requirement, and its checks passed: as it must be
``extra``             the checks failed although the fault is not said to break the requirement
====================  =========================================================================================

What did not come out as it must is asked up to twice more, with little else going on. A survivor survives each time;
what came out well only later is *unsteady*, and named: the check sees the fault, but not each time.

:class:`Matrix` is what ``mutants.json`` holds. What follows from its cells is computed.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from functools import cached_property

from conformance.mutants.faults import Catalogue, Fault, judged_by
from conformance.report.model import CheckResult
from conformance.report.verdict import Verdict, merge
from conformance.requirements import Level, Requirement
from conformance.schemas import components

SCHEMA = "proxyproof/mutants/1"
#: How the reason begins when an agent ended instead of coming up: :class:`conformance.plugin.waits.StartFailed`.
_NOT_UP = "StartFailed: "


class Outcome(StrEnum):
    """What one fault came to at one requirement."""

    KILLED = "killed"
    SILENT = "silent"
    DEAD = "dead"
    INCONCLUSIVE = "inconclusive"
    SPARED = "spared"
    EXTRA = "extra"


#: As it must be.
GOOD = frozenset({Outcome.KILLED, Outcome.SPARED})


@dataclass(frozen=True, kw_only=True)
class Cell:
    """``reason`` is what the checks said, ``seconds`` how long they took.

    ``at_first`` is the outcome of the first time, when the last one was another.
    """

    requirement: str
    outcome: Outcome
    reason: str
    seconds: float
    at_first: Outcome | None = None


@dataclass(frozen=True, kw_only=True)
class Row:
    """One faulty agent, with a cell for each requirement by which it was judged."""

    fault: str
    lie: str
    equivalent: str
    cells: tuple[Cell, ...]

    @property
    def good(self) -> bool:
        """Whether it was caught as it must be."""
        return all(cell.outcome in GOOD for cell in self.cells)

    @property
    def dead(self) -> bool:
        """Whether it never came up."""
        return any(cell.outcome is Outcome.DEAD for cell in self.cells)

    @property
    def doubtful(self) -> tuple[str, ...]:
        """The requirements at which it was not."""
        return tuple(cell.requirement for cell in self.cells if cell.outcome not in GOOD)

    @property
    def unsteady(self) -> tuple[Cell, ...]:
        """What came out as it must, but not the first time."""
        return tuple(cell for cell in self.cells if cell.outcome in GOOD and cell.at_first)

    def asked_again(self, later: Row) -> Row:
        """This row, with what the fault came to at a later time in place of what it had come to before.

        A later time may ask for more. What comes up there was not dead before: it had not been asked enough.
        """
        before = {cell.requirement: cell for cell in self.cells}
        if any(cell.requirement not in before for cell in later.cells) and not later.dead:
            before = {name: cell for name, cell in before.items() if cell.outcome is not Outcome.DEAD}
        now = {cell.requirement: _later(before.get(cell.requirement, cell), cell) for cell in later.cells}
        return replace(self, cells=tuple(cell for _, cell in sorted((before | now).items())))


def _later(before: Cell, now: Cell) -> Cell:
    first = before.at_first or before.outcome
    return replace(now, at_first=None if first is now.outcome else first)


@dataclass(frozen=True, kw_only=True)
class Obligation:
    """A MUST that has a check, with the faulty agents that it was seen to catch.

    ``exempt`` is the reason why there is none.
    """

    requirement: str
    text: str
    broken_by: tuple[str, ...]
    exempt: str

    @property
    def good(self) -> bool:
        """Whether its checks can fail, or nobody can expect that."""
        return bool(self.broken_by or self.exempt)


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """One run. ``seconds`` is its time by the clock."""

    suite: str
    started: str
    seconds: float
    interrupted: bool
    broken: tuple[str, ...]
    rows: tuple[Row, ...]
    obligations: tuple[Obligation, ...]

    @cached_property
    def counts(self) -> Mapping[Outcome, int]:
        """How many cells came to each outcome."""
        found = Counter(cell.outcome for row in self.rows for cell in row.cells)
        return {outcome: found[outcome] for outcome in Outcome}

    @property
    def unsteady(self) -> int:
        """How many cells came out as they must, but not the first time."""
        return sum(len(row.unsteady) for row in self.rows)

    @property
    def unbroken(self) -> tuple[Obligation, ...]:
        """Every MUST that no faulty agent breaks, for no reason."""
        return tuple(entry for entry in self.obligations if not entry.good)

    @property
    def exit_code(self) -> int:
        """0 the suite catches every lie, 1 it does not, 3 it broke, 130 the run was interrupted."""
        if self.interrupted:
            return 130
        if self.broken:
            return 3
        return 0 if all(row.good for row in self.rows) and not self.unbroken else 1


def row(name: str, catalogue: Catalogue, results: Sequence[CheckResult]) -> Row:
    """What a faulty agent came to, from the results of the checks that it met."""
    fault = next(fault for fault in catalogue.faults if fault.name == name)
    dead = _never_up(results)
    # A sample that this machine or target cannot show is no sample.
    shown = [
        result
        for result in results
        if result.requirement in fault.breaks or result.verdict is not Verdict.SKIP
    ]
    return Row(
        fault=fault.name,
        lie=fault.lie,
        equivalent=fault.equivalent,
        cells=tuple(
            _cell(
                entry,
                [result for result in shown if result.requirement == entry],
                broken=entry in fault.breaks,
                dead=dead,
            )
            for entry in sorted({result.requirement for result in shown})
        ),
    )


def asked_next(row: Row, fault: Fault, checked: Iterable[str]) -> tuple[str, ...]:
    """The requirements by which the faulty agent is judged once more: nothing, when it was caught as it must be.

    One that is dead is asked for something else as well, at which it may come up.
    """
    more = judged_by(fault, checked, near=0, far=1) if row.dead else ()
    return tuple(sorted({*row.doubtful, *more}))


def _never_up(results: Sequence[CheckResult]) -> bool:
    """Whether no agent was ever ready: one that only ends is not caught when it should not start."""
    failed = [result for result in results if result.verdict is Verdict.FAIL]
    return (
        bool(failed)
        and all(_NOT_UP in result.reason for result in failed)
        and not any(result.version for result in results)
    )


def _cell(requirement: str, results: Sequence[CheckResult], *, broken: bool, dead: bool) -> Cell:
    verdict = merge(result.verdict for result in results)
    return Cell(
        requirement=requirement,
        outcome=_outcome(verdict, broken=broken, dead=dead),
        reason=max((result.reason for result in results if result.verdict is verdict), default=""),
        seconds=round(sum(result.seconds for result in results), 3),
    )


def _outcome(verdict: Verdict, *, broken: bool, dead: bool) -> Outcome:
    if verdict is Verdict.FAIL:
        if dead:
            return Outcome.DEAD
        return Outcome.KILLED if broken else Outcome.EXTRA
    if verdict is Verdict.PASS:
        return Outcome.SILENT if broken else Outcome.SPARED
    return Outcome.INCONCLUSIVE


def obligations(
    catalogue: Catalogue, checked: Iterable[Requirement], rows: Sequence[Row]
) -> tuple[Obligation, ...]:
    """Every MUST that has a check, and what was seen to break it.

    Where some faulty agents were left out, only what the others are said to break.
    """
    seen = {
        (row.fault, cell.requirement) for row in rows for cell in row.cells if cell.outcome is Outcome.KILLED
    }
    run = {row.fault for row in rows}
    claimed = {entry for fault in catalogue.faults if fault.name in run for entry in fault.breaks}
    whole = len(rows) == len(catalogue.faults)
    return tuple(
        Obligation(
            requirement=entry.id,
            text=entry.text,
            broken_by=tuple(sorted(fault for fault, broken in seen if broken == entry.id)),
            exempt=catalogue.exempt.get(entry.id, ""),
        )
        for entry in checked
        if entry.level is Level.MUST and (whole or entry.id in claimed)
    )


def encode(matrix: Matrix) -> str:
    """The text of ``mutants.json``. Its last key, ``complete``, is what a truncated file lacks."""
    summary = {
        "exit_code": matrix.exit_code,
        "cells": dict(matrix.counts),
        "unsteady": matrix.unsteady,
        "unbroken": [entry.requirement for entry in matrix.unbroken],
    }
    document = {"schema": SCHEMA, "summary": summary, **asdict(matrix), "complete": True}
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def schema() -> str:
    """The JSON Schema of ``mutants.json``, drawn from the types of this module."""
    (reference,), definitions = components([Matrix])
    for definition in definitions.values():
        if "properties" in definition:
            definition["required"] = list(definition["properties"])
    summary = {
        "exit_code": {"enum": [0, 1, 3, 130]},
        "cells": {"type": "object", "additionalProperties": {"type": "integer"}},
        "unsteady": {"type": "integer"},
        "unbroken": {"type": "array", "items": {"type": "string"}},
    }
    matrix = definitions["Matrix"]
    matrix["properties"] = {
        "schema": {"const": SCHEMA},
        "summary": {"type": "object", "properties": summary, "required": list(summary)},
        **matrix["properties"],
        "complete": {"const": True},
    }
    matrix["required"] = list(matrix["properties"])
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"{SCHEMA}: mutants.json",
        **reference,
        "$defs": definitions,
    }
    return json.dumps(document, indent=1) + "\n"
