"""Discovery by DNS: how a resolver finds the proxies of a service."""

from __future__ import annotations

from conformance.checks._situations import HEALTHY_AT_ONCE, IDLE, accepted, connects, deregister, only
from conformance.instruments.dns import DnsAnswer, DnsClient, DnsRecord
from conformance.plugin.lab import AgentUnderTest, Lab
from conformance.plugin.marks import requirement


@requirement("discovery/dns/01")
def check_dns_names_the_listening_proxy(lab: Lab) -> None:
    """Start an agent with service ``redis`` and the default proxy, and ask DNS for ``redis.connect.consul``.

    As soon as there is an SRV record, it carries the port of the proxy, which accepts connections, and its target
    has the agent's address; the name itself has that address too, by UDP and by TCP. Source: document, Minimal
    Configuration.
    """
    agent = lab.agent(definitions=[lab.service("redis", proxy={})])
    resolver = _resolver(lab, agent)
    port = agent.services()["redis-proxy"]["Port"]

    def located() -> DnsAnswer | None:
        answer = resolver.ask("redis.connect.consul", "SRV")
        return answer if answer.answers else None

    answer = lab.until("check_passes", located, what="DNS names the proxy of redis")
    assert answer is not None
    assert connects(port), "DNS names the proxy, yet nothing listens on its port"
    _, _, named, target = only(answer.data("SRV")).split()
    assert int(named) == port
    addresses = [record.data for record in answer.additional if (record.name, record.kind) == (target, "A")]
    assert only(addresses or resolver.ask(target).data("A")) == "127.0.0.1"
    for transport in ("udp", "tcp"):
        assert resolver.ask("redis.connect.consul", transport=transport).data("A") == ["127.0.0.1"]


@requirement("discovery/dns/01")
def check_dns_leaves_out_a_deaf_proxy(lab: Lab) -> None:
    """Start an agent with a custom proxy that never listens, and ask DNS for its service's Connect name.

    There are no records, although the plain service has some. Source: document, Minimal Configuration.
    """
    agent = lab.agent(definitions=[lab.service("web", proxy={"command": IDLE})])
    agent.proxy("web-proxy")
    resolver = _resolver(lab, agent)
    lab.until(
        "registration", lambda: resolver.ask("web.service.consul").data("A"), what="DNS knows the service web"
    )
    lab.holds(
        "blink",
        lambda: not resolver.ask("web.connect.consul", "SRV").answers,
        what="DNS does not know the deaf proxy of web",
    )


@requirement("discovery/dns/01")
def check_dns_forgets_a_proxy_that_is_gone(lab: Lab) -> None:
    """Start an agent with a custom proxy whose health nobody looks at, have DNS find it, and deregister its service.

    There are no records any more. Source: document, Minimal Configuration and Lifecycle.
    """
    proxy = {"command": IDLE, "config": HEALTHY_AT_ONCE}
    agent = lab.agent(definitions=[lab.service("web", proxy=proxy)])
    resolver = _resolver(lab, agent)

    def located() -> tuple[DnsRecord, ...]:
        return resolver.ask("web.connect.consul", "SRV").answers

    lab.until("registration", located, what="DNS names the proxy of web")
    accepted(deregister(agent, "web"))
    lab.until("registration", lambda: not located(), what="DNS has forgotten the proxy of web")


def _resolver(lab: Lab, agent: AgentUnderTest) -> DnsClient:
    return DnsClient(port=agent.dns_port, history=lab.history, timeout=lab.budget("http"))
