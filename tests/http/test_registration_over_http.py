"""``PUT /v1/agent/service/register`` and ``deregister``: what is accepted, what is refused, what is left."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from reference.config.model import ManagedProxy, ServiceDefinition
from tests.http.serving import api

REGISTER = "/v1/agent/service/register"
WEB = ServiceDefinition(id="web", name="web", port=80, proxy=ManagedProxy())
ALLOWED: dict[str, Any] = {"allow_managed_api_registration": True}


def test_a_managed_proxy_is_refused_and_nothing_is_registered() -> None:
    """MP-API-001; the status is the 400 that the text promises."""

    async def scenario() -> None:
        async with api() as agent:
            answer = await agent.client.put(
                REGISTER, json={"Name": "web", "Port": 80, "Connect": {"Proxy": {}}}
            )
            assert answer.status_code == 400
            assert answer.text == "Bad request: Managed proxy registration via the API is disallowed."
            assert await agent.get("/v1/agent/services") == {}

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "body",
    [
        {
            "Name": "api",
            "Port": 7002,
            "Connect": {
                "Proxy": {
                    "ExecMode": "daemon",
                    "Command": ["/bin/true"],
                    "Upstreams": [{"DestinationName": "x", "LocalBindPort": 5}],
                    "Config": {"some_key": {"Inner_Key": 1}},
                }
            },
        },
        {
            "name": "api",
            "port": 7002,
            "connect": {
                "proxy": {
                    "exec_mode": "daemon",
                    "command": ["/bin/true"],
                    "upstreams": [{"destination_name": "x", "local_bind_port": 5}],
                    "config": {"some_key": {"Inner_Key": 1}},
                }
            },
        },
    ],
    ids=["camel", "snake"],
)
def test_an_allowed_managed_proxy_is_registered(body: dict[str, Any]) -> None:
    """MP-API-002: both spellings are understood, and the keys of the opaque config are left alone."""

    async def scenario() -> None:
        async with api(**ALLOWED) as agent:
            answer = await agent.client.put(REGISTER, json=body)
            assert (answer.status_code, answer.text) == (200, "")
            config = await agent.get("/v1/agent/connect/proxy/api-proxy")
            assert config["Command"] == ["/bin/true"]
            assert config["Config"]["some_key"] == {"Inner_Key": 1}
            assert config["Upstreams"] == [
                {"DestinationType": "service", "DestinationName": "x", "LocalBindPort": 5}
            ]

    asyncio.run(scenario())


def test_a_failing_proxy_leaves_its_service_registered() -> None:
    """MP-API-008."""

    async def scenario() -> None:
        async with api(**ALLOWED) as agent:
            body = {"Name": "ex", "Port": 1, "Connect": {"Proxy": {"Config": {"bind_port": "abc"}}}}
            answer = await agent.client.put(REGISTER, json=body)
            assert answer.status_code == 400
            assert answer.text == (
                "cannot parse 'bind_port' as int: strconv.ParseInt: parsing \"abc\": invalid syntax"
            )
            assert (await agent.get("/v1/agent/service/ex"))["Port"] == 1
            assert (await agent.client.get("/v1/agent/connect/proxy/ex-proxy")).status_code == 404

    asyncio.run(scenario())


def test_registering_again_without_proxy_keeps_the_proxy() -> None:
    """MP-API-007; and the proxy follows the new port of its service."""

    async def scenario() -> None:
        async with api(WEB) as agent:
            before = await agent.get("/v1/agent/connect/proxy/web-proxy")
            await agent.client.put(REGISTER, json={"Name": "web", "Port": 81})
            after = await agent.get("/v1/agent/connect/proxy/web-proxy")
            assert after["Config"]["bind_port"] == before["Config"]["bind_port"]
            assert after["Config"]["local_service_address"] == "127.0.0.1:81"

    asyncio.run(scenario())


def test_a_managed_proxy_cannot_be_deregistered_directly() -> None:
    """MP-API-004."""

    async def scenario() -> None:
        async with api(WEB) as agent:
            answer = await agent.client.put("/v1/agent/service/deregister/web-proxy")
            assert answer.status_code == 400
            assert answer.text.startswith(
                "Bad request: Managed proxy service cannot be deregistered directly."
            )
            assert "web-proxy" in await agent.get("/v1/agent/services")

    asyncio.run(scenario())


def test_nobody_takes_the_id_of_a_managed_proxy() -> None:
    async def scenario() -> None:
        async with api(WEB) as agent:
            answer = await agent.client.put(REGISTER, json={"Name": "web-proxy", "Port": 1})
            assert answer.status_code == 400
            assert (await agent.get("/v1/agent/services"))["web-proxy"]["Kind"] == "connect-proxy"

    asyncio.run(scenario())


def test_deregistration_takes_along_proxy_check_and_record_but_no_others() -> None:
    """MP-API-005; checks of other services stay, which the original drops (quirk 3)."""
    other = ServiceDefinition(id="other", name="other", port=81, proxy=ManagedProxy())

    async def scenario() -> None:
        async with api(WEB, other) as agent:
            answer = await agent.client.put("/v1/agent/service/deregister/web")
            assert (answer.status_code, answer.text) == (200, "")
            assert set(await agent.get("/v1/agent/services")) == {"other", "other-proxy"}
            assert set(await agent.get("/v1/agent/checks")) == {"service:other-proxy"}
            assert await agent.get("/v1/catalog/connect/web") == []
            assert await agent.get("/v1/catalog/service/web-proxy") == []

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "Request decode failed: EOF"),
        (b"{", "Request decode failed: unexpected EOF"),
        (b"[]", "Request decode failed: '' expected a map"),
        (b"{}", "Missing service name"),
        (b'{"Name": "x", "Address": "0.0.0.0"}', "Invalid service address"),
        (b"\xff\xfe", None),
        (b'{"Name": "x", "Port": 99999999999999999999}', None),
        (b'{"Name": ' + b"[" * 5000 + b"]" * 5000 + b"}", None),
    ],
    ids=["empty", "truncated", "list", "nameless", "wildcard", "no-utf8", "huge-port", "deep"],
)
def test_bad_input_is_refused_with_one_sentence(body: bytes, text: str | None) -> None:
    async def scenario() -> None:
        async with api() as agent:
            answer = await agent.client.put(REGISTER, content=body)
            assert answer.status_code == 400
            assert answer.text == (text or answer.text)
            assert "Traceback" not in answer.text
            assert "\n" not in answer.text
            assert await agent.get("/v1/agent/services") == {}

    asyncio.run(scenario())


def test_a_proxy_whose_application_has_no_port_of_its_own_is_shown_with_that_of_the_service() -> None:
    proxied = ServiceDefinition(
        id="web", name="web", port=80, proxy=ManagedProxy(config={"local_service_address": "127.0.0.9"})
    )

    async def scenario() -> None:
        async with api(proxied) as agent:
            shown = await agent.get("/v1/agent/service/web-proxy")
            assert shown["Proxy"]["LocalServiceAddress"] == "127.0.0.9"
            assert shown["Proxy"]["LocalServicePort"] == 80

    asyncio.run(scenario())
