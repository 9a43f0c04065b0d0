"""``/v1/agent/metrics``: what the agent measures, as JSON in the original's form, or in the text form of Prometheus."""

from __future__ import annotations

import resource
from collections.abc import Mapping
from datetime import UTC, datetime

from reference.access.authorizer import Level, Resource
from reference.agent.metrics import INTERVAL, Aggregate, Metrics
from reference.http.backend import Backend
from reference.http.exchange import Answer, ApiError, Call
from reference.supervisor.spec import ProxyState


async def metrics(call: Call) -> Answer:
    """``GET /v1/agent/metrics``, with ``?format=prometheus`` where ``telemetry.prometheus_retention_time`` is set."""
    call.require(Resource.AGENT, call.backend.node.name, Level.READ)
    measured = call.backend.metrics
    if call.query.get("format") == "prometheus":
        if call.backend.config.telemetry.prometheus_retention_seconds <= 0:
            raise ApiError(415, "Prometheus is not enabled since its retention time is not positive")
        from reference.http.prometheus import CONTENT_TYPE, exposition  # no agent needs it to start

        return Answer(
            text=exposition(
                gauges=gauges(call.backend), counters=counters(call.backend), totals=measured.totals
            ),
            content_type=CONTENT_TYPE,
        )
    interval = measured.interval()
    began = datetime.fromtimestamp(interval.began, UTC)
    readings = {**gauges(call.backend), **counters(call.backend)}
    return Answer(
        body={
            "Timestamp": began.strftime("%Y-%m-%d %H:%M:%S +0000 UTC"),
            "Gauges": [{"Name": name, "Value": readings[name], "Labels": {}} for name in sorted(readings)],
            "Points": [],
            "Counters": [],
            "Samples": [_sample(name, interval.samples[name]) for name in sorted(interval.samples)],
        }
    )


def _sample(name: str, value: Aggregate) -> dict[str, object]:
    return {
        "Name": name,
        "Count": value.count,
        "Rate": value.sum / INTERVAL,
        "Sum": value.sum,
        "Min": value.least,
        "Max": value.most,
        "Mean": value.mean,
        "Stddev": value.deviation,
        "Labels": {},
    }


def gauges(backend: Backend) -> dict[str, float]:
    """What is, now."""
    statuses = [view.status for view in backend.operations.views()]
    catalog = backend.catalog
    nodes = catalog.nodes()
    return _wanted(
        backend.metrics,
        {
            "catalog.checks": len(catalog.checks()),
            "catalog.nodes": len(nodes),
            "catalog.service_instances": sum(len(catalog.services_on(node.value.name)) for node in nodes),
            "catalog.services": len(catalog.tags_by_name()),
            "http.blocking": backend.watch.waiting,
            "proxy.managed": len(statuses),
            "proxy.running": sum(status.state is ProxyState.RUNNING for status in statuses),
            "runtime.max_resident_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        },
    )


def counters(backend: Backend) -> dict[str, float]:
    """What only grows, since the agent began."""
    tally = backend.operations.tally()
    return _wanted(
        backend.metrics,
        {
            "connect.leaf_signed": 0 if backend.mesh is None else backend.mesh.signed,
            "proxy.backoff_seconds": tally.backoff_seconds,
            "proxy.failures": tally.failures,
            "proxy.restarts": tally.restarts,
        },
    )


def _wanted(metrics: Metrics, values: Mapping[str, float]) -> dict[str, float]:
    named = {metrics.name(name): value for name, value in values.items()}
    return {name: value for name, value in named.items() if metrics.wanted(name)}
