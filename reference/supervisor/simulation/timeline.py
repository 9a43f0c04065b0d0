"""A story as a picture: one HTML page, complete in itself, with a lane for each process and a mark for each deed.

Time goes from left to right. It is not to scale: stretches in which nothing happens are cut short, and the axis says
where. Colours are explained on the page; whatever they tell is also in words, in the title of each mark and in the
trace below the picture.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from html import escape

from reference.supervisor.simulation.chronicle import Chronicle, Entry

_LEFT, _WIDTH, _RIGHT, _ROW = 150, 1200, 120, 20
#: Room for the legend and, below it, for slanting labels of full length.
_TOP = 116
#: A pause longer than this many seconds is drawn as one of this length.
_PAUSE = 4.0
#: Characters of the words beside a line.
_LABEL = 24

_STYLE = """
body { font: 14px/1.45 system-ui, sans-serif; margin: 1.5rem; color: #1c2430; background: #fff; }
h1 { font-size: 1.25rem; margin: 0 0 .3rem; }
pre { background: #f4f6f8; padding: .8rem; overflow: auto; font-size: 12px; }
.broken { color: #b3261e; font-weight: 600; }
figure { margin: 1rem 0; overflow-x: auto; border: 1px solid #d7dde4; }
svg { display: block; width: 100%; min-width: 900px; }
svg text { font: 11px system-ui, sans-serif; fill: #1c2430; }
svg .axis { fill: #5b6673; }
svg .lane { stroke: #e6eaee; }
svg .cut { stroke: #b9c2cc; stroke-dasharray: 2 3; }
svg .agent { fill: #5b4fc4; } svg .ours { fill: #2f8f5b; } svg .stranger { fill: #a3adb8; }
svg .deed { stroke: #c2760c; } svg text.deed { fill: #8a5200; stroke: none; }
svg .signal { fill: #c2760c; } svg .note { fill: #fff; stroke: #2f5f8f; }
svg .breach { stroke: #b3261e; stroke-width: 2; } svg text.breach { fill: #b3261e; font-weight: 700; stroke: none; }
@media (prefers-color-scheme: dark) {
  body { color: #e4e8ee; background: #14181e; } pre { background: #1d232b; } figure { border-color: #333c47; }
  svg text { fill: #e4e8ee; } svg .axis { fill: #9aa6b3; } svg .lane { stroke: #262e37; }
  svg .note { fill: #14181e; stroke: #7fb2e5; } svg text.deed { fill: #e8a849; } .broken { color: #ff8a80; }
}
"""
_LEGEND = (
    ("agent", "an agent is up"),
    ("ours", "a proxy, or its child, lives"),
    ("stranger", "somebody else's process lives"),
)


@dataclass
class _Lane:
    name: str
    kind: str
    begins: float
    ends: float | None = None
    marks: list[Entry] = field(default_factory=list)


def page(chronicle: Chronicle, *, title: str, broken: str = "", again: str = "", schedule: str = "") -> str:
    """The page for a story. ``again`` is the command that tells it again, ``broken`` what it broke, if anything."""
    entries = chronicle.entries
    verdict = f'<p class="broken">{escape(broken)}</p>' if broken else "<p>No rule was broken.</p>"
    command = f"<p>Tell it again: <code>{escape(again)}</code></p>" if again else ""
    deeds = f"<h2>Schedule</h2><pre>{escape(schedule)}</pre>" if schedule else ""
    trace = escape("\n".join(chronicle.lines))
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>'
        f"<h1>{escape(title)}</h1>{verdict}{command}<figure>{_picture(entries)}</figure>{deeds}"
        f"<h2>Trace</h2><pre>{trace}</pre></body></html>\n"
    )


def _picture(entries: list[Entry]) -> str:
    lanes = _lanes(entries)
    scale = _Scale(entry.time for entry in entries)
    height = _TOP + _ROW * len(lanes) + 40
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LEFT + _WIDTH + _RIGHT} {height}" '
        'role="img" aria-label="Timeline: a lane for each process, a vertical line for each deed">',
        *_legend(),
        *_axis(scale, height),
    ]
    for row, lane in enumerate(lanes):
        parts += _draw(lane, _TOP + _ROW * row, scale)
    parts += _deeds(entries, scale, height)
    return "".join([*parts, "</svg>"])


def _lanes(entries: list[Entry]) -> list[_Lane]:
    """A lane for each life of an agent and each process, in the order of their beginnings, agents first."""
    lanes: list[_Lane] = []
    current: dict[str, _Lane] = {}
    ours: set[str] = {entry.who for entry in entries if entry.kind == "note"}
    for entry in entries:
        if entry.kind == "begin":
            kind = (
                "agent" if entry.who.startswith("agent ") else "ours" if _name(entry) in ours else "stranger"
            )
            current[entry.who] = lane = _Lane(entry.who, kind, entry.time)
            lanes.append(lane)
        elif entry.kind == "end" and entry.who in current:
            current.pop(entry.who).ends = entry.time
        if entry.kind in ("begin", "end", "signal") and lanes:
            lane = next((lane for lane in reversed(lanes) if lane.name == entry.who), lanes[-1])
            lane.marks.append(entry)
        elif entry.kind == "note":
            # What an agent says of a proxy stands in the lane of its latest process.
            told = next((lane for lane in reversed(lanes) if lane.name.startswith(f"{entry.who} ")), None)
            if told is not None:
                told.marks.append(entry)
    return sorted(lanes, key=lambda lane: (("agent", "ours", "stranger").index(lane.kind), lane.begins))


def _name(entry: Entry) -> str:
    return entry.who.rpartition(" ")[0]


class _Scale:
    """From virtual seconds to pixels, pauses cut short."""

    def __init__(self, times: Iterable[float]) -> None:
        known = sorted(set(times)) or [0.0]
        self._drawn: Mapping[float, float] = {known[0]: 0.0}
        #: Where time was cut: position, and how long the pause really is.
        self.cuts: list[tuple[float, float]] = []
        drawn, positions = 0.0, {known[0]: 0.0}
        for before, after in itertools.pairwise(known):
            drawn += min(after - before, _PAUSE)
            positions[after] = drawn
            if after - before > _PAUSE:
                self.cuts.append((drawn - _PAUSE / 2, after - before))
        self._drawn, self.last = positions, known[-1]
        self._length = max(drawn, 1e-9)

    def __call__(self, time: float) -> float:
        return self.at(self._drawn[time])

    def at(self, drawn: float) -> float:
        return round(_LEFT + _WIDTH * drawn / self._length, 1)

    @property
    def times(self) -> list[float]:
        return list(self._drawn)


def _axis(scale: _Scale, height: int) -> list[str]:
    parts, last = [], -100.0
    for time in scale.times:
        x = scale(time)
        if x - last >= 70:
            parts.append(
                f'<text class="axis" x="{x}" y="{_TOP - 6}" text-anchor="middle">{time:.1f} s</text>'
            )
            last = x
    for drawn, seconds in scale.cuts:
        x = scale.at(drawn)
        title = f"{seconds:.1f} s in which nothing happens, cut short"
        parts.append(
            f'<line class="cut" x1="{x}" x2="{x}" y1="{_TOP}" y2="{height}"><title>{title}</title></line>'
        )
    return parts


def _draw(lane: _Lane, y: int, scale: _Scale) -> list[str]:
    middle = y + _ROW / 2
    begin, end = scale(lane.begins), scale(lane.ends if lane.ends is not None else scale.last)
    words = "; ".join(entry.text for entry in lane.marks if entry.kind in ("begin", "end"))
    parts = [
        f'<line class="lane" x1="0" x2="{_LEFT + _WIDTH}" y1="{y + _ROW}" y2="{y + _ROW}"/>',
        f'<text x="6" y="{middle + 4}">{escape(lane.name)}</text>',
        f'<rect class="{lane.kind}" x="{begin}" y="{y + 5}" width="{max(end - begin, 2.0):.1f}" '
        f'height="{_ROW - 10}" rx="2"><title>{escape(f"{lane.name}: {words}")}</title></rect>',
    ]
    for entry in lane.marks:
        x = scale(entry.time)
        title = f"<title>{escape(f'{entry.time:.3f} s {entry.who}: {entry.text}')}</title>"
        if entry.kind == "signal":
            points = f"{x - 5},{y + 2} {x + 5},{y + 2} {x},{y + 11}"
            parts.append(f'<polygon class="signal" points="{points}">{title}</polygon>')
        elif entry.kind == "note":
            parts.append(f'<circle class="note" cx="{x}" cy="{middle}" r="3">{title}</circle>')
    return parts


def _deeds(entries: list[Entry], scale: _Scale, height: int) -> list[str]:
    """A line for each moment in which something was done, with the words of all of it; the breach as the last one."""
    parts: list[str] = []
    last = -100.0
    for time, group in itertools.groupby(entries, key=lambda entry: entry.time):
        deeds = [entry.text for entry in group if entry.kind == "deed"]
        if not deeds:
            continue
        x = scale(time)
        title = f"<title>{escape(f'{time:.3f} s: ' + '; '.join(deeds))}</title>"
        parts.append(f'<line class="deed" x1="{x}" x2="{x}" y1="{_TOP}" y2="{height - 20}">{title}</line>')
        if x - last >= 22:  # slanting by 30 degrees, lines of text are half as far from each other
            label = ", ".join(" ".join(text.split()[:2]) for text in deeds)
            label = label if len(label) <= _LABEL else label[: _LABEL - 1] + "…"
            y = _TOP - 20
            parts.append(
                f'<text class="deed" x="{x}" y="{y}" transform="rotate(-30 {x} {y})">{escape(label)}</text>'
            )
            last = x
    for entry in entries:
        if entry.kind == "breach":
            x = scale(entry.time)
            title = f"<title>{escape(entry.text)}</title>"
            parts.append(
                f'<line class="breach" x1="{x}" x2="{x}" y1="{_TOP}" y2="{height - 18}">{title}</line>'
            )
            parts.append(f'<text class="breach" x="{x}" y="{height - 4}" text-anchor="end">BROKEN</text>')
    return parts


def _legend() -> list[str]:
    parts = []
    for index, (kind, text) in enumerate(_LEGEND):
        x = 6 + 210 * index
        parts.append(f'<rect class="{kind}" x="{x}" y="4" width="16" height="9" rx="2"/>')
        parts.append(f'<text x="{x + 22}" y="13">{text}</text>')
    x = 6 + 210 * len(_LEGEND)
    parts.append(f'<polygon class="signal" points="{x},4 {x + 10},4 {x + 5},13"/>')
    parts.append(f'<text x="{x + 16}" y="13">a signal</text>')
    parts.append(f'<circle class="note" cx="{x + 90}" cy="9" r="3"/>')
    parts.append(f'<text x="{x + 100}" y="13">what the agent says of a proxy; details in the titles</text>')
    return parts
