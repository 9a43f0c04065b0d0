"""The metrics of the agent in the text form of Prometheus: times in seconds, counters as such."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from reference.agent.metrics import Aggregate

CONTENT_TYPE = CONTENT_TYPE_LATEST
_MILLISECONDS = 1000.0


def exposition(
    *, gauges: Mapping[str, float], counters: Mapping[str, float], totals: Mapping[str, Aggregate]
) -> str:
    """The text for these metrics; ``totals`` are of milliseconds."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Everything(gauges, counters, totals))
    return generate_latest(registry).decode()


@dataclass(frozen=True, eq=False)  # a registry keeps its collectors by identity
class _Everything(Collector):
    gauges: Mapping[str, float]
    counters: Mapping[str, float]
    totals: Mapping[str, Aggregate]

    def collect(self) -> Iterator[Metric]:
        """Called once for each answer."""
        for name, value in sorted(self.gauges.items()):
            yield GaugeMetricFamily(_flat(name), name, value=value)
        for name, value in sorted(self.counters.items()):
            yield CounterMetricFamily(_flat(name), name, value=value)
        for name, total in sorted(self.totals.items()):
            yield SummaryMetricFamily(
                f"{_flat(name)}_seconds", name, count_value=total.count, sum_value=total.sum / _MILLISECONDS
            )


def _flat(name: str) -> str:
    return re.sub(r"[^a-zA-Z0-9_]", "_", name)
