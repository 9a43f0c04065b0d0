"""Figures, ratios between them, and the JSON that keeps them.

A :class:`Measurement` is one figure of one peer in one round. A ratio compares two peers within a round, so that what
disturbs the machine for a while disturbs both; what is told is the median of the rounds, with the least and the most.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Figure:
    """What is measured. ``goals`` are the ratios of ours to a peer's that are asked for, by the peer's name."""

    name: str
    unit: str
    more_is_better: bool
    goals: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One value of ``figure`` for ``peer``, in ``round`` (from 0)."""

    figure: Figure
    peer: str
    round: int
    value: float


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """Ours to a peer's, over the rounds."""

    least: float
    median: float
    most: float

    def meets(self, figure: Figure, goal: float) -> bool:
        """Whether the median is at least (or, of what is better when small, at most) the goal."""
        return self.median >= goal if figure.more_is_better else self.median <= goal


class Results:
    """All measurements of a run, in the order in which they were made."""

    def __init__(self, measurements: Iterable[Measurement] = ()) -> None:
        self._all = list(measurements)

    def add(self, measurement: Measurement) -> None:
        """Keep one more."""
        self._all.append(measurement)

    @property
    def figures(self) -> list[Figure]:
        """What was measured."""
        return list({measurement.figure.name: measurement.figure for measurement in self._all}.values())

    @property
    def peers(self) -> list[str]:
        """Who was measured."""
        return list(dict.fromkeys(measurement.peer for measurement in self._all))

    def values(self, figure: Figure, peer: str) -> list[float]:
        """The values of all rounds."""
        return list(self._by_round(figure, peer).values())

    def median(self, figure: Figure, peer: str) -> float | None:
        """The median of the rounds; None where the peer was not measured."""
        values = self.values(figure, peer)
        return statistics.median(values) if values else None

    def ratio(self, figure: Figure, ours: str, peer: str) -> Ratio | None:
        """``ours`` to ``peer``, over the rounds in which both gave something to compare; None without any."""
        mine, others = self._by_round(figure, ours), self._by_round(figure, peer)
        ratios = [
            mine[number] / others[number] for number in mine if mine[number] > 0 and others.get(number, 0) > 0
        ]
        if not ratios:
            return None
        return Ratio(least=min(ratios), median=statistics.median(ratios), most=max(ratios))

    def _by_round(self, figure: Figure, peer: str) -> dict[int, float]:
        return {
            measurement.round: measurement.value
            for measurement in self._all
            if measurement.figure.name == figure.name and measurement.peer == peer
        }


def write(results: Results, path: Path, *, ours: str, about: Mapping[str, Any]) -> None:
    """Write everything as JSON; ``about`` says how it was measured."""
    figures = []
    for figure in results.figures:
        peers: dict[str, Any] = {}
        for peer in results.peers:
            if values := results.values(figure, peer):
                ratio = results.ratio(figure, ours, peer) if peer != ours else None
                peers[peer] = {
                    "values": values,
                    "median": results.median(figure, peer),
                    "ratio": None if ratio is None else vars(ratio),
                }
        figures.append(
            {
                "name": figure.name,
                "unit": figure.unit,
                "more_is_better": figure.more_is_better,
                "goals": dict(figure.goals),
                "peers": peers,
            }
        )
    path.write_text(json.dumps({"about": dict(about), "ours": ours, "figures": figures}, indent=2) + "\n")
