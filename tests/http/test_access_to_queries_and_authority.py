"""Who may see, change and execute prepared queries, and tell the authority something."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from reference.catalog.model import Service
from reference.config.model import (
    AccessOptions,
    AgentTokens,
    Destination,
    ManagedProxy,
    ServiceDefinition,
    Upstream,
)
from reference.mesh.certificates import key_pem, new_key
from tests.http.serving import Api, api

MASTER = "11111111-2222-3333-4444-555555555555"
DENYING = AccessOptions(
    enabled=True, allows_by_default=False, master=MASTER, tokens=AgentTokens(agent_master="agentmaster")
)
QUERY = "/v1/query"
CONFIGURATION = "/v1/connect/ca/configuration"


async def ask(agent: Api, method: str, path: str, token: str = MASTER, body: Any = None) -> httpx.Response:
    headers = {"X-Consul-Token": token} if token else {}
    content = None if body is None else json.dumps(body)
    return await agent.client.request(method, path, content=content, headers=headers)


async def token(agent: Api, rules: str) -> str:
    """The secret of a new token with these rules."""
    body = {"Name": f"p{abs(hash(rules))}", "Rules": rules}
    policy = (await ask(agent, "PUT", "/v1/acl/policy", body=body)).json()
    made = await ask(agent, "PUT", "/v1/acl/token", body={"Policies": [{"ID": policy["ID"]}]})
    return str(made.json()["SecretID"])


async def make(agent: Api, name: str, **more: Any) -> str:
    answer = await ask(agent, "POST", QUERY, body={"Name": name, "Service": {"Service": "db"}, **more})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["ID"])


def put_services(agent: Api) -> None:
    agent.backend.catalog.put_service(Service(id="db", name="db", port=1))
    agent.backend.catalog.put_service(
        Service(
            id="db-proxy",
            name="db-proxy",
            kind="connect-proxy",
            port=2,
            destination=Destination(service_name="db"),
        ),
    )


async def found(agent: Api, name: str, secret: str, parameters: str = "") -> list[str]:
    answer = await ask(agent, "GET", f"{QUERY}/{name}/execute{parameters}", secret)
    assert answer.status_code == 200, answer.text
    return [node["Service"]["ID"] for node in answer.json()["Nodes"]]


def test_queries_are_read_and_written_by_their_names() -> None:
    async def story() -> None:
        async with api(access=DENYING) as agent:
            reader = await token(agent, 'query_prefix "geo-" { policy = "read" }')
            writer = await token(agent, 'query_prefix "geo-" { policy = "write" }')
            allowed, hidden = await make(agent, "geo-db", Token="secret-of-query"), await make(agent, "other")
            body = {"Name": "geo-db", "Service": {"Service": "x"}}

            async def statuses(method: str, query_id: str, sent: Mapping[str, Any] | None) -> list[int]:
                path = f"{QUERY}/{query_id}"
                return [
                    (await ask(agent, method, path, secret, sent)).status_code
                    for secret in ("", reader, writer)
                ]

            assert await statuses("GET", allowed, None) == [403, 200, 200]
            assert await statuses("GET", hidden, None) == [403, 403, 403]
            assert await statuses("GET", "geo-db/explain", None) == [403, 200, 200]
            assert await statuses("PUT", allowed, body) == [403, 403, 200]
            # Neither may a query be moved to where its maker may not write, nor be taken from there.
            assert await statuses("PUT", allowed, {**body, "Name": "elsewhere"}) == [403, 403, 403]
            assert await statuses("PUT", hidden, body) == [403, 403, 403]
            assert await statuses("DELETE", hidden, None) == [403, 403, 403]
            for secret, names in (("", []), (reader, ["geo-db"]), (MASTER, ["geo-db", "other"])):
                listed = (await ask(agent, "GET", QUERY, secret)).json()
                assert sorted(query["Name"] for query in listed) == names
            assert (await ask(agent, "POST", QUERY, reader, {**body, "Name": "geo-2"})).status_code == 403
            assert (await ask(agent, "POST", QUERY, writer, {**body, "Name": "geo-2"})).status_code == 200
            assert await statuses("DELETE", allowed, None) == [403, 403, 200]

    asyncio.run(story())


def test_the_token_of_a_query_is_shown_to_who_manages_tokens_alone() -> None:
    async def story() -> None:
        async with api(access=DENYING) as agent:
            reader = await token(agent, 'query_prefix "" { policy = "write" }')
            query_id = await make(agent, "q", Token="secret-of-query")
            for path in (QUERY, f"{QUERY}/{query_id}", f"{QUERY}/q/explain"):
                text = (await ask(agent, "GET", path, reader)).text
                assert "<hidden>" in text
                assert "secret-of-query" not in text
                assert "secret-of-query" in (await ask(agent, "GET", path)).text

    asyncio.run(story())


def test_an_execution_finds_what_its_token_may_see() -> None:
    async def story() -> None:
        async with api(access=DENYING) as agent:
            put_services(agent)
            sees = await token(agent, 'service "db" { policy = "read" } node_prefix "" { policy = "read" }')
            blind = await token(agent, 'service "db" { policy = "read" }')
            await make(agent, "plain")
            await make(agent, "lent", Token=sees)
            await make(agent, "broken", Token="22222222-2222-3333-4444-555555555555")
            assert [await found(agent, "plain", secret) for secret in ("", blind, sees)] == [[], [], ["db"]]
            assert [await found(agent, "lent", secret) for secret in ("", blind, sees)] == [["db"]] * 3
            answer = await ask(agent, "GET", f"{QUERY}/broken/execute", sees)
            assert (answer.status_code, answer.text) == (403, "ACL not found")

    asyncio.run(story())


def test_a_managed_proxy_executes_the_queries_among_its_upstreams() -> None:
    """MP-TOK-009: under a default policy of deny its own token is enough."""
    upstream = Upstream(destination_name="Near", destination_type="prepared_query", local_bind_port=1)
    web = ServiceDefinition(id="web", name="web", port=80, proxy=ManagedProxy(upstreams=(upstream,)))

    async def story() -> None:
        async with api(web, access=DENYING) as agent:
            put_services(agent)
            await make(agent, "near")
            await make(agent, "other")
            managed = agent.backend.state.proxy("web-proxy")
            assert managed is not None
            assert await found(agent, "near", managed.token, "?connect=true") == ["db-proxy"]
            assert await found(agent, "near", managed.token) == []
            assert await found(agent, "other", managed.token, "?connect=true") == []

    asyncio.run(story())


@pytest.mark.parametrize(
    ("rules", "reading", "writing"),
    [
        ("", 403, 403),
        ('operator = "read"', 200, 403),
        ('operator = "write"', 200, 200),
    ],
)
def test_the_authority_is_the_operators(rules: str, reading: int, writing: int) -> None:
    """MP-CA-006, MP-CA-007; and nobody is shown the key, whatever they may write (CVE-2020-28053)."""
    key = key_pem(new_key())
    body = {"Provider": "consul", "Config": {"PrivateKey": key}}

    async def story() -> None:
        async with api(access=DENYING) as agent:
            secret = await token(agent, rules)
            assert (await ask(agent, "PUT", CONFIGURATION, secret, body)).status_code == writing
            await ask(agent, "PUT", CONFIGURATION, MASTER, body)
            for who in (secret, MASTER):
                answer = await ask(agent, "GET", CONFIGURATION, who)
                assert answer.status_code == (reading if who == secret else 200)
                assert not any(line in answer.text for line in key.splitlines()[1:-1])
            # Roots are for everybody.
            assert (await ask(agent, "GET", "/v1/connect/ca/roots", secret)).status_code == 200

    asyncio.run(story())
