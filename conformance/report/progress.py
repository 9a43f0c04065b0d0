"""How a run goes on, while it does: a live view for whoever watches a terminal, and a line for each check elsewhere.

The view is drawn over and over in place and is gone at the end; what fails is printed above it, and stays.
Where nobody watches (no terminal, a dumb one, a build server), each check is a line when it is over.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from conformance.report.model import CheckResult
from conformance.report.terminal import announce, style_of
from conformance.report.verdict import Verdict

#: How often the live view is drawn in a second: clocks go on, and the machine has other work.
_DRAWN_PER_SECOND = 4
_BAR = 40
#: Verdicts that are printed as they come in.
_TOLD = frozenset({Verdict.FAIL, Verdict.ERROR})


class Watcher:
    """Hears how a run goes on. This one is content to know nothing."""

    def expects(self, areas: Mapping[str, int]) -> None:
        """So many checks of each area are going to run."""

    def begun(self, requirement: str, title: str) -> None:
        """A check begins."""

    def over(self, result: CheckResult) -> None:
        """A check has come to its end."""


@contextmanager
def watching(console: Console) -> Iterator[Watcher]:
    """The watcher that suits the console, for the time of a run."""
    if not console.is_terminal or console.is_dumb_terminal or os.environ.get("CI"):
        yield Lines(console)
        return
    # Tests in this process capture what goes to standard output; the terminal is still behind a copy of it.
    with os.fdopen(os.dup(sys.stdout.fileno()), "w") as terminal:
        own = Console(file=terminal, highlight=False, force_terminal=True)
        view = View(own)
        with Live(
            get_renderable=view.drawn, console=own, refresh_per_second=_DRAWN_PER_SECOND, transient=True
        ) as live:
            view.redraw = live.refresh
            yield view


class Lines(Watcher):
    """A line for each check when it is over."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def over(self, result: CheckResult) -> None:
        announce(self._console, result)


@dataclass
class _Area:
    """How far the checks of an area are."""

    expected: int
    over: int = 0
    failed: int = 0


@dataclass
class View(Watcher):
    """Areas with their counts, what runs and for how long, and the failures as they come in.

    Drawn by another thread than the one that tells it what happens.
    """

    console: Console
    #: Draws at once what otherwise is seen with the next refresh.
    redraw: Callable[[], None] = lambda: None
    clock: Callable[[], float] = time.monotonic
    _began: float = field(init=False)
    _areas: dict[str, _Area] = field(default_factory=dict)
    _running: dict[tuple[str, str], float] = field(default_factory=dict)
    _counts: Counter[Verdict] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._began = self.clock()

    def expects(self, areas: Mapping[str, int]) -> None:
        self._areas = {name: _Area(expected=count) for name, count in areas.items()}
        self.redraw()

    def begun(self, requirement: str, title: str) -> None:
        self._running[requirement, title] = self.clock()

    def over(self, result: CheckResult) -> None:
        self._running.pop((result.requirement, result.title), None)
        area = self._areas[result.requirement.partition("/")[0]]
        area.over += 1
        self._counts[result.verdict] += 1
        if result.verdict in _TOLD and not result.expected:
            area.failed += 1
            announce(self.console, result)
            if result.reason:
                self.console.print(
                    Text(f"         {result.reason.splitlines()[0]}", style="dim"), soft_wrap=True
                )

    def drawn(self) -> RenderableType:
        """The view of this moment."""
        expected = sum(area.expected for area in self._areas.values())
        over = sum(self._counts.values())
        head = Table.grid(padding=(0, 1))
        head.add_row(
            ProgressBar(
                total=max(expected, 1),
                completed=over,
                width=min(_BAR, self.console.width // 3),
                complete_style="red" if any(area.failed for area in self._areas.values()) else "green",
            ),
            Text(f"{over} of {expected}"),
            _counted(self._counts),
            Text(f"{self.clock() - self._began:.0f} s", style="dim"),
        )
        areas = Columns([_cell(name, area) for name, area in list(self._areas.items())], padding=(0, 2))
        return Group(Text(), head, areas, *self._under_way())

    def _under_way(self) -> Iterator[Text]:
        now = self.clock()
        for (requirement, title), began in list(self._running.items()):
            yield Text.assemble(
                (f"{now - began:5.0f} s  ", "dim"),
                requirement,
                "  ",
                (title, "dim"),
                no_wrap=True,
                overflow="ellipsis",
            )


def _cell(name: str, area: _Area) -> Text:
    done = area.over == area.expected
    style = "bold red" if area.failed else "green" if done else "default" if area.over else "dim"
    failed = f" {area.failed} failed" if area.failed else ""
    return Text(f"{name} {area.over}/{area.expected}{failed}", style=style, no_wrap=True)


def _counted(counts: Mapping[Verdict, int]) -> Text:
    parts = [
        (f"{counts[verdict]} {verdict.word} ", style_of(verdict))
        for verdict in reversed(Verdict)
        if counts[verdict]
    ]
    return Text.assemble(*parts)
