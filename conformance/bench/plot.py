"""The results as one SVG: a panel for each figure, a bar for each peer, a line from the least to the most."""

from __future__ import annotations

from html import escape
from pathlib import Path

from conformance.bench.result import Figure, Results
from conformance.bench.table import number

_WIDTH, _COLUMNS, _PANEL, _BAR, _HEAD, _NAME = 1120, 2, 540, 18, 34, 90
_STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#333}.title{font-weight:600}.unit{fill:#777}"
    ".bar{fill:#9db4c8}.ours{fill:#2f6f9f}.spread{stroke:#333}svg{background:#fff}"
)


def write(results: Results, path: Path, *, ours: str) -> None:
    """Write the plot. Each panel has a scale of its own, from nought."""
    parts: list[str] = []
    heights = [0.0] * _COLUMNS
    for figure in results.figures:
        column = heights.index(min(heights))
        drawn, height = _panel(results, figure, ours)
        x, y = column * (_PANEL + 30), heights[column]
        parts.append(f'<g transform="translate({x + 10} {y + 10})">{drawn}</g>')
        heights[column] = y + height
    total = max(heights) + 20
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{total:.0f}"'
        f' viewBox="0 0 {_WIDTH} {total:.0f}"><style>{_STYLE}</style>{"".join(parts)}</svg>\n',
        encoding="utf-8",
    )


def _panel(results: Results, figure: Figure, ours: str) -> tuple[str, float]:
    peers = [peer for peer in results.peers if results.values(figure, peer)]
    top = max((abs(value) for peer in peers for value in results.values(figure, peer)), default=0) or 1
    room = _PANEL - _NAME - 70
    direction = "more is better" if figure.more_is_better else "less is better"
    parts = [
        f'<text class="title" y="12">{escape(figure.name)}</text>'
        f'<text class="unit" x="{_NAME + 60}" y="12">{escape(figure.unit)}, {direction}</text>'
    ]
    for place, peer in enumerate(peers):
        y = _HEAD - 10 + place * _BAR
        values, median = results.values(figure, peer), results.median(figure, peer) or 0.0
        least, most = (max(0.0, edge) / top * room + _NAME for edge in (min(values), max(values)))
        kind = "bar ours" if peer == ours else "bar"
        width = max(0.0, median) / top * room
        parts.append(
            f'<text y="{y + 11}">{escape(peer)}</text>'
            f'<rect class="{kind}" x="{_NAME}" y="{y}" width="{width:.1f}" height="{_BAR - 5}"/>'
            f'<line class="spread" x1="{least:.1f}" x2="{most:.1f}" y1="{y + 6.5}" y2="{y + 6.5}"/>'
            f'<text x="{_NAME + room + 8}" y="{y + 11}">{number(median)}</text>'
        )
    return "".join(parts), float(_HEAD + len(peers) * _BAR)
