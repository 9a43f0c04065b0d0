"""Checks, sidecars and maintenance over HTTP: what a real 1.4.3 agent answered to the same requests."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from reference.config.checks import CheckDefinition
from reference.config.model import ManagedProxy, ServiceDefinition
from tests.agent.defining import proxied, service
from tests.http.serving import Api, api

WEB = {
    "Name": "web",
    "Port": 80,
    "Tags": ["t"],
    "Weights": {"Passing": 5},
    "Checks": [
        {"TTL": "15s", "Status": "passing"},
        {"CheckID": "mine", "Name": "n", "TTL": "10s", "Notes": "x"},
        {"AliasService": "db", "Name": "ali"},
    ],
}
CHECK = {
    "Node": "vm",
    "Status": "critical",
    "Notes": "",
    "Output": "",
    "ServiceID": "web",
    "ServiceName": "web",
    "ServiceTags": ["t"],
    "Definition": {},
    "CreateIndex": 0,
    "ModifyIndex": 0,
}
AT_REST = {
    "Interval": "0s",
    "Timeout": "0s",
    "DeregisterCriticalServiceAfter": "0s",
    "HTTP": "",
    "Header": None,
    "Method": "",
    "TLSSkipVerify": False,
    "TCP": "",
}


async def put(agent: Api, path: str, body: Any = None) -> tuple[int, str]:
    answer = await agent.client.put(f"/v1/agent/{path}", **({} if body is None else {"json": body}))
    return answer.status_code, answer.text


async def text(agent: Api, path: str) -> tuple[int, str, str]:
    answer = await agent.client.get(f"/v1/agent/health/service/{path}")
    return answer.status_code, answer.headers["X-Consul-Reason"], answer.text.strip()


def test_checks_of_a_service_as_the_original_shows_them() -> None:
    async def scenario() -> None:
        async with api() as agent:
            assert await put(agent, "service/register", WEB) == (200, "")
            assert await agent.get("/v1/agent/checks") == {
                "service:web:1": {
                    **CHECK,
                    "CheckID": "service:web:1",
                    "Name": "Service 'web' check",
                    "Status": "passing",
                },
                "mine": {**CHECK, "CheckID": "mine", "Name": "n", "Notes": "x"},
                "service:web:3": {
                    **CHECK,
                    "CheckID": "service:web:3",
                    "Name": "ali",
                    "Status": "passing",
                    "Output": "No checks found.",
                },
            }
            shown = (await agent.get("/v1/agent/services"))["web"]
            assert shown["Weights"] == {"Passing": 5, "Warning": 0}
            (entry,) = await agent.get("/v1/health/service/web")
            assert [check["CheckID"] for check in entry["Checks"]] == [
                "serfHealth",
                "mine",
                "service:web:1",
                "service:web:3",
            ]
            assert entry["Service"]["Weights"] == {"Passing": 5, "Warning": 0}

    asyncio.run(scenario())


def test_a_check_by_itself_is_told_how_its_service_is() -> None:
    async def scenario() -> None:
        async with api(service("web", tags=("t",))) as agent:
            body = {"Name": "c", "ID": "cid", "TTL": "10s", "ServiceID": "web", "Notes": "hello"}
            assert await put(agent, "check/register", body) == (200, "")
            known = {**CHECK, "CheckID": "cid", "Name": "c", "Notes": "hello"}
            assert (await agent.get("/v1/agent/checks"))["cid"] == known
            for path, update, status, output in (
                ("pass/cid?note=fine", None, "passing", "fine"),
                ("warn/cid", None, "warning", ""),
                ("fail/cid?note=bad", None, "critical", "bad"),
                ("update/cid", {"Status": "passing", "Output": "o"}, "passing", "o"),
                ("update/cid", {"status": "warning"}, "warning", ""),
            ):
                assert await put(agent, f"check/{path}", update) == (200, "")
                told = (await agent.get("/v1/agent/checks"))["cid"]
                assert (told["Status"], told["Output"]) == (status, output)
                (shown,) = await agent.get("/v1/health/checks/web")
                assert shown["Status"] == status
            await put(agent, "check/update/cid", {"Status": "passing", "Output": "x" * 5000})
            told = (await agent.get("/v1/agent/checks"))["cid"]
            assert told["Output"] == "x" * 4096 + " ... (captured 4096 of 5000 bytes)"
            for _ in range(2):
                assert await put(agent, "check/deregister/cid") == (200, "")
            assert await agent.get("/v1/agent/checks") == {}

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("path", "body", "answer"),
    [
        ("check/register", {}, "Missing check name"),
        ("check/register", {"Name": "c"}, "Invalid check: TTL must be > 0 for TTL checks"),
        ("check/register", {"Name": "c", "TTL": "10s", "Status": "odd"}, "Bad check status"),
        ("check/register", {"Name": "c", "TTL": "10s", "ServiceID": "no"}, 'ServiceID "no" does not exist'),
        ("check/register", [], "Request decode failed: '' expected a map"),
        ("check/update/mine", {"Status": "odd"}, "Invalid check status: 'odd'"),
        ("check/update/mine", None, "Request decode failed: EOF"),
        ("check/pass/nope", None, 'CheckID "nope" does not have associated TTL'),
        ("check/pass/service:web:3", None, 'CheckID "service:web:3" does not have associated TTL'),
        ("check/pass/", None, 'CheckID "" does not have associated TTL'),
        ("check/deregister/", None, "CheckID missing"),
        ("check/deregister/service:p-proxy", None, "check ID service:p-proxy belongs to a managed proxy"),
        ("service/maintenance/web", None, "Missing value for enable"),
        ("service/maintenance/web?enable=x", None, 'Invalid value for enable: "x"'),
        ("service/maintenance/?enable=true", None, "Missing service ID"),
        ("maintenance", None, "Missing value for enable"),
        (
            "check/register",
            {"Name": "c", "Args": ["true"], "Interval": "10s"},
            "Scripts are disabled on this agent from remote calls; to enable, configure 'enable_script_checks' to true",
        ),
    ],
)
def test_mistakes_are_answered_with_the_originals_words(path: str, body: Any, answer: str) -> None:
    async def scenario() -> None:
        async with api(proxied("p")) as agent:
            await put(agent, "service/register", WEB)
            before = await agent.get("/v1/agent/checks")
            status, said = await put(agent, path, body)
            assert status == 400
            assert said.startswith(answer)
            assert await agent.get("/v1/agent/checks") == before

    asyncio.run(scenario())


def test_health_of_services_for_load_balancers() -> None:
    """MP-CAT-012."""

    async def scenario() -> None:
        async with api() as agent:
            await put(agent, "service/register", {"Name": "web", "Check": {"TTL": "1m", "Status": "passing"}})
            body = {"Name": "web", "ID": "web2", "Check": {"TTL": "1m", "Status": "warning"}}
            await put(agent, "service/register", body)
            assert await text(agent, "id/web?format=text") == (200, "passing", "passing")
            assert await text(agent, "id/web2?format=text") == (429, "warning", "warning")
            assert await text(agent, "name/web?format=text") == (429, "warning", "warning")
            await put(agent, "check/fail/service:web2")
            assert await text(agent, "name/web?format=text") == (503, "critical", "critical")
            assert await text(agent, "id/none?format=text") == (
                404,
                "ServiceId none not found",
                "ServiceId none not found",
            )
            assert await text(agent, "name/none") == (404, "ServiceName none Not Found", "[]")
            found = (await agent.client.get("/v1/agent/health/service/name/web")).json()
            assert [each["AggregatedStatus"] for each in found] == ["passing", "critical"]
            assert found[0]["Service"]["ID"] == "web"
            (check,) = found[0]["Checks"]
            assert (check["Definition"], check["ServiceTags"]) == (AT_REST, None)
            plain = {"Accept": "text/plain, */*"}
            answer = await agent.client.get("/v1/agent/health/service/id/web", headers=plain)
            assert (answer.text, answer.headers["content-type"].partition(";")[0]) == (
                "passing",
                "text/plain",
            )
            await put(agent, "check/register", {"Name": "node", "TTL": "1m"})
            assert (await text(agent, "id/web?format=text"))[0] == 503, (
                "the node's checks count for everybody"
            )
            missing = await agent.client.get("/v1/agent/health/service/name/")
            assert (missing.status_code, missing.text) == (400, "Bad request: Missing service Name")

    asyncio.run(scenario())


def test_maintenance_of_a_service() -> None:
    async def scenario() -> None:
        async with api(service("web", tags=("t",)), service("db")) as agent:
            for reason in ("because", "another"):
                path = f"service/maintenance/web?enable=true&reason={reason}"
                assert await put(agent, path) == (200, "")
            assert await agent.get("/v1/agent/checks") == {
                "_service_maintenance:web": {
                    **CHECK,
                    "CheckID": "_service_maintenance:web",
                    "Name": "Service Maintenance Mode",
                    "Notes": "because",
                }
            }
            assert await text(agent, "id/web?format=text") == (503, "maintenance", "maintenance")
            assert await agent.get("/v1/health/service/web?passing") == []
            assert len(await agent.get("/v1/health/service/db?passing")) == 1
            assert await put(agent, "service/maintenance/web?enable=false") == (200, "")
            assert await agent.get("/v1/agent/checks") == {}
            for enable in ("true", "false"):
                assert await put(agent, f"service/maintenance/nope?enable={enable}") == (
                    404,
                    'No service registered with ID "nope"',
                )

    asyncio.run(scenario())


def test_maintenance_of_the_node() -> None:
    async def scenario() -> None:
        async with api(proxied("web")) as agent:
            assert await put(agent, "maintenance?enable=true") == (200, "")
            check = (await agent.get("/v1/agent/checks"))["_node_maintenance"]
            assert (check["Name"], check["ServiceID"]) == ("Node Maintenance Mode", "")
            assert "no reason was provided" in check["Notes"]
            assert await text(agent, "id/web?format=text") == (503, "maintenance", "maintenance")
            assert await agent.get("/v1/health/connect/web?passing") == []
            assert await put(agent, "maintenance?enable=0") == (200, "")
            assert "_node_maintenance" not in await agent.get("/v1/agent/checks")

    asyncio.run(scenario())


SIDECAR = {
    "Kind": "connect-proxy",
    "ID": "app-sidecar-proxy",
    "Service": "app-sidecar-proxy",
    "Tags": [],
    "Meta": {"a": "b"},
    "Port": 21000,
    "Address": "",
    "Weights": {"Passing": 1, "Warning": 1},
    "EnableTagOverride": False,
    "ProxyDestination": "app",
    "Proxy": {
        "DestinationServiceName": "app",
        "DestinationServiceID": "app",
        "LocalServiceAddress": "127.0.0.1",
        "LocalServicePort": 9000,
        "Upstreams": [],
    },
}


def test_a_sidecar_comes_with_its_service_and_goes_with_it() -> None:
    """MP-SIDE-001, MP-SIDE-004."""

    async def scenario() -> None:
        async with api() as agent:
            body = {"Name": "app", "Port": 9000, "Meta": {"a": "b"}, "Connect": {"SidecarService": {}}}
            assert await put(agent, "service/register", body) == (200, "")
            assert (await agent.get("/v1/agent/services"))["app-sidecar-proxy"] == SIDECAR
            single = await agent.get("/v1/agent/service/app-sidecar-proxy")
            assert single.pop("ContentHash")
            assert single == {
                key: None if key == "Tags" else value
                for key, value in SIDECAR.items()
                if key != "ProxyDestination"
            }
            names = {key: check["Name"] for key, check in (await agent.get("/v1/agent/checks")).items()}
            assert names == {
                "service:app-sidecar-proxy:1": "Connect Sidecar Listening",
                "service:app-sidecar-proxy:2": "Connect Sidecar Aliasing app",
            }
            (found,) = await agent.get("/v1/catalog/connect/app")
            assert (found["ServiceID"], found["ServicePort"]) == ("app-sidecar-proxy", 21000)
            again = {"Name": "app", "Port": 9001, "Connect": {"SidecarService": {}}}
            await put(agent, "service/register", again)
            shown = (await agent.get("/v1/agent/services"))["app-sidecar-proxy"]
            assert (shown["Port"], shown["Proxy"]["LocalServicePort"]) == (21000, 9001)
            await put(agent, "service/register", {"Name": "app", "Port": 9000})
            assert "app-sidecar-proxy" in await agent.get("/v1/agent/services"), (
                "nobody said that it should go"
            )
            assert await put(agent, "service/deregister/app") == (200, "")
            assert await agent.get("/v1/agent/services") == {}
            assert await agent.get("/v1/agent/checks") == {}
            assert await agent.get("/v1/catalog/connect/app") == []

    asyncio.run(scenario())


def test_a_sidecar_keeps_what_it_says_itself() -> None:
    async def scenario() -> None:
        async with api() as agent:
            sidecar = {
                "name": "mine",
                "port": 77,
                "address": "10.0.0.1",
                "tags": ["x"],
                "meta": {"k": "v"},
                "check": {"ttl": "5s"},
                "proxy": {
                    "destination_service_name": "other",
                    "local_service_address": "127.0.0.9",
                    "config": {"a_b": 1},
                    "upstreams": [{"destination_name": "db", "local_bind_port": 5}],
                },
            }
            body = {"name": "app", "port": 9, "connect": {"sidecar_service": sidecar}}
            assert await put(agent, "service/register", body) == (200, "")
            shown = (await agent.get("/v1/agent/services"))["app-sidecar-proxy"]
            assert [shown[key] for key in ("Service", "Port", "Address", "Tags", "Meta")] == [
                *("mine", 77, "10.0.0.1", ["x"], {"k": "v"})
            ]
            assert shown["Proxy"] == {
                "DestinationServiceName": "other",
                "DestinationServiceID": "app",
                "LocalServiceAddress": "127.0.0.9",
                "LocalServicePort": 9,
                "Config": {"a_b": 1},
                "Upstreams": [{"DestinationType": "service", "DestinationName": "db", "LocalBindPort": 5}],
            }
            assert list(await agent.get("/v1/agent/checks")) == ["service:app-sidecar-proxy"]

    asyncio.run(scenario())


def test_a_service_may_have_a_managed_proxy_and_a_sidecar() -> None:
    """MP-CFG-027."""

    async def scenario() -> None:
        both = ServiceDefinition(
            id="mng", name="mng", port=5, proxy=ManagedProxy(), sidecar=ServiceDefinition(id="", name="")
        )
        async with api(both) as agent:
            assert set(await agent.get("/v1/agent/services")) == {"mng", "mng-proxy", "mng-sidecar-proxy"}
            assert await put(agent, "service/deregister/mng") == (200, "")
            assert await agent.get("/v1/agent/services") == {}

    asyncio.run(scenario())


def test_no_port_is_left_for_a_sidecar() -> None:
    async def scenario() -> None:
        async with api() as agent:
            local = agent.backend.state
            local.settings = replace(local.settings, sidecar_min_port=24830, sidecar_max_port=24830)
            body = {"Name": "a", "Port": 1, "Connect": {"SidecarService": {}}}
            assert (await put(agent, "service/register", body))[0] == 200
            status, said = await put(agent, "service/register", {**body, "Name": "b"})
            assert (status, said) == (
                400,
                "Bad request: Invalid SidecarService: no port provided for sidecar_service and none left in the "
                "configured range [24830, 24830]",
            )
            assert set(await agent.get("/v1/agent/services")) == {"a", "a-sidecar-proxy"}

    asyncio.run(scenario())


def test_native_and_unmanaged_proxies_are_found_in_the_mesh() -> None:
    async def scenario() -> None:
        async with api() as agent:
            native = {"Name": "nat", "Port": 9000, "connect": {"native": True}}
            assert await put(agent, "service/register", native) == (200, "")
            old = {"Name": "old", "Kind": "connect-proxy", "Port": 5, "ProxyDestination": "nat"}
            assert await put(agent, "service/register", old) == (200, "")
            found = await agent.get("/v1/catalog/connect/nat")
            assert [entry["ServiceID"] for entry in found] == ["nat", "old"]
            assert found[0]["ServiceConnect"] == {"Native": True}
            assert (await agent.get("/v1/agent/services"))["old"]["Proxy"] == {
                "DestinationServiceName": "nat",
                "Upstreams": [],
            }

    asyncio.run(scenario())


def test_checks_in_a_definition_of_a_file() -> None:
    async def scenario() -> None:
        checked = service("web", checks=(CheckDefinition(ttl=60, status="passing"),))
        async with api(checked) as agent:
            assert list(await agent.get("/v1/agent/checks")) == ["service:web"]
            assert len(await agent.get("/v1/health/service/web?passing")) == 1

    asyncio.run(scenario())
