"""Blocking reads: by hash for what the agent knows itself, by index for what the mesh knows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from reference.catalog.model import Check, Status
from reference.config.model import ManagedProxy, ServiceDefinition
from tests.http.serving import Api, api
from tests.waiting import DEADLINE

WEB = ServiceDefinition(id="web", name="web", port=80, proxy=ManagedProxy(config={"a": 1}))
#: Far longer than any test may take: whoever runs into it has not been woken.
LONG = "300s"


async def blocked(agent: Api, request: Coroutine[Any, Any, httpx.Response]) -> asyncio.Task[httpx.Response]:
    """The request, once it waits."""
    task = asyncio.ensure_future(request)
    deadline = time.monotonic() + DEADLINE
    while not agent.backend.watch.waiting and time.monotonic() < deadline:
        await asyncio.sleep(0)
    assert not task.done()
    return task


async def answer_of(task: asyncio.Task[httpx.Response]) -> httpx.Response:
    return await asyncio.wait_for(task, DEADLINE)


@pytest.mark.parametrize("path", ["/v1/agent/connect/proxy/web-proxy", "/v1/agent/service/web-proxy"])
def test_a_changed_definition_wakes_readers(path: str) -> None:
    async def scenario() -> None:
        async with api(WEB) as agent:
            known = (await agent.get(path))["ContentHash"]
            reader = await blocked(agent, agent.client.get(f"{path}?hash={known}&wait={LONG}"))
            changed = replace(WEB, proxy=ManagedProxy(config={"a": 2}))
            agent.backend.state.register(changed, from_file=True)
            answer = await answer_of(reader)
            assert answer.json()["ContentHash"] != known
            assert answer.headers["x-consul-contenthash"] == answer.json()["ContentHash"]

    asyncio.run(scenario())


def test_a_changed_port_of_the_application_wakes_readers() -> None:
    async def scenario() -> None:
        async with api(WEB) as agent:
            path = "/v1/agent/connect/proxy/web-proxy"
            known = (await agent.get(path))["ContentHash"]
            reader = await blocked(agent, agent.client.get(f"{path}?hash={known}&wait={LONG}"))
            agent.backend.state.register(replace(WEB, port=81), from_file=True)
            assert (await answer_of(reader)).json()["Config"]["local_service_address"] == "127.0.0.1:81"

    asyncio.run(scenario())


def test_an_equal_registration_wakes_nobody() -> None:
    """MP-INT-006."""

    async def scenario() -> None:
        async with api(WEB) as agent:
            path = "/v1/agent/connect/proxy/web-proxy"
            known = (await agent.get(path))["ContentHash"]
            began = time.monotonic()
            reader = await blocked(agent, agent.client.get(f"{path}?hash={known}&wait=200ms"))
            agent.backend.state.register(WEB, from_file=True)
            answer = await answer_of(reader)
            assert answer.json()["ContentHash"] == known
            assert time.monotonic() - began >= 0.2

    asyncio.run(scenario())


@pytest.mark.parametrize("path", ["/v1/agent/connect/proxy/web-proxy", "/v1/agent/service/web-proxy"])
def test_deregistration_releases_readers_with_404(path: str) -> None:
    """MP-INT-008, for both forms with the same clean text."""

    async def scenario() -> None:
        async with api(WEB) as agent:
            known = (await agent.get(path))["ContentHash"]
            reader = await blocked(agent, agent.client.get(f"{path}?hash={known}&wait={LONG}"))
            agent.backend.state.deregister("web")
            answer = await answer_of(reader)
            assert answer.status_code == 404
            assert answer.text == "unknown proxy service ID: web-proxy"

    asyncio.run(scenario())


def test_a_service_can_be_waited_for() -> None:
    async def scenario() -> None:
        async with api() as agent:
            path = "/v1/catalog/connect/web"
            index = (await agent.client.get(path)).headers["x-consul-index"]
            reader = await blocked(agent, agent.client.get(f"{path}?index={index}&wait={LONG}"))
            agent.backend.state.register(WEB, from_file=True)
            answer = await answer_of(reader)
            assert [entry["ServiceID"] for entry in answer.json()] == ["web-proxy"]
            assert int(answer.headers["x-consul-index"]) > int(index)

    asyncio.run(scenario())


def test_a_check_result_wakes_health_readers() -> None:
    async def scenario() -> None:
        async with api(ServiceDefinition(id="n", name="n", port=1, native=True)) as agent:
            path = "/v1/health/connect/n?passing"
            index = (await agent.client.get(path)).headers["x-consul-index"]
            reader = await blocked(agent, agent.client.get(f"{path}&index={index}&wait={LONG}"))
            agent.backend.catalog.put_check(
                Check(id="c", name="c", status=Status.CRITICAL, service_id="n", service_name="n")
            )
            assert (await answer_of(reader)).json() == []

    asyncio.run(scenario())


def test_an_index_of_another_agents_life_is_answered_at_once() -> None:
    async def scenario() -> None:
        async with api(WEB) as agent:
            future = agent.backend.index.current + 1_000_000
            answer = await asyncio.wait_for(
                agent.client.get(f"/v1/catalog/services?index={future}&wait={LONG}"), DEADLINE
            )
            assert answer.status_code == 200

    asyncio.run(scenario())


def test_the_end_of_the_agent_releases_all_readers() -> None:
    async def scenario() -> None:
        async with api(WEB) as agent:
            known = (await agent.get("/v1/agent/connect/proxy/web-proxy"))["ContentHash"]
            readers = [
                await blocked(agent, agent.client.get(f"{path}&wait={LONG}"))
                for path in (
                    f"/v1/agent/connect/proxy/web-proxy?hash={known}",
                    f"/v1/agent/connect/ca/roots?index={agent.backend.index.current}",
                )
            ]
            agent.backend.watch.close()
            for reader in readers:
                assert (await answer_of(reader)).status_code == 200

    asyncio.run(scenario())


def test_a_reader_that_hangs_up_is_not_waited_for() -> None:
    async def scenario() -> None:
        async with api(WEB) as agent:
            known = (await agent.get("/v1/agent/connect/proxy/web-proxy"))["ContentHash"]
            path = f"/v1/agent/connect/proxy/web-proxy?hash={known}&wait={LONG}"
            app = agent.client._transport.app  # type: ignore[attr-defined]
            scope = {
                "type": "http",
                "method": "GET",
                "path": path.partition("?")[0],
                "query_string": path.partition("?")[2].encode(),
                "headers": [],
                "client": ("127.0.0.1", 1),
                "server": ("agent", 80),
                "scheme": "http",
            }
            messages = iter(({"type": "http.request", "body": b""}, {"type": "http.disconnect"}))
            sent: list[Any] = []

            async def receive() -> Any:
                return next(messages)

            async def send(message: Any) -> None:
                sent.append(message)

            await asyncio.wait_for(app(scope, receive, send), DEADLINE)
            assert sent == []
            assert not agent.backend.watch.waiting

    asyncio.run(scenario())


@pytest.mark.parametrize("query", ["wait=abc", "wait=10", "index=-1", "index=x"])
def test_a_bad_wait_or_index_is_refused(query: str) -> None:
    async def scenario() -> None:
        async with api(WEB) as agent:
            answer = await agent.client.get(f"/v1/catalog/services?{query}")
            assert (answer.status_code, answer.text) in [(400, "Invalid wait time"), (400, "Invalid index")]

    asyncio.run(scenario())


#: Every read that can be waited for by index, or could be in the original.
READS = (
    "catalog/services",
    "health/state/any",
    "connect/ca/roots",
    "connect/ca/configuration",
    "connect/intentions",
    "connect/intentions/match?by=source&name=web",
    "connect/intentions/check?source=web&destination=db",
    "query",
    "query/web/execute",
    "query/web/explain",
    "agent/connect/ca/roots",
    "agent/connect/ca/leaf/web",
)


@pytest.mark.parametrize("path", READS)
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("dc=elsewhere", "No path to datacenter"),
        ("wait=abc", "Invalid wait time"),
        (f"index={2**64}", "Invalid index"),
        ("stale&consistent", "Cannot specify ?stale with ?consistent, conflicting semantics."),
        ("stale&max_stale=soon", 'Invalid max_stale value "soon"'),
    ],
)
def test_no_read_passes_over_options_that_make_no_sense(path: str, options: str, said: str) -> None:
    async def scenario() -> None:
        async with api(WEB) as agent:
            answer = await agent.client.get(f"/v1/{path}{'&' if '?' in path else '?'}{options}")
            assert (answer.status_code, answer.text) == (400, said)

    asyncio.run(scenario())
