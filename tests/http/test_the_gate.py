"""What holds for every path: configured headers, closed paths, networks that may write, compression."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from reference.config.model import ManagedProxy, ServiceDefinition
from reference.config.network import HttpOptions
from reference.http.app import create_app
from tests.http.serving import api


def ask(method: str, path: str, client: tuple[str, int] = ("127.0.0.1", 1), **options: Any) -> httpx.Response:
    async def scenario() -> httpx.Response:
        web = ServiceDefinition(id="web", name="web", port=80, proxy=ManagedProxy())
        async with api(web, http=HttpOptions(**options)) as agent:
            transport = httpx.ASGITransport(app=create_app(agent.backend), client=client)
            async with httpx.AsyncClient(transport=transport, base_url="http://agent") as asking:
                return await asking.request(method, path, headers={"Accept-Encoding": "identity"})

    return asyncio.run(scenario())


@pytest.mark.parametrize("path", ["/v1/agent/self", "/v1/nope", "/v1/agent/connect/proxy/none", "/"])
def test_configured_headers_are_on_every_answer(path: str) -> None:
    answer = ask("GET", path, response_headers={"Access-Control-Allow-Origin": "*", "X-Mine": "1"})
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["x-mine"] == "1"


def test_a_closed_path_is_closed_with_all_below_it() -> None:
    closed = ("/v1/agent/self", "/v1/catalog")
    for path in ("/v1/agent/self", "/v1/catalog/nodes", "/v1/catalogue"):
        answer = ask("GET", path, block_endpoints=closed)
        assert (answer.status_code, answer.text) == (403, "Endpoint is blocked by agent configuration")
    assert ask("GET", "/v1/agent/members", block_endpoints=closed).status_code == 200


@pytest.mark.parametrize(
    ("host", "method", "status"),
    [
        ("127.0.0.1", "PUT", 200),
        ("::ffff:127.0.0.9", "PUT", 200),
        ("192.0.2.1", "PUT", 403),
        ("192.0.2.1", "GET", 405),
        ("192.0.2.1", "OPTIONS", 200),
        ("::1", "PUT", 403),
        ("", "PUT", 403),
    ],
)
def test_only_some_networks_may_change_anything(host: str, method: str, status: int) -> None:
    answer = ask(method, "/v1/agent/service/deregister/x", (host, 1), allow_write_from=("127.0.0.0/8",))
    assert answer.status_code == status
    if status == 403:
        assert answer.text == "Access is restricted"


def test_a_path_that_nobody_prints_is_refused_unless_allowed() -> None:
    path = "/v1/agent/connect/proxy/a%07b"
    assert ask("GET", path).status_code == 400
    assert ask("GET", path, allow_unprintable_paths=True).status_code == 404
    assert ask("GET", "/v1/agent/connect/proxy/a%20b%C3%BC").status_code == 404


def test_what_is_long_is_compressed_for_who_asks_for_it() -> None:
    async def scenario() -> None:
        services = [ServiceDefinition(id=f"s{number}", name="s", port=1) for number in range(50)]
        async with api(*services) as agent:
            path = "/v1/agent/services"
            for accepted, encoding in (("gzip", "gzip"), ("identity", None)):
                answer = await agent.client.get(path, headers={"Accept-Encoding": accepted})
                assert answer.headers.get("content-encoding") == encoding
                assert len(answer.json()) == 50

    asyncio.run(scenario())
