"""Registrations in the catalog: answers as the original gave them, kept over restarts, refused when they make no sense.

The bodies here are what a real 1.4.3 agent answered to the same requests, without the indexes.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from reference.catalog.documents import MemoryDocuments, StorageError
from reference.catalog.model import Check, Status
from tests.agent.defining import proxied, service
from tests.http.serving import NODE, Api, api

FAR = {
    "Node": "far",
    "Address": "10.0.0.9",
    "Service": {"Service": "db", "Port": 5432, "Tags": ["a"], "Weights": {"Passing": 3, "Warning": 1}},
    "Check": {
        "CheckID": "c1",
        "Name": "c one",
        "Status": "passing",
        "ServiceID": "db",
        "Definition": {"TCP": "1.2.3.4:5", "Interval": "10s"},
    },
}
NODE_VIEW = {
    "ID": "",
    "Node": "far",
    "Address": "10.0.0.9",
    "Datacenter": "dc1",
    "TaggedAddresses": None,
    "Meta": None,
}
SERVICE_VIEW = {
    "ID": "db",
    "Service": "db",
    "Tags": ["a"],
    "Address": "",
    "Meta": None,
    "Port": 5432,
    "Weights": {"Passing": 3, "Warning": 1},
    "EnableTagOverride": False,
    "ProxyDestination": "",
    "Proxy": {},
    "Connect": {},
}
CHECK_VIEW = {
    "Node": "far",
    "CheckID": "c1",
    "Name": "c one",
    "Status": "passing",
    "Notes": "",
    "Output": "",
    "ServiceID": "db",
    "ServiceName": "db",
    "ServiceTags": ["a"],
    "Definition": {"Interval": "10s", "TCP": "1.2.3.4:5"},
}
ENTRY_VIEW = {
    "ID": "",
    "Node": "far",
    "Address": "10.0.0.9",
    "Datacenter": "dc1",
    "TaggedAddresses": None,
    "NodeMeta": None,
    "ServiceKind": "",
    "ServiceID": "db",
    "ServiceName": "db",
    "ServiceTags": ["a"],
    "ServiceAddress": "",
    "ServiceWeights": {"Passing": 3, "Warning": 1},
    "ServiceMeta": {},
    "ServicePort": 5432,
    "ServiceEnableTagOverride": False,
    "ServiceProxyDestination": "",
    "ServiceProxy": {},
    "ServiceConnect": {},
}
SIDECAR = {
    "Node": "far",
    "Address": "10.0.0.9",
    "Service": {
        "Kind": "connect-proxy",
        "Service": "db-p",
        "Port": 5,
        "Proxy": {
            "DestinationServiceName": "db",
            "Upstreams": [{"DestinationName": "q", "LocalBindPort": 3}],
            "Config": {"a": 1},
        },
    },
}
PROXY_VIEW = {
    "DestinationServiceName": "db",
    "Config": {"a": 1},
    "Upstreams": [
        {"DestinationType": "", "DestinationName": "q", "Datacenter": "", "LocalBindPort": 3, "Config": None}
    ],
}


async def put(agent: Api, what: str, body: Any) -> Any:
    answer = await agent.client.put(f"/v1/catalog/{what}", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def plain(value: Any) -> Any:
    """Without indexes, which are our own."""
    match value:
        case dict():
            return {k: plain(v) for k, v in value.items() if k not in ("CreateIndex", "ModifyIndex")}
        case list():
            return [plain(each) for each in value]
    return value


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("catalog/node/far", {"Node": NODE_VIEW, "Services": {"db": SERVICE_VIEW}}),
        ("catalog/node/FAR", {"Node": NODE_VIEW, "Services": {"db": SERVICE_VIEW}}),
        ("catalog/node/nobody", None),
        ("catalog/service/db", [ENTRY_VIEW]),
        ("catalog/service/db?tag=a", [ENTRY_VIEW]),
        ("catalog/service/db?tag=a&tag=b", []),
        ("catalog/service/db?node-meta=x:y", []),
        ("catalog/services", {"consul": [], "db": ["a"]}),
        ("catalog/services?node-meta=consul-network-segment:", {"consul": []}),
        ("health/node/far", [CHECK_VIEW]),
        ("health/node/nobody", []),
        ("health/checks/db", [CHECK_VIEW]),
        ("health/state/critical", []),
        ("health/state/nonsense", []),
        ("health/service/db", [{"Node": NODE_VIEW, "Service": SERVICE_VIEW, "Checks": [CHECK_VIEW]}]),
    ],
)
def test_reads_of_a_node_from_outside(path: str, expected: Any) -> None:
    async def scenario() -> None:
        async with api() as agent:
            assert await put(agent, "register", FAR) is True
            assert plain(await agent.get(f"/v1/{path}")) == expected

    asyncio.run(scenario())


def test_a_proxy_from_outside_is_found_by_its_destination() -> None:
    async def scenario() -> None:
        async with api() as agent:
            await put(agent, "register", SIDECAR)
            (entry,) = await agent.get("/v1/catalog/connect/db")
            assert (entry["ServiceProxyDestination"], entry["ServiceProxy"]) == ("db", PROXY_VIEW)
            (entry,) = await agent.get("/v1/health/connect/db?passing")
            assert entry["Service"]["Proxy"] == PROXY_VIEW

    asyncio.run(scenario())


def test_nodes_come_by_name_or_the_near_one_first() -> None:
    async def scenario() -> None:
        async with api() as agent:
            await put(agent, "register", FAR)
            names = [node["Node"] for node in await agent.get("/v1/catalog/nodes")]
            assert names == ["far", "vm"]
            names = [node["Node"] for node in await agent.get("/v1/catalog/nodes?near=_agent")]
            assert names == ["vm", "far"]
            states = [check["CheckID"] for check in await agent.get("/v1/health/state/any?near=vm")]
            assert states == ["serfHealth", "c1"]

    asyncio.run(scenario())


def test_a_node_is_found_by_the_beginning_of_its_id() -> None:
    async def scenario() -> None:
        async with api() as agent:
            found = await agent.get(f"/v1/catalog/node/{NODE.id[:8]}")
            assert found["Node"]["Node"] == "vm"
            assert found["Node"]["TaggedAddresses"] == {"lan": "127.0.0.1", "wan": "127.0.0.1"}
            assert found["Node"]["Meta"] == {"consul-network-segment": ""}
            assert list(found["Services"]) == ["consul"]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({}, "Must provide node"),
        ({"Node": "x"}, "Must provide address if SkipNodeUpdate is not set"),
        ({"Node": "x", "ID": "zz", "Address": "1.1.1.1"}, "Bad node ID: uuid string is wrong length"),
        (
            {"Node": "x", "Address": "1.1.1.1", "Service": {"ID": "a"}},
            "Must provide service name with ID",
        ),
        (
            {"Node": "x", "Address": "1.1.1.1", "Service": {"Service": "a", "Address": "0.0.0.0"}},
            "Invalid service address",
        ),
        (
            {"Node": "x", "Address": "1.1.1.1", "Service": {"Service": "a", "Meta": {"consul-x": "y"}}},
            "failed inserting service: Invalid Service Meta for node x and serviceID a: Couldn't load metadata "
            "pair 'consul-x': Key prefix 'consul-' is reserved for internal use",
        ),
        (
            {"Node": "x", "Address": "1.1.1.1", "Service": {"Kind": "connect-proxy", "Service": "a"}},
            "2 error(s) occurred:\n\n"
            "* Proxy.DestinationServiceName must be non-empty for Connect proxy services\n"
            "* Port must be set for a Connect proxy",
        ),
        (
            {"Node": "x", "Address": "1.1.1.1", "Check": {"Name": "foo2", "ServiceID": "nope"}},
            'failed inserting check: Missing service registration on node "x"',
        ),
        (
            {"Node": "x", "Address": "1.1.1.1", "Check": {"Node": "y", "Name": "foo3"}},
            'check node "y" does not match node "x"',
        ),
        (
            {"Node": "x", "Address": "1.1.1.1", "Check": {"Name": "c", "Status": "weird"}},
            'Bad check status "weird": it is one of passing, warning, critical',
        ),
        ([], "Request decode failed: '' expected a map"),
        (
            {"Node": 5},
            "Request decode failed: 'node' expected type 'string', got unconvertible type 'float64'",
        ),
        (
            {"Node": "x", "Address": "1.1.1.1", "Check": {"Name": "c", "Definition": {"Interval": "ten"}}},
            'Request decode failed: invalid "check.definition.interval": time: invalid duration "ten"',
        ),
    ],
)
def test_what_makes_no_sense_is_refused_and_changes_nothing(body: Any, text: str) -> None:
    async def scenario() -> None:
        documents = MemoryDocuments()
        async with api(documents=documents) as agent:
            before = await agent.get("/v1/health/state/any"), await agent.get("/v1/catalog/nodes")
            answer = await agent.client.put("/v1/catalog/register", json=body)
            assert (answer.status_code, answer.text) == (400, text)
            assert (await agent.get("/v1/health/state/any"), await agent.get("/v1/catalog/nodes")) == before
            assert not any(documents._records.values())

    asyncio.run(scenario())


def test_a_check_without_status_is_critical_and_takes_name_and_tags_of_its_service() -> None:
    async def scenario() -> None:
        async with api() as agent:
            await put(agent, "register", FAR)
            await put(
                agent,
                "register",
                {"Node": "far", "SkipNodeUpdate": True, "Check": {"Name": "late", "ServiceID": "db"}},
            )
            late = (await agent.get("/v1/health/checks/db"))[1]
            assert (late["CheckID"], late["Status"], late["ServiceTags"]) == ("late", "critical", ["a"])
            assert (await agent.get("/v1/health/service/db?passing=true")) == []

    asyncio.run(scenario())


def test_what_was_registered_is_there_after_a_restart_and_what_was_removed_is_not() -> None:
    async def scenario() -> None:
        documents = MemoryDocuments()
        async with api(documents=documents) as agent:
            await put(agent, "register", FAR)
            await put(agent, "register", SIDECAR)
            await put(agent, "register", FAR | {"Node": "Gone"})
            await put(agent, "register", FAR | {"Check": {"Name": "gone"}})
            await put(agent, "deregister", {"Node": "gone"})
            await put(agent, "deregister", {"Node": "far", "CheckID": "gone"})
            await put(agent, "deregister", {"Node": "far", "ServiceID": "db-p"})
            await put(agent, "deregister", {"Node": "never there"})
            paths = ("catalog/node/far", "health/node/far", "catalog/service/db")
            before = [plain(await agent.get(f"/v1/{path}")) for path in paths]
        async with api(documents=documents) as agent:
            after = [plain(await agent.get(f"/v1/{path}")) for path in paths]
            names = [node["Node"] for node in await agent.get("/v1/catalog/nodes")]
        assert after == before
        assert names == ["far", "vm"]

    asyncio.run(scenario())


def test_a_node_that_gets_another_name_takes_its_id_along() -> None:
    async def scenario() -> None:
        node_id = "11111111-2222-3333-4444-555555555555"
        documents = MemoryDocuments()
        async with api(documents=documents) as agent:
            await put(agent, "register", FAR | {"ID": node_id})
            await put(agent, "register", {"ID": node_id, "Node": "farther", "Address": "10.0.0.9"})
            stolen = await agent.client.put(
                "/v1/catalog/register", json={"ID": NODE.id, "Node": "thief", "Address": "10.0.0.9"}
            )
            assert stolen.status_code == 400
        async with api(documents=documents) as agent:
            names = [node["Node"] for node in await agent.get("/v1/catalog/nodes")]
            assert names == ["farther", "vm"]
            assert await agent.get("/v1/catalog/service/db") == []

    asyncio.run(scenario())


def test_a_record_that_cannot_be_understood_is_set_aside(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        documents = MemoryDocuments()
        async with api(documents=documents) as agent:
            await put(agent, "register", FAR)
        documents.put("catalog-service", '["far", "broken"]', b'{"node": "far", "service"')
        async with api(documents=documents) as agent:
            assert list((await agent.get("/v1/catalog/node/far"))["Services"]) == ["db"]
        assert '["far", "broken"]' in caplog.text
        assert list(documents.load("catalog-service.corrupt")) == [
            ('["far", "broken"]', b'{"node": "far", "service"')
        ]

    asyncio.run(scenario())


def test_a_change_that_cannot_be_stored_does_not_happen(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        documents = MemoryDocuments()
        async with api(documents=documents) as agent:
            await put(agent, "register", FAR)

            def full(changes: object) -> None:
                raise StorageError("the disk is full")

            monkeypatch.setattr(documents, "write", full)
            for what, body in (("register", SIDECAR), ("deregister", {"Node": "far"})):
                answer = await agent.client.put(f"/v1/catalog/{what}", json=body)
                assert (answer.status_code, answer.text) == (500, "the disk is full")
            assert list((await agent.get("/v1/catalog/node/far"))["Services"]) == ["db"]

    asyncio.run(scenario())


def test_the_agent_looks_after_its_own_record() -> None:
    """MP-CAT-011."""

    async def scenario() -> None:
        documents = MemoryDocuments()
        async with api(proxied("web"), documents=documents) as agent:
            before = plain(await agent.get("/v1/catalog/node/vm"))
            await put(agent, "deregister", {"Node": "vm", "ServiceID": "web-proxy"})
            assert await agent.get("/v1/catalog/connect/web") == []
            await put(agent, "register", FAR | {"Node": "vm", "Address": "10.9.9.9"})
            assert agent.calls == ["sync", "sync"]
            agent.feed.sync()
            assert plain(await agent.get("/v1/catalog/node/vm")) == before
            await put(agent, "deregister", {"Node": "vm"})
            assert [node["Node"] for node in await agent.get("/v1/catalog/nodes")] == []
            # What the agent says of itself meanwhile is lost, and comes back.
            agent.backend.catalog.put_check(Check(id="c", name="c", status=Status.PASSING))
            agent.backend.state.register(service("db"), from_file=False)
            agent.feed.sync()
            assert set((await agent.get("/v1/catalog/node/vm"))["Services"]) == {
                *before["Services"],
                "db",
            }
            assert {check["CheckID"] for check in await agent.get("/v1/health/node/vm")} == {
                "serfHealth",
                "service:web-proxy",
            }
            assert not any(documents._records.values())

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ("", 200, "leader"),
        ("?stale", 200, "stale"),
        ("?max_stale=5s", 200, "stale"),
        ("?consistent", 200, "consistent"),
        ("?stale&consistent", 400, "Cannot specify ?stale with ?consistent, conflicting semantics."),
        ("?cached&consistent", 400, "Cannot specify ?cached with ?consistent, conflicting semantics."),
        ("?max_stale=soon", 400, 'Invalid max_stale value "soon"'),
    ],
)
def test_how_consistent_an_answer_is(query: str, status: int, said: str) -> None:
    async def scenario() -> None:
        async with api() as agent:
            for path in ("catalog/nodes", "catalog/service/db", "health/state/any", "catalog/node/vm"):
                answer = await agent.client.get(f"/v1/{path}{query}")
                assert answer.status_code == status
                if status == 200:
                    assert answer.headers["X-Consul-Effective-Consistency"] == said
                else:
                    assert answer.text == said

    asyncio.run(scenario())


def test_cached_answers_say_so_where_the_original_has_a_cache() -> None:
    async def scenario() -> None:
        async with api() as agent:
            for path in (
                "catalog/service/db",
                "catalog/connect/db",
                "health/service/db",
                "health/connect/db",
            ):
                headers = (await agent.client.get(f"/v1/{path}?cached")).headers
                assert (headers["X-Cache"], headers["Age"]) == ("HIT", "0")
                assert headers["X-Consul-Effective-Consistency"] == "stale"
                assert "X-Cache" not in (await agent.client.get(f"/v1/{path}")).headers
            assert "X-Cache" not in (await agent.client.get("/v1/catalog/nodes?cached")).headers
            wrong = await agent.client.get("/v1/catalog/nodes", headers={"Cache-Control": "max-age=x"})
            assert (wrong.status_code, wrong.text) == (400, "Invalid Cache-Control header.")

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("catalog/node/", "Missing node name"),
        ("health/node/", "Missing node name"),
        ("health/checks/", "Missing service name"),
        ("health/state/", "Missing check state"),
    ],
)
def test_a_name_is_needed(path: str, text: str) -> None:
    async def scenario() -> None:
        async with api() as agent:
            answer = await agent.client.get(f"/v1/{path}")
            assert (answer.status_code, answer.text) == (400, text)

    asyncio.run(scenario())


def test_blocking_reads_of_nodes_and_states_wake() -> None:
    async def scenario() -> None:
        async with api() as agent:
            await put(agent, "register", FAR)
            for path, change in (
                ("catalog/node/far", SIDECAR),
                ("catalog/nodes", FAR | {"Address": "10.0.0.10"}),
                ("health/state/any", FAR | {"Check": {"Name": "n"}}),
                ("health/service/db", FAR | {"Check": {"Name": "n", "Status": "warning"}}),
                ("catalog/node/new", FAR | {"Node": "new"}),
            ):
                index = (await agent.client.get(f"/v1/{path}")).headers["X-Consul-Index"]
                waiting = asyncio.ensure_future(agent.client.get(f"/v1/{path}?index={index}&wait=60s"))
                while not agent.backend.watch.waiting:
                    await asyncio.sleep(0)
                await put(agent, "register", change)
                answer = await asyncio.wait_for(waiting, 10)
                assert int(answer.headers["X-Consul-Index"]) > int(index), path

    asyncio.run(scenario())
