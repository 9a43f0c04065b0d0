"""Members, join, force-leave and the log: what the agent says of a cluster that is itself."""

from __future__ import annotations

import asyncio
import logging

import pytest

from reference.agent import log
from reference.config.model import ManagedProxy, ServiceDefinition, Telemetry
from tests.http.serving import api


@pytest.mark.parametrize(
    ("query", "name", "port"),
    [("", "vm", 8301), ("?wan=1", "vm.dc1", 8302), ("?segment=_all", "vm", 8301), ("?wan=", "vm", 8301)],
)
def test_it_is_its_only_member(query: str, name: str, port: int) -> None:
    async def scenario() -> None:
        async with api() as agent:
            (member,) = await agent.get(f"/v1/agent/members{query}")
            assert (member["Name"], member["Port"], member["Tags"]["dc"]) == (name, port, "dc1")

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("method", "path", "text"),
    [
        ("GET", "members?wan=1&segment=x", "Cannot provide a segment with wan=true"),
        ("GET", "members?segment=x", "without segments: x is not known"),
        ("PUT", "join/192.0.2.1", "this agent is a cluster of its own and joins no other"),
        ("PUT", "join/192.0.2.1?wan=1", "joins no other"),
        ("PUT", "force-leave/vm", "use /v1/agent/leave to end it"),
        ("PUT", "force-leave/other", "other is no member of it"),
        ("PUT", "force-leave/", "nobody is no member of it"),
        ("GET", "monitor?loglevel=loud", "Unknown log level: LOUD"),
    ],
)
def test_what_a_cluster_of_one_cannot_do_is_the_callers_mistake(method: str, path: str, text: str) -> None:
    async def scenario() -> None:
        async with api() as agent:
            answer = await agent.client.request(method, f"/v1/agent/{path}")
            assert answer.status_code == 400
            assert text in answer.text

    asyncio.run(scenario())


def test_the_log_is_followed_from_a_level_on() -> None:
    root = logging.getLogger()

    async def scenario() -> None:
        log.feed._latest.clear()
        root.addHandler(log.feed)
        async with api() as agent:
            asking = asyncio.create_task(agent.client.get("/v1/agent/monitor?loglevel=warn"))
            while not log.feed._followers:
                await asyncio.sleep(0)
            logging.getLogger("agent").info("not wanted")
            logging.getLogger("agent").warning("wanted")
            log.feed.end()
            lines = (await asking).text.splitlines()
            assert [line.partition("] ")[2] for line in lines] == ["agent: wanted"]
            assert not log.feed._followers

    level = root.level
    try:
        asyncio.run(scenario())
    finally:
        root.removeHandler(log.feed)
        root.setLevel(level)


def test_proxies_are_told_the_agents_telemetry() -> None:
    """MP-INT-009."""
    told = {"filter_default": True, "metrics_prefix": "mine", "statsd_address": "127.0.0.1:8125"}

    async def scenario() -> None:
        web = ServiceDefinition(id="web", name="web", port=80, proxy=ManagedProxy())
        telemetry = Telemetry(metrics_prefix="mine", for_proxies=told)
        async with api(web, telemetry=telemetry) as agent:
            managed = agent.backend.state.proxy("web-proxy")
            assert managed is not None
            config = await agent.get("/v1/agent/connect/proxy/web-proxy", **{"X-Consul-Token": managed.token})
            assert config["Config"]["telemetry"] == {**told, "metrics_prefix": "mine.proxy.web"}

    asyncio.run(scenario())
