"""What is measured: a row is one load, and gives one or more figures. The goals stand beside them."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import chain

from conformance.bench import load
from conformance.bench.applications import BOTH, DOWNLOAD, UPLOAD
from conformance.bench.peers import DIRECT, ORIGINAL
from conformance.bench.result import Figure
from conformance.bench.stage import NOBODY, Stage

#: What a loaded proxy carries beside the round trips: the same for each, however fast it is.
PACED_GBIT = 1.0
#: Connections before memory is first looked at: pools are full, code is loaded.
SETTLING_CONNECTIONS = 500


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a row needs to know to measure one peer once."""

    stage: Stage
    peer: str
    port: int
    application: int
    seconds: float
    idle: int
    churn: int


@dataclass(frozen=True, kw_only=True)
class Row:
    """One load. ``measure`` gives a value for each figure; ``rounds`` limits how often, where once is enough."""

    name: str
    figures: tuple[Figure, ...]
    measure: Callable[[Run], tuple[float, ...]]
    rounds: int | None = None
    #: Whether it says anything about a path without a proxy.
    direct: bool = True


def _throughput(family: str, kind: bytes, count: int, goals: Mapping[str, float]) -> Row:
    name = f"{family}-{count}"

    def measure(run: Run) -> tuple[float, ...]:
        with load.streams(run.port, run.application, kind=kind, count=count) as running:
            used = run.stage.cpu_seconds(run.peer)
            done = load.transfer(running, seconds=run.seconds)
            used = run.stage.cpu_seconds(run.peer) - used
        return done.arrived * 8 / done.seconds / 1e9, used / (done.arrived / (1 << 30))

    return Row(
        name=name,
        figures=(
            Figure(name=name, unit="Gbit/s", more_is_better=True, goals=goals),
            Figure(name=f"{name} cpu", unit="CPU s/GiB", more_is_better=False),
        ),
        measure=measure,
    )


def _round_trips(name: str, *, paced: bool, p50: Mapping[str, float], p99: Mapping[str, float]) -> Row:
    def measure(run: Run) -> tuple[float, ...]:
        beside = None
        if paced:
            command = [sys.executable, "-m", "conformance.bench.load", str(run.port), str(PACED_GBIT)]
            beside = run.stage.start(command, peer=NOBODY)
            run.stage.await_(NOBODY, "the load", lambda: load.ask(run.application)[1] == load.PACED_STREAMS)
        try:
            taken = load.trips(run.port, seconds=run.seconds)
            if beside is not None and beside.poll() is not None:
                raise load.LoadError("the load beside the round trips broke")
        finally:
            if beside is not None:
                run.stage.end(beside)
                run.stage.await_(NOBODY, "the end of the load", lambda: load.ask(run.application)[1] == 0)
        trips = load.quantiles(taken)
        return trips.p50, trips.p99, trips.p999

    return Row(
        name=name,
        figures=(
            Figure(name=f"{name} p50", unit="µs", more_is_better=False, goals=p50),
            Figure(name=f"{name} p99", unit="µs", more_is_better=False, goals=p99),
            Figure(name=f"{name} p99.9", unit="µs", more_is_better=False),
        ),
        measure=measure,
    )


def _connections(clients: int) -> Row:
    name = f"connections-{clients}"

    def measure(run: Run) -> tuple[float, ...]:
        used = run.stage.cpu_seconds(run.peer)
        count, took = load.knock(run.port, clients=clients, enough=lambda _, spent: spent >= run.seconds)
        used = run.stage.cpu_seconds(run.peer) - used
        return count / took, used / count * 1e3

    return Row(
        name=name,
        figures=(
            Figure(name=name, unit="/s", more_is_better=True, goals={"haproxy": 1.0, ORIGINAL: 2.0}),
            Figure(name=f"{name} cpu", unit="CPU ms each", more_is_better=False),
        ),
        measure=measure,
    )


def _measure_idle(run: Run) -> tuple[float, ...]:
    before = run.stage.memory(run.peer)
    held = load.hold(run.port, count=run.idle)
    try:
        after = run.stage.memory(run.peer)
        began, used = time.monotonic(), run.stage.cpu_seconds(run.peer)
        time.sleep(max(run.seconds, 1.0))
        used = run.stage.cpu_seconds(run.peer) - used
        took = time.monotonic() - began
        try:
            for sock in (held[0], held[-1]):
                load.exchange(sock)
        except OSError as problem:
            raise load.LoadError(f"an idle connection did not live: {problem}") from None
    finally:
        for sock in held:
            sock.close()
    return (after - before) / 1024 / run.idle, used / took * 100


def _measure_churn(run: Run) -> tuple[float, ...]:
    load.knock(run.port, clients=4, enough=lambda count, _: count >= SETTLING_CONNECTIONS)
    before = run.stage.memory(run.peer)
    count, _ = load.knock(run.port, clients=4, enough=lambda count, _: count >= run.churn)
    return before / (1 << 20), (run.stage.memory(run.peer) - before) / 1024 / count * 1000


_ONE = {"haproxy": 1.7, ORIGINAL: 1.4}
_MANY = {"haproxy": 1.3, ORIGINAL: 1.1}

#: The rows by name, in the order in which they are measured.
ROWS: dict[str, Row] = {
    row.name: row
    for row in chain(
        (
            _throughput(family, kind, count, _ONE if count == 1 else _MANY)
            for family, kind in (("up", UPLOAD), ("down", DOWNLOAD), ("both", BOTH))
            for count in (1, 4, 32)
        ),
        (
            _round_trips(
                "idle-trips",
                paced=False,
                p50={"haproxy": 1.0, ORIGINAL: 0.8},
                p99={"haproxy": 1.0, ORIGINAL: 0.8},
            ),
            _round_trips("loaded-trips", paced=True, p50={}, p99={"haproxy": 1.0, ORIGINAL: 1.0}),
        ),
        (_connections(clients) for clients in (1, 4, 16)),
        (
            Row(
                name="idle",
                figures=(
                    Figure(
                        name="idle memory",
                        unit="KiB each",
                        more_is_better=False,
                        goals={"haproxy": 2.0, ORIGINAL: 1.0},
                    ),
                    Figure(name="idle cpu", unit="% of a core", more_is_better=False),
                ),
                measure=_measure_idle,
                rounds=1,
                direct=False,
            ),
            Row(
                name="churn",
                figures=(
                    Figure(name="memory", unit="MiB", more_is_better=False),
                    Figure(name="churn growth", unit="KiB/1000", more_is_better=False),
                ),
                measure=_measure_churn,
                rounds=1,
                direct=False,
            ),
        ),
    )
}


def applies(row: Row, peer: str) -> bool:
    """Whether ``row`` is measured for ``peer``."""
    return row.direct or peer != DIRECT
