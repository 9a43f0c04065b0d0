"""What all endpoints share: methods, unknown paths, the form of JSON, and errors that stay inside."""

from __future__ import annotations

import asyncio
import logging
import re
from typing import Any

import pytest

from reference.config.durations import parse_duration
from reference.config.model import ManagedProxy, ServiceDefinition
from reference.http.app import ROUTES
from tests.http.serving import Api, api

WEB = ServiceDefinition(id="web", name="web", port=80, proxy=ManagedProxy())


@pytest.mark.parametrize(("path", "handlers"), ROUTES, ids=[path for path, _ in ROUTES])
def test_other_methods_are_refused_as_the_original_does(path: str, handlers: dict[str, Any]) -> None:
    async def scenario() -> None:
        async with api() as agent:
            concrete = re.sub(r"\{[^}]*\}", "", path)
            answer = await agent.client.patch(concrete)
            assert (answer.status_code, answer.text) == (405, "method PATCH not allowed")
            assert answer.headers["allow"] == ",".join(["OPTIONS", *handlers])
            options = await agent.client.options(concrete)
            assert (options.status_code, options.headers["allow"]) == (200, answer.headers["allow"])

    asyncio.run(scenario())


def test_an_unknown_path_is_404_without_body() -> None:
    async def scenario() -> None:
        async with api() as agent:
            answer = await agent.client.get("/v1/nope")
            assert (answer.status_code, answer.content) == (404, b"")

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("dev_mode", "query", "body"),
    [
        (True, "", b'[\n    "dc1"\n]\n'),
        (False, "", b'["dc1"]'),
        (False, "?pretty", b'[\n    "dc1"\n]\n'),
    ],
)
def test_json_is_indented_for_people(dev_mode: bool, query: str, body: bytes) -> None:
    async def scenario() -> None:
        async with api(dev_mode=dev_mode) as agent:
            answer = await agent.client.get(f"/v1/catalog/datacenters{query}")
            assert answer.content == body

    asyncio.run(scenario())


def test_an_unforeseen_error_stays_inside(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with api(WEB) as agent:
            monkeypatch.setattr(agent.backend.catalog, "tags_by_name", lambda meta: 1 // 0)
            answer = await agent.client.get("/v1/catalog/services?token=secret-token")
            assert answer.status_code == 500
            assert answer.text == "The agent failed to answer; its log says why."

    with caplog.at_level(logging.INFO):
        asyncio.run(scenario())
    assert "ZeroDivisionError" in caplog.text
    ours = [record.getMessage() for record in caplog.records if record.name == "http"]
    assert ours
    assert "secret-token" not in "".join(ours)


def test_a_header_that_quotes_the_caller_is_utf_8() -> None:
    async def scenario() -> None:
        async with api() as agent:
            path = "/v1/agent/health/service/id/a%F0%A2%9C%89"
            answer = await agent.client.get(path)
            assert answer.status_code == 404
            reason = answer.headers["x-consul-reason"]
            assert reason == "ServiceId a\U00022709 not found"

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "path", ["/v1/agent/connect/ca/roots", "/v1/connect/ca/roots", "/v1/agent/connect/ca/leaf/web"]
)
def test_certificates_need_connect(path: str) -> None:
    """MP-CA-001; authorize answers all the same."""

    async def scenario() -> None:
        async with api(WEB, connect=False) as agent:
            answer = await agent.client.get(path)
            assert answer.status_code == 500
            assert answer.text == "Connect must be enabled in order to use this endpoint"
            uri = "spiffe://x.consul/ns/default/dc/dc1/svc/foo"
            question = {"Target": "web", "ClientCertURI": uri}
            decision = await agent.client.post("/v1/agent/connect/authorize", json=question)
            assert decision.json()["Authorized"] is True

    asyncio.run(scenario())


@pytest.mark.parametrize("path", ["reload", "leave"])
def test_reload_and_leave_reach_the_agent(path: str) -> None:
    async def scenario(agent: Api) -> None:
        answer = await agent.client.put(f"/v1/agent/{path}")
        assert (answer.status_code, answer.text, agent.calls) == (200, "", [path])

    async def run() -> None:
        async with api() as agent:
            await scenario(agent)

    asyncio.run(run())


def test_another_datacenter_is_unknown() -> None:
    async def scenario() -> None:
        async with api(WEB) as agent:
            answer = await agent.client.get("/v1/catalog/services?dc=dc9")
            assert (answer.status_code, answer.text) == (400, "No path to datacenter")
            assert (await agent.client.get("/v1/catalog/services?dc=dc1")).status_code == 200

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10s", 10.0),
        ("1h30m", 5400.0),
        ("1.5s", 1.5),
        (".5m", 30.0),
        ("250ms", 0.25),
        ("-2s", -2.0),
        ("0", 0.0),
    ],
)
def test_durations_are_the_originals(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "10", "s", "1d", "1 s", "1s2", "1e3s", "١s"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError):
        parse_duration(text)
