"""Discovery: how proxies are found at the agent, in the catalog and by health."""

from __future__ import annotations

import socket
from typing import Any

from conformance.checks._situations import HEALTHY_AT_ONCE, accepted, connects, end, only
from conformance.instruments.dns import DnsClient
from conformance.plugin.lab import AgentUnderTest, Lab
from conformance.plugin.marks import requirement
from conformance.plugin.waits import CheckFailure

#: A command that never listens: its proxy must not count as healthy.
DEAF = ["/bin/sleep", "600"]


@requirement("discovery/agent/01")
def check_proxy_service_of_the_agent(lab: Lab) -> None:
    """Start an agent with service ``web`` and a managed proxy, and list the agent's services.

    ``web-proxy`` is there, of kind ``connect-proxy``, with destination ``web``. Source: document, Minimal
    Configuration.
    """
    agent = lab.agent(definitions=[lab.service("web", proxy={"command": DEAF})])
    record = agent.services()["web-proxy"]
    assert record["Service"] == "web-proxy"
    assert record["Kind"] == "connect-proxy"
    assert record["Proxy"]["DestinationServiceName"] == "web"


@requirement("discovery/agent/02")
def check_instances_have_their_own_proxies(lab: Lab) -> None:
    """Define two instances of service ``web`` with ids of their own and a managed proxy each.

    Proxy services ``<id>-proxy`` share the name ``web-proxy``, and both processes run. Source: catalogue.
    """
    agent = lab.agent(
        definitions=[lab.service("web", id=name, proxy={"command": DEAF}) for name in ("first", "second")]
    )
    services = agent.services()
    for proxy_id in ("first-proxy", "second-proxy"):
        assert services[proxy_id]["Service"] == "web-proxy"
        assert services[proxy_id]["Proxy"]["DestinationServiceName"] == "web"
    assert services["first-proxy"]["Port"] != services["second-proxy"]["Port"]
    assert agent.proxy("first-proxy") != agent.proxy("second-proxy")


@requirement("discovery/agent/03")
def check_services_show_the_effective_proxy(lab: Lab) -> None:
    """Start an agent with a managed proxy that has command, config and an upstream, and list the services.

    The entry of ``web`` shows them under ``Connect.Proxy``, with the execution mode. Source: catalogue.
    """
    upstreams = [{"destination_name": "redis", "local_bind_port": 1234}]
    proxy = {"command": DEAF, "config": {"foo": "bar"}, "upstreams": upstreams}
    agent = lab.agent(definitions=[lab.service("web", proxy=proxy)])
    shown = agent.services()["web"]["Connect"]["Proxy"]
    assert shown["ExecMode"] == "daemon"
    assert shown["Command"] == DEAF
    assert shown["Config"]["foo"] == "bar"
    assert shown["Upstreams"][0]["DestinationName"] == "redis"


@requirement("discovery/agent/04")
def check_proxy_service_by_id(lab: Lab) -> None:
    """Read the proxy service by its id at the agent, and an id that nobody has.

    The first names destination and application, the second is answered 404. Source: catalogue.
    """
    agent = lab.agent(definitions=[lab.service("web", port=8080, proxy={"command": DEAF})])
    record = accepted(agent.api.get("/v1/agent/service/web-proxy")).json
    assert record["Kind"] == "connect-proxy"
    assert record["Port"] == agent.services()["web-proxy"]["Port"]
    assert record["Proxy"]["DestinationServiceID"] == "web"
    assert record["Proxy"]["LocalServicePort"] == 8080
    assert agent.api.get("/v1/agent/service/nobody").status == 404


@requirement("discovery/agent/05")
def check_proxy_service_is_no_copy(lab: Lab) -> None:
    """Define services with tags, meta and a managed proxy: one proxy with a ``bind_address``, the other without.

    Neither proxy service has the tags or the meta of its service. The first has the address, the second has none, so
    that the address of the node counts. Source: catalogue.
    """
    described: dict[str, Any] = {"tags": ["primary"], "meta": {"colour": "green"}}
    bound = {"command": DEAF, "config": {"bind_address": "127.0.0.1"}}
    agent = lab.agent(
        definitions=[
            lab.service("web", proxy={"command": DEAF}, **described),
            lab.service("redis", proxy=bound, **described),
        ]
    )
    services = agent.services()
    assert services["web"]["Tags"] == ["primary"]
    for proxy_id, address in (("web-proxy", ""), ("redis-proxy", "127.0.0.1")):
        record = services[proxy_id]
        assert (record.get("Tags") or [], record.get("Meta") or {}) == ([], {}), proxy_id
        assert record["Address"] == address


@requirement("discovery/catalog/01")
def check_catalog_finds_the_proxy(lab: Lab) -> None:
    """Start an agent with service ``web`` and a managed proxy, and ask the catalog for Connect-capable ``web``.

    It answers with ``web-proxy`` and its port; for a name without a proxy it answers with nothing.
    Source: document, Minimal Configuration.
    """
    agent = lab.agent(definitions=[lab.service("web", proxy={"command": DEAF}), lab.service("plain")])
    entry = only(
        lab.until(
            "registration",
            lambda: accepted(agent.api.get("/v1/catalog/connect/web")).json,
            what="the catalog knows the proxy of web",
        )
    )
    assert entry["ServiceID"] == "web-proxy"
    assert entry["ServicePort"] == agent.services()["web-proxy"]["Port"]
    assert accepted(agent.api.get("/v1/catalog/connect/plain")).json == []


@requirement("discovery/catalog/02")
def check_upstreams_are_registered_centrally(lab: Lab) -> None:
    """Start an agent with a managed proxy that has an upstream, and read its record in the catalog.

    The upstream is there. Source: document, Upstream Configuration (Deprecation Note).
    """
    upstreams = [{"destination_name": "redis", "local_bind_port": 1234}]
    agent = lab.agent(definitions=[lab.service("web", proxy={"command": DEAF, "upstreams": upstreams})])
    record = only(
        lab.until(
            "registration",
            lambda: accepted(agent.api.get("/v1/catalog/service/web-proxy")).json,
            what="the catalog has the record",
        )
    )
    shown = [
        (each["DestinationName"], each["LocalBindPort"])
        for each in record["ServiceProxy"].get("Upstreams") or []
    ]
    assert shown == [("redis", 1234)], f"the record shows the upstreams {shown}"


@requirement("discovery/health/01")
def check_health_passes_once_it_listens(lab: Lab) -> None:
    """Start an agent with service ``redis`` and the default proxy, and ask health for passing, Connect-capable ones.

    Whenever the proxy is among them, its port accepts connections; and it gets there. Source: document, Minimal
    Configuration.
    """
    agent = lab.agent(definitions=[lab.service("redis", proxy={})])
    port = agent.services()["redis-proxy"]["Port"]

    def passes() -> bool:
        if not (entries := _passing(agent, "redis")):
            return False
        if not connects(port):
            raise CheckFailure("the proxy is said to be passing, yet nothing listens on its port")
        return bool(entries[0]["Service"]["ID"] == "redis-proxy" and entries[0]["Service"]["Port"] == port)

    lab.until("check_passes", passes, what="the proxy of redis is passing")


@requirement("discovery/health/02")
def check_deaf_proxy_stays_critical(lab: Lab) -> None:
    """Start an agent with a custom proxy that never listens.

    Its check ``service:web-proxy`` is critical and health knows the proxy, but not as passing. Source: catalogue.
    """
    agent = lab.agent(definitions=[lab.service("web", proxy={"command": DEAF})])
    agent.proxy("web-proxy")
    lab.until("registration", lambda: _known(agent, "web"), what="health knows the proxy of web")
    lab.holds("blink", lambda: not _passing(agent, "web"), what="the proxy is not passing")
    assert agent.checks()["service:web-proxy"]["Status"] == "critical"


@requirement("discovery/health/03")
def check_disabled_check(lab: Lab) -> None:
    """Set ``config.disable_tcp_check`` of a managed proxy to true.

    The proxy has no check and is passing. Source: catalogue.
    """
    agent = lab.agent(definitions=[lab.service("web", proxy={"command": DEAF, "config": HEALTHY_AT_ONCE})])
    assert "service:web-proxy" not in agent.checks()
    lab.until("registration", lambda: _passing(agent, "web"), what="the proxy without a check is passing")


@requirement("discovery/health/04")
def check_where_the_check_looks(lab: Lab) -> None:
    """Give one managed proxy a ``tcp_check_address`` of 127.0.0.2 and another a ``bind_address`` of 0.0.0.0.

    The checks of both pass, by what listens on their ports at 127.0.0.2 and at 127.0.0.1. Source: catalogue.
    """
    first, second = lab.port(), lab.port()
    configs = {
        "a": {"bind_port": first, "tcp_check_address": "127.0.0.2"},
        "b": {"bind_port": second, "bind_address": "0.0.0.0"},
    }
    lab.use(socket.create_server(("127.0.0.2", first)))
    lab.use(socket.create_server(("127.0.0.1", second)))
    agent = lab.agent(
        definitions=[
            lab.service(name, proxy={"command": DEAF, "config": config}) for name, config in configs.items()
        ]
    )

    def both_pass() -> bool:
        checks = agent.checks()
        return all(checks[f"service:{name}-proxy"]["Status"] == "passing" for name in configs)

    lab.until("check_passes", both_pass, what="both checks pass")


@requirement("discovery/health/05")
def check_health_by_id(lab: Lab) -> None:
    """Ask the agent for the health of a managed proxy that does not listen, and of one without a check, by their ids.

    The first is answered 503, the second 200, and an id that nobody has 404. Source: catalogue.
    """
    agent = lab.agent(
        definitions=[
            lab.service("web", proxy={"command": DEAF}),
            lab.service("redis", proxy={"command": DEAF, "config": HEALTHY_AT_ONCE}),
        ]
    )
    path = "/v1/agent/health/service/id"
    found = {
        name: agent.api.get(f"{path}/{name}").status for name in ("web-proxy", "redis-proxy", "nobody-proxy")
    }
    assert found == {"web-proxy": 503, "redis-proxy": 200, "nobody-proxy": 404}


@requirement("discovery/health/06", takes=5)
def check_who_listens_no_more_is_critical(lab: Lab) -> None:
    """Listen in the place of a proxy that does not until its check passes, then close the port and kill the proxy.

    Its check becomes critical, and neither health nor DNS name it. Source: document, Minimal Configuration.
    """
    port = lab.port()
    with socket.create_server(("127.0.0.1", port)):
        agent = lab.agent(
            definitions=[lab.service("web", proxy={"command": DEAF, "config": {"bind_port": port}})]
        )
        lab.until("check_passes", lambda: _passing(agent, "web"), what="the proxy is passing")
    end(agent.proxy("web-proxy"))
    resolver = DnsClient(port=agent.dns_port, history=lab.history, timeout=lab.budget("http"))

    def gone() -> bool:
        assert agent.checks()["service:web-proxy"]["Status"] == "critical"
        return not _passing(agent, "web") and not resolver.ask("web.connect.consul", "SRV").answers

    lab.until("check_passes", gone, what="the proxy is critical, and found by nobody")


def _known(agent: AgentUnderTest, name: str) -> list[Any]:
    return list(accepted(agent.api.get(f"/v1/health/connect/{name}")).json)


def _passing(agent: AgentUnderTest, name: str) -> list[Any]:
    return list(accepted(agent.api.get(f"/v1/health/connect/{name}", query={"passing": "1"})).json)


@requirement("discovery/repair/01", takes=5)
def check_record_is_put_back(lab: Lab) -> None:
    """Remove the record of a managed proxy from the catalog alone, leaving the agent's.

    The agent puts it back. Source: catalogue (anti-entropy).
    """
    agent = lab.agent(definitions=[lab.service("web", proxy={"command": DEAF})])

    def listed() -> list[Any]:
        return [entry["ServiceID"] for entry in accepted(agent.api.get("/v1/catalog/connect/web")).json]

    lab.until("registration", lambda: listed() == ["web-proxy"], what="the catalog has the record")
    node = only(accepted(agent.api.get("/v1/catalog/connect/web")).json)["Node"]
    accepted(agent.api.put("/v1/catalog/deregister", {"Node": node, "ServiceID": "web-proxy"}))
    lab.until("catalog_repair", lambda: listed() == ["web-proxy"], what="the record is put back")
