"""``/v1/agent/metrics``: real figures, in both forms."""

from __future__ import annotations

import asyncio
import re
import statistics
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference.agent.metrics import Aggregate, Metrics
from reference.config.model import ManagedProxy, ServiceDefinition, Telemetry
from tests.http.serving import api

WEB = ServiceDefinition(id="web", name="web", port=80, proxy=ManagedProxy())
PROMETHEUS = Telemetry(prometheus_retention_seconds=60.0)


def test_json_has_what_was_asked_and_what_is_there() -> None:
    async def scenario() -> dict[str, Any]:
        async with api(WEB) as agent:
            for _ in range(3):
                await agent.get("/v1/agent/connect/proxy/web-proxy")
            await agent.get("/v1/agent/connect/ca/leaf/web")
            found: dict[str, Any] = await agent.get("/v1/agent/metrics")
            return found

    answer = asyncio.run(scenario())
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d0 \+0000 UTC", answer["Timestamp"])
    assert set(answer) == {"Timestamp", "Gauges", "Points", "Counters", "Samples"}
    samples = {each["Name"]: each for each in answer["Samples"]}
    assert samples["consul.http.GET.v1.agent.connect.proxy._"]["Count"] == 3
    one = samples["consul.http.GET.v1.agent.connect.ca.leaf._"]
    assert (one["Count"], one["Min"], one["Max"], one["Stddev"]) == (1, one["Sum"], one["Sum"], 0.0)
    gauges = {each["Name"]: each["Value"] for each in answer["Gauges"]}
    assert gauges["consul.connect.leaf_signed"] == 1
    assert gauges["consul.catalog.nodes"] == 1
    assert gauges["consul.catalog.service_instances"] == 3
    assert gauges["consul.runtime.max_resident_bytes"] > 1_000_000


def test_prometheus_has_the_same_in_its_form() -> None:
    async def scenario() -> tuple[str, str]:
        async with api(WEB, telemetry=PROMETHEUS) as agent:
            await agent.get("/v1/agent/self")
            answer = await agent.client.get("/v1/agent/metrics?format=prometheus")
            return answer.headers["content-type"], answer.text

    kind, text = asyncio.run(scenario())
    assert kind.startswith("text/plain; version=")
    assert "# TYPE consul_proxy_restarts_total counter\nconsul_proxy_restarts_total 0.0\n" in text
    assert "# TYPE consul_catalog_services gauge\nconsul_catalog_services 3.0\n" in text
    assert "consul_http_GET_v1_agent_self_seconds_count 1.0\n" in text


def test_prometheus_has_to_be_switched_on() -> None:
    async def scenario() -> None:
        async with api() as agent:
            answer = await agent.client.get("/v1/agent/metrics?format=prometheus")
            expected = "Prometheus is not enabled since its retention time is not positive"
            assert (answer.status_code, answer.text) == (415, expected)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("allowed", "blocked", "default", "wanted"),
    [
        ((), (), True, True),
        ((), (), False, False),
        (("consul.http",), (), False, True),
        ((), ("consul.http",), True, False),
        (("consul.http.GET",), ("consul.http",), True, True),
        (("consul.http",), ("consul.http.GET",), True, False),
    ],
)
def test_the_longest_prefix_decides(
    allowed: tuple[str, ...], blocked: tuple[str, ...], default: bool, wanted: bool
) -> None:
    metrics = Metrics(Telemetry(allowed_prefixes=allowed, blocked_prefixes=blocked, filter_default=default))
    metrics.sample("http", "GET", milliseconds=1)
    assert bool(metrics.totals) is wanted


def test_the_latest_interval_that_is_over_is_shown() -> None:
    now = 100.0
    metrics = Metrics(Telemetry(metrics_prefix="mine"), now=lambda: now)
    metrics.sample("a", milliseconds=1)
    assert (metrics.interval().began, set(metrics.interval().samples)) == (100.0, {"mine.a"})
    now = 112.0
    metrics.sample("b", milliseconds=1)
    assert set(metrics.interval().samples) == {"mine.a"}
    now = 121.0
    assert (metrics.interval().began, set(metrics.interval().samples)) == (110.0, {"mine.b"})
    assert set(metrics.totals) == {"mine.a", "mine.b"}


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=20))
def test_an_aggregate_is_about_its_values(values: list[float]) -> None:
    aggregate = Aggregate()
    for value in values:
        aggregate.add(value)
    assert (aggregate.least, aggregate.most, aggregate.count) == (min(values), max(values), len(values))
    assert aggregate.mean == pytest.approx(statistics.fmean(values))
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    assert aggregate.deviation == pytest.approx(spread, rel=1e-6, abs=1e-6)
