"""The built-in proxy under load: what a pair of them carries and costs, beside the direct path in the same minute.

Machines differ, and other work disturbs every measurement; so both paths are taken in turn, the best of several rounds
is what each can do, and the verdict is about their ratio. The figures themselves are reported.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from conformance.bench import load
from conformance.bench.applications import UPLOAD
from conformance.bench.stage import Stage
from conformance.checks._paths import Paths
from conformance.checks._situations import mesh
from conformance.plugin.lab import Lab
from conformance.plugin.marks import requirement

_SECONDS, _WARM_UP = 0.15, 0.1
_STREAMS = 4


@requirement("throughput/rate/01")
def check_rate_beside_the_direct_path(lab: Lab) -> None:
    """Upload on four connections for a moment, directly to ``redis`` and through the managed proxies of ``web`` and
    ``redis``, several times in turn.

    The best rate through the proxies is at least the floor that the operator sets of the best direct one.
    Source: document, Managed Proxy Documentation.
    """
    floor = lab.tuning.throughput_floor
    with _paths(lab) as paths:

        def rate(port: int) -> float:
            with load.streams(
                port, paths.application, kind=UPLOAD, count=_STREAMS, warm_up=_WARM_UP
            ) as running:
                done = load.transfer(running, seconds=_SECONDS)
            return done.arrived * 8 / done.seconds / 1e9

        direct, proxied = paths.in_turn(
            rate, best=max, enough=lambda direct, proxied: proxied / direct >= floor
        )
    lab.measured("rate through the proxies", proxied, "Gbit/s")
    lab.measured("rate of the direct path", direct, "Gbit/s")
    lab.measured("part of the direct rate", proxied / direct, "", bound=f"at least {floor:g}")
    assert proxied / direct >= floor, f"{proxied:.3g} of {direct:.3g} Gbit/s are less than the part {floor:g}"


@requirement("throughput/latency/01")
def check_latency_beside_the_direct_path(lab: Lab) -> None:
    """Exchange 64 bytes again and again on one connection, directly with ``redis`` and through the managed proxies of
    ``web`` and ``redis``, several times in turn.

    The median round trip of the best round through the proxies takes at most as many times as long as directly as the
    operator allows. Source: document, Managed Proxy Documentation.
    """

    def median(port: int) -> float:
        return load.quantiles(load.trips(port, seconds=_SECONDS)).p50

    ceiling = lab.tuning.latency_ceiling
    with _paths(lab) as paths:
        direct, proxied = paths.in_turn(
            median, best=min, enough=lambda direct, proxied: proxied / direct <= ceiling
        )
    lab.measured("latency that the proxies add", (proxied - direct) / 1e3, "ms")
    lab.measured("round trip through the proxies", proxied / 1e3, "ms")
    lab.measured("direct round trip", direct / 1e3, "ms")
    lab.measured("multiple of the direct round trip", proxied / direct, "", bound=f"at most {ceiling:g}")
    assert proxied / direct <= ceiling, f"{proxied:.0f} µs are more than {ceiling:g} times {direct:.0f} µs"


@dataclass(frozen=True, kw_only=True)
class _Application:
    port: int


@contextmanager
def _paths(lab: Lab) -> Iterator[Paths]:
    lab.exclusive("throughput")  # one measurement at a time
    folder = lab.workspace / "load"
    folder.mkdir()
    with Stage(folder) as stage:
        port = stage.application()
        upstream = mesh(lab, _Application(port=port)).upstream_port
        yield Paths(application=port, upstream=upstream, patience=lab.patience("measured"))
