"""Discovery: how proxies are found at the agent, in the catalog and by health."""

from __future__ import annotations

from typing import Any

from conformance.checks._situations import HEALTHY_AT_ONCE, accepted, connects, only
from conformance.plugin.lab import AgentUnderTest, Lab
from conformance.plugin.marks import requirement

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
        assert connects(port), "the proxy is said to be passing, yet nothing listens on its port"
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


def _known(agent: AgentUnderTest, name: str) -> list[Any]:
    return list(accepted(agent.api.get(f"/v1/health/connect/{name}")).json)


def _passing(agent: AgentUnderTest, name: str) -> list[Any]:
    return list(accepted(agent.api.get(f"/v1/health/connect/{name}", query={"passing": "1"})).json)
