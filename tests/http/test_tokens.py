"""The token of a managed proxy opens the leaf of its own service, and tells the proxy from everybody else."""

from __future__ import annotations

import asyncio

import pytest

from reference.config.model import ManagedProxy, ServiceDefinition
from tests.http.serving import api

WEB = ServiceDefinition(id="web1", name="web", port=80, proxy=ManagedProxy())
REDIS = ServiceDefinition(id="redis1", name="redis", port=81, proxy=ManagedProxy())


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("?token={}", {}),
        ("", {"X-Consul-Token": "{}"}),
        ("", {"Authorization": "Bearer {}"}),
    ],
    ids=["query", "header", "bearer"],
)
def test_a_proxy_gets_no_leaf_of_another_service(query: str, headers: dict[str, str]) -> None:
    """MP-TOK-004, MP-TOK-005, MP-TOK-010."""

    async def scenario() -> None:
        async with api(WEB, REDIS) as agent:
            managed = agent.backend.state.proxy("web1-proxy")
            assert managed is not None
            carried = {name: value.format(managed.token) for name, value in headers.items()}

            async def leaf(service: str) -> tuple[int, str]:
                path = f"/v1/agent/connect/ca/leaf/{service}" + query.format(managed.token)
                answer = await agent.client.get(path, headers=carried)
                return answer.status_code, answer.text

            assert (await leaf("web"))[0] == 200
            assert await leaf("redis") == (403, "Permission denied")
            assert await leaf("nosuch") == (403, "Permission denied")

    asyncio.run(scenario())


def test_without_acls_others_get_any_leaf() -> None:
    """MP-TOK-005: an unknown token, or none, is nobody's."""

    async def scenario() -> None:
        async with api(WEB) as agent:
            await agent.get("/v1/agent/connect/ca/leaf/web")
            await agent.get("/v1/agent/connect/ca/leaf/web", **{"X-Consul-Token": "unknown"})

    asyncio.run(scenario())


def test_a_deregistered_proxys_token_is_nobodys() -> None:
    """MP-TOK-013, as far as it shows without ACLs."""

    async def scenario() -> None:
        async with api(WEB, REDIS) as agent:
            managed = agent.backend.state.proxy("web1-proxy")
            assert managed is not None
            agent.backend.state.deregister("web1")
            await agent.get("/v1/agent/connect/ca/leaf/redis", **{"X-Consul-Token": managed.token})

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ({}, {"filter_default": True, "metrics_prefix": "consul.proxy.web1"}),
        (
            {"telemetry": {"statsd_address": "127.0.0.1:8125"}},
            {
                "filter_default": True,
                "metrics_prefix": "consul.proxy.web1",
                "statsd_address": "127.0.0.1:8125",
            },
        ),
        ({"telemetry": {"foreign": 1}}, {"foreign": 1}),
    ],
    ids=["none", "merged", "verbatim"],
)
def test_telemetry_is_for_the_proxy_alone(own: dict[str, object], expected: dict[str, object]) -> None:
    """MP-INT-009, MP-INT-010."""
    definition = ServiceDefinition(id="web1", name="web", port=80, proxy=ManagedProxy(config=own))

    async def scenario() -> None:
        async with api(definition) as agent:
            managed = agent.backend.state.proxy("web1-proxy")
            assert managed is not None
            path = "/v1/agent/connect/proxy/web1-proxy"
            told = await agent.get(path, **{"X-Consul-Token": managed.token})
            assert told["Config"]["telemetry"] == expected
            assert (await agent.get(path))["Config"].get("telemetry") == own.get("telemetry")

    asyncio.run(scenario())
