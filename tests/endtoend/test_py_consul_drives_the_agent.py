"""A client that knows nothing of this project, py-consul as it is on PyPI, does its work with the agent."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import consul
import pytest

from reference.mesh.certificates import key_pem, new_key
from tests.agents import SLEEP, Agent, running_agent
from tests.waiting import eventually

MASTER = "5e7a1f0c-0000-4000-8000-000000000001"


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Agent]:
    web = {"name": "web", "port": 8080, "tags": ["v1"], "connect": {"proxy": {"command": SLEEP}}}
    with running_agent(tmp_path, web) as made:
        yield made


@pytest.fixture
def client(running: Agent) -> consul.Consul:
    return consul.Consul(port=running.port)


def test_agent_and_health(client: consul.Consul) -> None:
    assert client.agent.self()["Member"]["Name"]
    assert client.status.leader()
    assert client.agent.service.register(
        "db",
        service_id="db1",
        port=5432,
        tags=["primary"],
        meta={"shard": "1"},
        check=consul.Check.ttl("10m"),
    )
    assert client.agent.services()["db1"]["Meta"] == {"shard": "1"}
    assert client.agent.services()["web-proxy"]["Kind"] == "connect-proxy"
    assert client.health.service("db", passing=True)[1] == []
    assert client.agent.check.ttl_pass("service:db1", notes="ready")
    index, (entry,) = client.health.service("db", passing=True)
    assert entry["Service"]["ID"] == "db1"
    assert {check["Status"] for check in entry["Checks"]} == {"passing"}
    assert client.agent.check.ttl_fail("service:db1")
    later, critical = client.health.service("db", passing=True, index=index, wait="10s")
    assert (later > index, critical) == (True, [])
    assert [check["ServiceID"] for check in client.health.state("critical")[1]].count("db1") == 1
    assert client.agent.service.maintenance("db1", True, "moving")
    assert "moving" in {check["Notes"] for check in client.agent.checks().values()}
    assert client.agent.service.maintenance("db1", False)
    assert client.agent.service.deregister("db1")
    assert "db1" not in client.agent.services()


def test_catalog(client: consul.Consul) -> None:
    assert client.catalog.datacenters() == ["dc1"]
    assert client.catalog.register(
        "elsewhere",
        "192.0.2.7",
        service={"ID": "cache1", "Service": "cache", "Port": 11211, "Tags": ["old"]},
        check={"Name": "alive", "Status": "passing", "ServiceID": "cache1"},
    )
    nodes = {node["Node"]: node["Address"] for node in client.catalog.nodes()[1]}
    assert nodes["elsewhere"] == "192.0.2.7"
    assert client.catalog.nodes(node_meta={"rack": "7"})[1] == []
    (entry,) = client.catalog.service("cache", tag="old")[1]
    assert entry["ServicePort"] == 11211
    assert set(client.catalog.node("elsewhere")[1]["Services"]) == {"cache1"}
    (proxy,) = client.catalog.connect("web")[1]
    assert proxy["ServiceProxyDestination"] == "web"
    assert client.catalog.deregister("elsewhere")
    assert client.catalog.service("cache")[1] == []


def test_intentions(client: consul.Consul) -> None:
    intentions = client.connect.intentions
    assert intentions.upsert("db", "web", action="deny", description="not yet")
    assert intentions.read("db", "web")["Description"] == "not yet"
    assert [each["SourceName"] for each in intentions.match("destination", "web")["web"]] == ["db"]
    assert intentions.check("db", "web") is False
    assert intentions.upsert("db", "web", action="allow")
    assert intentions.check("db", "web") is True
    assert len(intentions.list()) == 1
    assert intentions.delete("db", "web")
    assert intentions.list() == []


def test_prepared_queries(client: consul.Consul) -> None:
    made = client.query.create(
        "web", name="near-", tags=["v1"], ttl="10s", onlypassing=False, nearestn=1, regexp=""
    )
    (shown,) = client.query.get(made["ID"])
    assert (shown["Name"], shown["DNS"]["TTL"]) == ("near-", "10s")
    assert shown["Service"]["Failover"]["NearestN"] == 1
    answer = client.query.execute("near-web", near="_agent", limit=5)
    assert [node["Service"]["ID"] for node in answer["Nodes"]] == ["web"]
    assert client.query.explain("near-web")["Query"]["ID"] == made["ID"]
    assert client.query.update(made["ID"], name="near-", service="${name.suffix}")
    assert [each["ID"] for each in client.query.list()] == [made["ID"]]
    assert client.query.explain("near-db")["Query"]["Service"]["Service"] == "db"
    assert client.query.delete(made["ID"])
    # What the client makes of 404.
    assert client.query.execute("near-web") is None


def test_the_authority(client: consul.Consul) -> None:
    before = client.connect.ca.roots()
    assert len(before["Roots"]) == 1
    config = {**client.connect.ca.configuration()["Config"], "PrivateKey": key_pem(new_key())}
    assert client.connect.ca.update_configuration("consul", config)
    after = client.connect.ca.roots()
    assert after["ActiveRootID"] != before["ActiveRootID"]
    assert after["TrustDomain"] == before["TrustDomain"]
    shown = client.connect.ca.configuration()["Config"]
    assert shown == {**config, "PrivateKey": "hidden"}
    assert client.connect.ca.update_configuration("consul", {**shown, "LeafCertTTL": "5h"})
    assert client.connect.ca.roots()["ActiveRootID"] == after["ActiveRootID"]
    leaf = client.agent.connect.ca.leaf("web")
    assert "-----BEGIN CERTIFICATE-----" in leaf["CertPEM"]
    assert client.agent.connect.ca.roots() == client.connect.ca.roots()


def test_access_control(tmp_path: Path) -> None:
    options = {"acl": {"enabled": True, "default_policy": "deny", "tokens": {"master": MASTER}}}
    with running_agent(tmp_path, token=MASTER, **options) as running:
        root = consul.Consul(port=running.port, token=MASTER)
        policy = root.acl.policy.create("read-web", rules={"service": {"web": {"policy": "read"}}})
        token = root.acl.token.create(policies_id=[policy["ID"]], description="for web")
        reader = consul.Consul(port=running.port, token=token["SecretID"])
        assert root.agent.service.register("web", port=8080)
        assert root.agent.service.register("db", port=5432)
        eventually(lambda: len(root.catalog.services()[1]) == 3, "both services are in the catalog")
        assert set(reader.agent.services()) == {"web"}
        assert set(reader.catalog.services()[1]) == {"web"}
        with pytest.raises(consul.ACLPermissionDenied):
            reader.agent.service.register("web", port=1)
        with pytest.raises(consul.ACLPermissionDenied):
            consul.Consul(port=running.port, token=str(uuid.uuid4())).agent.services()
        assert reader.acl.token.read_self()["Description"] == "for web"
        assert root.acl.token.delete(token["AccessorID"])
        with pytest.raises(consul.ACLPermissionDenied):
            reader.agent.services()
