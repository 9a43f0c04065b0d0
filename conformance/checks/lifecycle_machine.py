"""Lifecycle, the machine: what happens to agent and proxies at the same moment."""

from __future__ import annotations

from conformance.checks._situations import IDLE, converse, mesh, recorded, token_of
from conformance.instruments.echo import EchoServer
from conformance.plugin.lab import Lab
from conformance.plugin.marks import requirement


@requirement("lifecycle/machine/01")
def check_power_cut(lab: Lab) -> None:
    """Kill an agent and its two proxies at the same moment, and start the agent. In a container the pids begin anew.

    One process of each proxy runs within the budget of a start, with the token and the port of before.
    Source: hardening; the pids of the snapshot are then nobody's, or somebody else's.
    """
    names = ("web", "redis")
    agent = lab.agent(definitions=[lab.service(name, proxy={"command": IDLE}) for name in names])
    before = {name: agent.proxy(f"{name}-proxy") for name in names}
    tokens = {name: token_of(proxy) for name, proxy in before.items()}
    ports = {name: agent.services()[f"{name}-proxy"]["Port"] for name in names}
    recorded(lab, agent, *before.values())
    lab.lose_power()
    agent.start()
    after = {name: agent.proxy(f"{name}-proxy", other_than=before[name]) for name in names}
    lab.holds("quiet", lambda: len(agent.proxies()) == len(names), what="each proxy has one process")
    assert {name: token_of(proxy) for name, proxy in after.items()} == tokens
    assert {name: agent.services()[f"{name}-proxy"]["Port"] for name in names} == ports


@requirement("lifecycle/machine/02")
def check_standstill(lab: Lab) -> None:
    """Stop all processes of a pair that carries a connection for some seconds, and have them go on.

    The agent answers, both proxies are the same processes and stay so, and the connection carries bytes as before.
    Source: hardening; machines are frozen, moved and suspended.
    """
    pair = mesh(lab, lab.use(EchoServer()))
    agent = pair.agent
    before = agent.proxies()
    with pair.connect() as connection:
        assert converse(connection, b"before") == b"before", "the pair does not carry bytes"
        with lab.standstill():
            lab.holds("pause", lambda: all(proxy.alive() for proxy in before), what="nobody ends")
        lab.until("agent_ready", agent.answers, what="the agent answers again")
        assert converse(connection, b"after") == b"after", "the connection did not outlive the standstill"
        lab.holds("quiet", lambda: agent.proxies() == before, what="the proxies are the same processes")
