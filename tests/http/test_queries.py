"""Prepared queries over HTTP: made, changed, read, waited for, executed, explained, and refused."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from reference.catalog.model import Check, Service, Status
from reference.config.model import Destination
from tests.http.serving import NODE, Api, api

PATH = "/v1/query"
UNKNOWN = "11111111-1111-1111-1111-111111111111"
#: A query as the original shows one that was given a name and a service.
PLAIN = {
    "ID": "",
    "Name": "q",
    "Session": "",
    "Token": "",
    "Template": {"Type": "", "Regexp": "", "RemoveEmptyTags": False},
    "Service": {
        "Service": "db",
        "Failover": {"NearestN": 0, "Datacenters": None},
        "OnlyPassing": False,
        "IgnoreCheckIDs": None,
        "Near": "",
        "Tags": None,
        "NodeMeta": None,
        "ServiceMeta": None,
        "Connect": False,
    },
    "DNS": {"TTL": ""},
}


async def make(agent: Api, name: str = "q", service: str = "db", **more: Any) -> str:
    body = {"Name": name, **more, "Service": {"Service": service, **more.get("Service", {})}}
    answer = await agent.client.post(PATH, json=body)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["ID"])


async def executed(agent: Api, name: str, **parameters: Any) -> list[str]:
    answer = await agent.client.get(f"{PATH}/{name}/execute", params=parameters)
    assert answer.status_code == 200, answer.text
    return sorted(node["Service"]["ID"] for node in answer.json()["Nodes"])


def services(agent: Api) -> None:
    """Three instances of ``db``, one of them with a warning, and a proxy for it."""
    for service_id, tags in (("db1", ("a", "master")), ("db2", ("a",)), ("db3", ())):
        agent.backend.catalog.put_service(Service(id=service_id, name="db", port=1000, tags=tags))
    agent.backend.catalog.put_check(
        Check(id="c", name="c", status=Status.WARNING, service_id="db3", service_name="db")
    )
    agent.backend.catalog.put_service(
        Service(
            id="db-proxy",
            name="db-proxy",
            kind="connect-proxy",
            port=2000,
            destination=Destination(service_name="db"),
        )
    )


def test_fields_and_their_order_are_the_originals() -> None:
    async def story() -> None:
        async with api() as agent:
            query_id = await make(agent)
            (listed,) = await agent.get(PATH)
            expected = {**PLAIN, "ID": query_id}
            indexes = {key: listed.pop(key) for key in ("CreateIndex", "ModifyIndex")}
            assert listed == expected
            assert list(listed) == list(expected)
            assert list(listed["Service"]) == list(PLAIN["Service"])  # type: ignore[call-overload]
            (single,) = await agent.get(f"{PATH}/{query_id}")
            assert single == {**expected, **indexes}
            explained = await agent.get(f"{PATH}/q/explain")
            assert explained == {
                "Query": {**expected, **indexes},
                "Index": 0,
                "LastContact": 0,
                "KnownLeader": True,
                "ConsistencyLevel": "leader",
            }

    asyncio.run(story())


def test_everything_that_was_given_is_shown() -> None:
    given = {
        "Name": "geo-",
        "Token": "a-token",
        "Template": {"Type": "name_prefix_match", "Regexp": "^geo-(.*)$", "RemoveEmptyTags": True},
        "Service": {
            "Service": "${match(1)}",
            "Failover": {"NearestN": 2, "Datacenters": ["dc2"]},
            "OnlyPassing": True,
            "IgnoreCheckIDs": ["c"],
            "Near": "_agent",
            "Tags": ["!old"],
            "NodeMeta": {"Rack": "1"},
            "ServiceMeta": {"V": "2"},
            "Connect": True,
        },
        "DNS": {"TTL": "10s"},
    }

    async def story() -> None:
        async with api() as agent:
            query_id = (await agent.client.post(PATH, json={**given, "Other": 1})).json()["ID"]
            (shown,) = await agent.get(f"{PATH}/{query_id}")
            assert {key: shown[key] for key in given} == given
            explained = (await agent.get(f"{PATH}/geo-db/explain"))["Query"]
            assert explained["Service"]["Service"] == "db"
            assert explained["ID"] == query_id

    asyncio.run(story())


def test_keys_come_in_any_case_and_those_of_maps_stay() -> None:
    body = {"name": "q", "SERVICE": {"service": "db", "tags": None, "nodemeta": {"Rack": "A"}}, "dns": None}

    async def story() -> None:
        async with api() as agent:
            query_id = (await agent.client.post(PATH, json=body)).json()["ID"]
            (shown,) = await agent.get(f"{PATH}/{query_id}")
            assert shown["Service"]["NodeMeta"] == {"Rack": "A"}

    asyncio.run(story())


def test_an_execution_is_what_the_original_answers() -> None:
    """MP-PQ-001, MP-PQ-002."""

    async def story() -> None:
        async with api() as agent:
            services(agent)
            await make(agent, DNS={"TTL": "5s"})
            answer = await agent.client.get(f"{PATH}/q/execute")
            body = answer.json()
            nodes = body.pop("Nodes")
            assert body == {
                "Service": "db",
                "DNS": {"TTL": "5s"},
                "Datacenter": "dc1",
                "Failovers": 0,
                "Index": 0,
                "LastContact": 0,
                "KnownLeader": True,
                "ConsistencyLevel": "leader",
            }
            assert list(nodes[0]) == ["Node", "Service", "Checks"]
            assert nodes[0]["Node"]["Node"] == NODE.name
            assert await executed(agent, "q") == ["db1", "db2", "db3"]
            assert await executed(agent, "q", passing="1") == ["db1", "db2"]
            assert await executed(agent, "q", connect="true") == ["db-proxy"]
            assert await executed(agent, "q", connect="0") == ["db1", "db2", "db3"]
            assert len(await executed(agent, "q", limit=2)) == 2
            assert len(await executed(agent, "q", near="_agent", limit=2)) == 2
            await make(agent, "mesh", Service={"Connect": True})
            assert await executed(agent, "mesh") == ["db-proxy"]
            await make(agent, "tagged", Service={"Tags": ["A", "!master"]})
            assert await executed(agent, "tagged") == ["db2"]
            await make(agent, "healthy", Service={"OnlyPassing": True})
            assert await executed(agent, "healthy") == ["db1", "db2"]
            await make(agent, "nothing", "unknown")
            assert await executed(agent, "nothing") == []

    asyncio.run(story())


def test_instances_come_in_random_order() -> None:
    async def story() -> None:
        async with api() as agent:
            services(agent)
            await make(agent)
            orders = {
                tuple(node["Service"]["ID"] for node in (await agent.get(f"{PATH}/q/execute"))["Nodes"])
                for _ in range(100)
            }
            assert len(orders) == 6

    asyncio.run(story())


@pytest.mark.parametrize("path", [PATH, f"{PATH}/{{id}}"])
def test_reads_wait_for_a_change(path: str) -> None:
    async def story() -> None:
        async with api() as agent:
            query_id = await make(agent)
            concrete = path.format(id=query_id)
            seen = await agent.client.get(concrete)
            index = seen.headers["x-consul-index"]
            waiting = asyncio.ensure_future(agent.client.get(f"{concrete}?index={index}&wait=60s"))
            while agent.backend.watch.waiting == 0:
                await asyncio.sleep(0)
            changed = {"Name": "q", "Service": {"Service": "other"}}
            answer = await agent.client.put(f"{PATH}/{query_id}", json={**changed, "ID": UNKNOWN})
            assert (answer.status_code, answer.text) == (200, "")
            (shown,) = (await asyncio.wait_for(waiting, 30)).json()
            assert shown["Service"]["Service"] == "other"
            assert shown["ModifyIndex"] > shown["CreateIndex"]

    asyncio.run(story())


def test_a_deleted_query_is_gone() -> None:
    async def story() -> None:
        async with api() as agent:
            query_id = await make(agent)
            answer = await agent.client.delete(f"{PATH}/{query_id}")
            assert (answer.status_code, answer.text) == (200, "")
            assert await agent.get(PATH) == []
            for path in (f"{query_id}", "q/execute", f"{query_id}/execute", "q/explain"):
                answer = await agent.client.get(f"{PATH}/{path}")
                assert (answer.status_code, answer.text) == (404, "Query not found")

    asyncio.run(story())


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "text"),
    [
        ("POST", PATH, "", 400, "Request decode failed: EOF"),
        ("POST", PATH, "{", 400, "Request decode failed: unexpected EOF"),
        ("POST", PATH, "[]", 400, "Request decode failed: '' expected a map"),
        ("POST", PATH, '{"Name": 5}', 400, "Request decode failed: "),
        ("POST", PATH, '{"Service": []}', 400, "Request decode failed: "),
        ("POST", PATH, "{}", 400, "Invalid prepared query: Must be bound to a session"),
        ("POST", PATH, '{"ID": "x"}', 400, "ID must be empty when creating a new prepared query"),
        ("POST", PATH, '{"Name": "q"}', 400, "Invalid prepared query: Must provide a Service name to query"),
        (
            "POST",
            PATH,
            '{"Name": "KNOWN", "Service": {"Service": "a"}}',
            400,
            "name 'KNOWN' aliases an existing",
        ),
        (
            "GET",
            f"{PATH}/x",
            None,
            400,
            "failed prepared query lookup: index error: UUID must be 36 characters",
        ),
        ("GET", f"{PATH}/{UNKNOWN}", None, 404, "Query not found"),
        ("PUT", f"{PATH}/{UNKNOWN}", "{", 400, "Request decode failed: unexpected EOF"),
        (
            "PUT",
            f"{PATH}/{UNKNOWN}",
            "",
            400,
            f"Cannot modify non-existent prepared query: '{UNKNOWN}'",
        ),
        ("PUT", f"{PATH}/x", "{}", 400, "Prepared Query lookup failed: failed prepared query lookup: index"),
        (
            "DELETE",
            f"{PATH}/x",
            None,
            400,
            "Prepared Query lookup failed: failed prepared query lookup: index",
        ),
        ("DELETE", f"{PATH}/{UNKNOWN}", None, 400, "Cannot modify non-existent prepared query: "),
        ("GET", f"{PATH}/nope/execute", None, 404, "Query not found"),
        ("GET", f"{PATH}/nope/explain", None, 404, "Query not found"),
        (
            "GET",
            f"{PATH}/known/execute?limit=x",
            None,
            400,
            'Bad limit: strconv.Atoi: parsing "x": invalid syntax',
        ),
        ("GET", f"{PATH}/known/explain?limit=x", None, 400, "Bad limit: "),
        (
            "GET",
            f"{PATH}/known/execute?connect=x",
            None,
            400,
            "Error parsing 'connect' value: strconv.ParseBool: parsing \"x\": invalid syntax",
        ),
        ("GET", f"{PATH}/known/execute?dc=other", None, 400, "No path to datacenter"),
        ("GET", f"{PATH}?dc=other", None, 400, "No path to datacenter"),
        ("POST", f"{PATH}?dc=other", '{"Name": "n"}', 400, "No path to datacenter"),
        ("PUT", PATH, None, 405, "method PUT not allowed"),
        ("PUT", f"{PATH}/known/execute", None, 405, "method PUT not allowed"),
    ],
)
def test_what_is_refused(method: str, path: str, body: str | None, status: int, text: str) -> None:
    """MP-PQ-003: as the original does it, text for text."""

    async def asking() -> httpx.Response:
        async with api() as agent:
            await make(agent, "known")
            return await agent.client.request(method, path, content=body)

    answer = asyncio.run(asking())
    assert answer.status_code == status
    assert answer.text.startswith(text)
