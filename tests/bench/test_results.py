"""Ratios are taken within rounds, goals are judged by the median, and both reach the report."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from xml.etree import ElementTree

from rich.console import Console

from conformance.bench import cli, plot, result, table
from conformance.bench.peers import Peer
from conformance.bench.result import Figure, Measurement, Ratio, Results

RATE = Figure(name="up-1", unit="Gbit/s", more_is_better=True, goals={"haproxy": 1.7, "original": 1.4})
TRIP = Figure(name="trips p50", unit="µs", more_is_better=False, goals={"haproxy": 1.0})


def rounds(figure: Figure, peer: str, *values: float) -> list[Measurement]:
    return [
        Measurement(figure=figure, peer=peer, round=number, value=value)
        for number, value in enumerate(values)
    ]


def test_a_ratio_compares_neighbours_in_time() -> None:
    # The machine became half as fast between the rounds; ours stayed twice as fast as theirs.
    results = Results([*rounds(RATE, "ours", 8.0, 4.0, 4.4), *rounds(RATE, "haproxy", 4.0, 2.0, 2.0)])
    assert results.ratio(RATE, "ours", "haproxy") == Ratio(least=2.0, median=2.0, most=2.2)


def test_rounds_without_a_counterpart_are_left_out() -> None:
    results = Results([*rounds(RATE, "ours", 8.0, 9.0), *rounds(RATE, "haproxy", 4.0)])
    assert results.ratio(RATE, "ours", "haproxy") == Ratio(least=2.0, median=2.0, most=2.0)
    assert results.ratio(RATE, "ours", "nginx") is None


def test_nothing_is_divided_by_nought() -> None:
    results = Results([*rounds(RATE, "ours", 8.0), *rounds(RATE, "haproxy", 0.0)])
    assert results.ratio(RATE, "ours", "haproxy") is None


def test_a_goal_is_met_from_the_better_side() -> None:
    ratio = Ratio(least=0.9, median=1.0, most=1.8)
    assert not ratio.meets(RATE, 1.7)
    assert ratio.meets(RATE, 1.0)
    assert ratio.meets(TRIP, 1.0)
    assert not ratio.meets(TRIP, 0.9)


def test_the_report_tells_all(tmp_path: Path) -> None:
    results = Results(
        [
            *rounds(RATE, "ours", 8.0, 7.0, 9.0),
            *rounds(RATE, "haproxy", 4.0, 4.0, 4.0),
            *rounds(TRIP, "ours", 120.0),
            *rounds(TRIP, "haproxy", 100.0),
        ]
    )
    result.write(results, tmp_path / "bench.json", ours="ours", about={"cores": 2})
    told = json.loads((tmp_path / "bench.json").read_text())
    assert told["about"] == {"cores": 2}
    rate = told["figures"][0]
    assert rate["peers"]["haproxy"]["ratio"] == {"least": 1.75, "median": 2.0, "most": 2.25}
    assert rate["peers"]["ours"] == {"values": [8.0, 7.0, 9.0], "median": 8.0, "ratio": None}

    plot.write(results, tmp_path / "bench.svg", ours="ours")
    texts = [node.text for node in ElementTree.parse(tmp_path / "bench.svg").iter() if node.text]
    assert {"up-1", "trips p50", "ours", "haproxy", "120"} <= set(texts)

    console = Console(record=True, width=120, force_terminal=False)
    table.show(console, results, ours="ours")
    goals = [line.split() for line in console.export_text().splitlines() if "to haproxy" in line]
    assert [line[-1] for line in goals] == ["met", "missed"]


def test_a_version_is_the_first_line_that_has_one() -> None:
    says = "print('a greeting'); print(' tool 5.68 on a machine'); print('with OpenSSL 3.0')"
    peer = Peer(name="tool", set_up=lambda _: 0, version=(sys.executable, "-c", says))
    assert cli._version(peer) == "tool 5.68 on a machine"
    silent = Peer(name="silent", set_up=lambda _: 0, version=(sys.executable, "-c", ""))
    assert cli._version(silent) == "unknown"
