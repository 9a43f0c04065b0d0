"""The results in the terminal."""

from __future__ import annotations

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from conformance.bench.result import Results


def show(console: Console, results: Results, *, ours: str) -> None:
    """Medians of all peers; then, where ours was measured, its ratios to them, beside the goals."""
    peers = results.peers
    medians = Table("median", "", *(escape(peer) for peer in peers), box=SIMPLE)
    for column in medians.columns[2:]:
        column.justify = "right"
    for figure in results.figures:
        cells = (results.median(figure, peer) for peer in peers)
        medians.add_row(figure.name, figure.unit, *("" if cell is None else number(cell) for cell in cells))
    console.print(medians)
    others = [peer for peer in peers if peer != ours]
    if ours not in peers or not others:
        return
    ratios = Table(f"{ours} to", *(escape(peer) for peer in others), "better", box=SIMPLE)
    for column in ratios.columns[1:]:
        column.justify = "right"
    for figure in results.figures:
        found = (results.ratio(figure, ours, peer) for peer in others)
        told = ("" if ratio is None else f"{ratio.median:.2f}" for ratio in found)
        ratios.add_row(figure.name, *told, "more" if figure.more_is_better else "less")
    console.print(ratios)
    _goals(console, results, ours)


def _goals(console: Console, results: Results, ours: str) -> None:
    """Each goal that was measured: the least, the median and the most of the rounds' ratios, and whether it is met."""
    table = Table("goal", "", "asked", "least", "median", "most", "", box=SIMPLE)
    for figure in results.figures:
        for peer, goal in figure.goals.items():
            ratio = results.ratio(figure, ours, peer)
            if ratio is None:
                continue
            verdict = "[green]met[/]" if ratio.meets(figure, goal) else "[bold red]missed[/]"
            sign = "≥" if figure.more_is_better else "≤"
            rounds = (f"{value:.2f}" for value in (ratio.least, ratio.median, ratio.most))
            table.add_row(figure.name, f"to {peer}", f"{sign} {goal:g}", *rounds, verdict)
    if table.row_count:
        console.print(table)


def number(value: float) -> str:
    """Three digits that matter, more before the point."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
