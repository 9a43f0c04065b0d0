"""The kill matrix for people: in the terminal, and as a page of the same look as a report's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from conformance.mutants.matrix import GOOD, Cell, Matrix, Outcome, Row, encode
from conformance.report.pages import render

STYLES = {
    Outcome.KILLED: "green",
    Outcome.SPARED: "green",
    Outcome.SILENT: "bold red",
    Outcome.EXTRA: "bold red",
    Outcome.DEAD: "bold magenta",
    Outcome.INCONCLUSIVE: "yellow",
}


def announce(console: Console, row: Row) -> None:
    """One line for a fault that was caught; more for one that was not."""
    counts = tally(row.cells)
    told = ", ".join(f"{number} {outcome}" for outcome, number in counts.items())
    mark = "[green]caught[/]" if row.good else "[bold red]NOT SO[/]"
    console.print(f"{mark} {row.fault:<52} [dim]{told}[/]", soft_wrap=True)
    for cell in row.cells:
        if cell.outcome not in GOOD:
            console.print(
                f"       [{STYLES[cell.outcome]}]{cell.outcome}[/] {cell.requirement} [dim]{escape(cell.reason)}[/]",
                soft_wrap=True,
            )


def summarize(console: Console, matrix: Matrix, folder: Path) -> None:
    """The faults that were not caught, the requirements that nobody breaks, and the figures."""
    for row in matrix.rows:
        if not row.good:
            console.print(f"\n[bold red]{row.fault}[/] {escape(row.lie)}", soft_wrap=True)
            for outcome in Outcome:
                named = [cell.requirement for cell in row.cells if cell.outcome is outcome]
                if named and outcome not in GOOD:
                    console.print(f"  {outcome}: {', '.join(named)}", soft_wrap=True)
    for row in matrix.rows:
        for cell in row.unsteady:
            console.print(
                f"[yellow]unsteady[/] {row.fault} {cell.requirement}: {cell.at_first} at first, then {cell.outcome}",
                soft_wrap=True,
            )
    for trouble in matrix.broken:
        console.print(f"\n[bold magenta]the suite broke[/] {escape(trouble)}", soft_wrap=True)
    for entry in matrix.unbroken:
        console.print(
            f"[bold red]no fault breaks[/] {entry.requirement} {escape(entry.text)}", soft_wrap=True
        )
    for entry in matrix.obligations:
        if entry.exempt:
            console.print(f"exempt: {entry.requirement} {escape(entry.exempt)}", soft_wrap=True)
    counts = ", ".join(f"{number} {outcome}" for outcome, number in matrix.counts.items() if number)
    unsteady = f", {matrix.unsteady} of them unsteady" if matrix.unsteady else ""
    state = "[bold red]interrupted[/] after" if matrix.interrupted else "in"
    console.print(
        f"\n{conclusion(matrix)}: {len(matrix.rows)} faulty agents, {counts or 'nothing judged'}{unsteady}; "
        f"{sum(entry.good for entry in matrix.obligations)} of {len(matrix.obligations)} MUSTs can be seen to fail; "
        f"{state} {matrix.seconds:.1f} s; report in {folder}",
        soft_wrap=True,
    )


def conclusion(matrix: Matrix) -> str:
    """The outcome in a few words."""
    return {
        0: "every lie is caught",
        1: "not every lie is caught",
        3: "the suite broke",
        130: "interrupted",
    }[matrix.exit_code]


def tally(cells: Sequence[Cell]) -> Mapping[Outcome, int]:
    """How many cells came to each outcome, without those of which there are none."""
    counts = {outcome: sum(cell.outcome is outcome for cell in cells) for outcome in Outcome}
    return {outcome: number for outcome, number in counts.items() if number}


def areas(matrix: Matrix) -> tuple[str, ...]:
    """The areas of the requirements by which faulty agents were judged: the columns of the overview."""
    return tuple(sorted({cell.requirement.partition("/")[0] for row in matrix.rows for cell in row.cells}))


def in_area(row: Row, area: str) -> tuple[Cell, ...]:
    """The cells of one column, worst first."""
    found = [cell for cell in row.cells if cell.requirement.partition("/")[0] == area]
    return tuple(sorted(found, key=lambda cell: (cell.outcome in GOOD, cell.outcome is Outcome.SPARED)))


def html(matrix: Matrix) -> str:
    """The page: one file, no script, nothing fetched."""
    return render(
        "mutants.html.j2",
        matrix=matrix,
        Outcome=Outcome,
        conclusion=conclusion(matrix),
        areas=areas(matrix),
        in_area=in_area,
        tally=tally,
    )


def write(matrix: Matrix, folder: Path) -> None:
    """Both files; ``mutants.json`` last: where it is, the other is complete."""
    (folder / "mutants.html").write_text(html(matrix), encoding="utf-8")
    (folder / "mutants.json").write_text(encode(matrix), encoding="utf-8")
