"""Lifecycle, adoption: a number in a file is not a process. Who has it now may be anybody."""

from __future__ import annotations

import os

from conformance.checks._situations import accepted, deregister, end, forge, idle_web, recorded
from conformance.instruments.processes import Process
from conformance.plugin.lab import AgentUnderTest, Lab
from conformance.plugin.marks import requirement


@requirement("lifecycle/adopt/08")
def check_thread_is_not_adopted(lab: Lab) -> None:
    """While the agent is down, end its proxy and write the id of a thread in place of the proxy's pid.

    The next agent starts a new proxy, and the process of the thread, which is the default proxy of another agent,
    lives on when the service is deregistered. Where the agent stored the start time of its proxy, the thread's stands
    there. Source: hardening.
    """
    other = lab.agent(definitions=[lab.service("db", proxy={})], name="other").proxy("db-proxy")
    agent, proxy = _stopped(lab)
    lab.until("proxy_listens", other.listening_ports, what="the other process has started all of its threads")
    threads = other.threads()
    assert threads, "the other process has one thread only"
    # The oldest: it is the least likely to end before the agent is back.
    thread = min(threads, key=lambda each: each.pid)
    forge(agent, proxy, thread.pid, started=thread.started)
    agent.start()
    _is_started_anew(lab, agent, proxy)
    lab.holds("blink", other.alive, what="the process of the thread is left alone")


@requirement("lifecycle/adopt/12")
def check_proxies_of_another_agent_are_left_alone(lab: Lab) -> None:
    """Start two agents with the same definition, then stop the second one, and start it without.

    The second one starts a proxy of its own, and stops that one alone when it is back. Source: hardening.
    """
    first = lab.agent(definitions=[idle_web(lab)], name="first").proxy("web-proxy")
    agent = lab.agent(definitions=[idle_web(lab)], name="second")
    second = agent.proxy("web-proxy", other_than=first)
    recorded(lab, agent, second)
    agent.stop()
    agent.configure(definitions=[])
    agent.start()
    lab.until("proxy_stop", lambda: not second.alive(), what="the second agent's proxy is stopped")
    lab.holds("blink", first.alive, what="the first agent's proxy lives on")


@requirement("lifecycle/adopt/09")
def check_agent_does_not_adopt_itself(lab: Lab) -> None:
    """While the agent is down, end its proxy; the pid that stands in its place is that of the next agent.

    That agent starts a new proxy, and lives on when the service is deregistered. Source: hardening.
    """
    agent, proxy = _stopped(lab)
    assert agent.data_dir is not None
    snapshot = agent.data_dir / "proxy" / "snapshot.json"
    agent.start_after(
        f"sed 's/\\b{proxy.pid}\\b/'$$'/g' {snapshot} > {snapshot}.new; cp {snapshot}.new {snapshot}"
    )
    _is_started_anew(lab, agent, proxy)
    lab.holds("quiet", agent.answers, what="the agent lives on")


@requirement("lifecycle/adopt/10")
def check_group_and_init_are_not_adopted(lab: Lab) -> None:
    """While the agent is down, end its proxy and write 0, then 1, in place of its pid.

    The next agent starts a new proxy, and lives on when the service is deregistered. Source: hardening; to kill(2)
    0 means the caller's own process group, and 1 is init.
    """
    for number in (0, 1):
        agent, proxy = _stopped(lab, name=f"agent{number}")
        forge(agent, proxy, number, started=Process.of(1).started)
        agent.start()
        _is_started_anew(lab, agent, proxy)
        lab.holds("blink", agent.answers, what="the agent lives on")
        agent.stop()


@requirement("lifecycle/adopt/11")
def check_process_of_another_user_is_not_adopted(lab: Lab) -> None:
    """While the agent is down, end its proxy and write the pid of another user's process in place of its pid.

    The next agent starts a new proxy, and the other process lives on. Source: hardening.
    """
    agent, proxy = _stopped(lab)
    if _uid(agent) == os.geteuid():
        lab.skip("the suite cannot start a process of another user than the agent's")
    with lab.stranger(os.geteuid()) as other:
        forge(agent, proxy, other.pid)
        agent.start()
        _is_started_anew(lab, agent, proxy)
        lab.holds("blink", other.alive, what="the other process is left alone")


def _stopped(lab: Lab, *, name: str = "agent") -> tuple[AgentUnderTest, Process]:
    """An agent that ended, and the proxy that it left, which ended after it."""
    agent = lab.agent(definitions=[idle_web(lab)], name=name)
    proxy = agent.proxy("web-proxy")
    recorded(lab, agent, proxy)
    agent.stop()
    end(proxy)
    lab.until("proxy_stop", lambda: not proxy.alive(), what="the proxy has ended")
    return agent, proxy


def _is_started_anew(lab: Lab, agent: AgentUnderTest, old: Process) -> None:
    agent.proxy("web-proxy", other_than=old)
    accepted(deregister(agent, "web"))
    lab.until("proxy_stop", lambda: not agent.proxies("web-proxy"), what="the new proxy is stopped")


def _uid(agent: AgentUnderTest) -> int:
    assert agent.data_dir is not None
    return agent.data_dir.stat().st_uid
