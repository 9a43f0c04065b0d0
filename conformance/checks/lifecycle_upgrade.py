"""Lifecycle, upgrade: the agent's program is replaced or moved, and its proxies carry on."""

from __future__ import annotations

from conformance.checks._situations import converse, end, mesh, payload, recorded
from conformance.instruments.echo import EchoServer
from conformance.instruments.processes import Process
from conformance.plugin.lab import AgentUnderTest, Lab
from conformance.plugin.marks import requirement


@requirement("lifecycle/upgrade/01")
def check_proxies_outlive_a_replaced_program(lab: Lab) -> None:
    """Stop the agent, put a new file in the place of its program, and start it again; meanwhile a client is connected.

    The client's connection leads through two default proxies, and bytes pass on it before, between and after. The
    proxies are the same processes, and the only ones. Source: document, Lifecycle.
    """
    _carries_on(lab, before="here", after="here")


@requirement("lifecycle/upgrade/02")
def check_proxies_outlive_a_moved_program(lab: Lab) -> None:
    """Stop the agent, move its program to another place, and start it from there; meanwhile a client is connected.

    The client's connection leads through two default proxies, and bytes pass on it before, between and after. The
    proxies are the same processes, and the only ones. Source: hardening; versions are often installed side by side.
    """
    _carries_on(lab, before="here", after="there")


@requirement("lifecycle/upgrade/03")
def check_proxies_are_started_from_the_new_place(lab: Lab) -> None:
    """Stop the agent, move its program to another place, start it from there, and kill its default proxy.

    The proxy is started again, although its program is no longer where it was. Source: catalogue.
    """
    lab.install("here")
    agent, proxy = _listening(lab)
    recorded(lab, agent, proxy)
    agent.stop()
    lab.install("there")
    agent.start()
    _is_replaced(lab, agent, proxy)


@requirement("lifecycle/upgrade/04")
def check_a_program_is_replaced_under_a_running_agent(lab: Lab) -> None:
    """Put a new file in the place of the agent's program while it runs, and kill its default proxy.

    The proxy is started again, from the new file. Source: hardening; a package manager replaces files first, and
    restarts the agent later.
    """
    lab.install("here")
    agent, proxy = _listening(lab)
    lab.install("here")
    _is_replaced(lab, agent, proxy)


def _carries_on(lab: Lab, *, before: str, after: str) -> None:
    data = payload(100_000)
    lab.install(before)
    pair = mesh(lab, lab.use(EchoServer()))
    proxies = pair.agent.proxies()
    with pair.connect() as live:
        assert converse(live, data) == data
        recorded(lab, pair.agent, *proxies)
        pair.agent.stop()
        lab.install(after)
        assert converse(live, data) == data, "the connection broke with the agent"
        pair.agent.start()
        lab.holds(
            "quiet",
            lambda: pair.agent.proxies() == proxies and converse(live, b"still there?") == b"still there?",
            what="the proxies are the same processes, and the connection holds",
        )
        assert converse(live, data) == data, "the connection broke with the new agent"


def _listening(lab: Lab) -> tuple[AgentUnderTest, Process]:
    """An agent, and its default proxy, which is up."""
    agent = lab.agent(definitions=[lab.service("redis", proxy={})])
    proxy = agent.proxy("redis-proxy")
    lab.until("proxy_listens", proxy.listening_ports, what="the proxy is up")
    return agent, proxy


def _is_replaced(lab: Lab, agent: AgentUnderTest, proxy: Process) -> None:
    end(proxy)
    successor = agent.proxy("redis-proxy", other_than=proxy)
    lab.until("proxy_listens", successor.listening_ports, what="the new process of the proxy is up")
