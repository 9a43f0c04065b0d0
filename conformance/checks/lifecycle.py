"""Lifecycle: proxies are started, restarted when they crash, and outlive their agent."""

from __future__ import annotations

import signal
from contextlib import suppress
from itertools import pairwise

from conformance.checks._situations import (
    IDLE,
    accepted,
    converse,
    end,
    idle_web,
    mesh,
    payload,
    recorded,
    rest,
    starts,
    variable,
)
from conformance.instruments.api import Unreachable
from conformance.instruments.echo import EchoServer
from conformance.instruments.processes import descendants
from conformance.plugin.lab import Lab
from conformance.plugin.marks import requirement


@requirement("lifecycle/start/01")
def check_one_process_for_each_proxy(lab: Lab) -> None:
    """Start an agent with three services that have a custom managed proxy.

    Each command is executed once, and three processes run. Source: document, Lifecycle.
    """
    probes = {name: lab.probe_proxy(name) for name in ("a", "b", "c")}
    agent = lab.agent(
        definitions=[lab.service(name, proxy={"command": probe.command}) for name, probe in probes.items()]
    )
    for name, probe in probes.items():
        agent.proxy(f"{name}-proxy")
        lab.until("proxy_start", probe.starts, what=f"the proxy of {name} runs")
    lab.holds("blink", lambda: len(agent.proxies()) == 3, what="there are three proxies")
    assert [len(probe.starts()) for probe in probes.values()] == [1, 1, 1]


@requirement("lifecycle/start/02")
def check_proxy_is_started_on_demand(lab: Lab) -> None:
    """Start an agent without services, then add a service with a managed proxy to its files and reload it.

    The proxy is started. Source: document, Lifecycle.
    """
    agent = lab.agent()
    agent.reload(definitions=[idle_web(lab)])
    assert agent.proxy("web-proxy").alive()


@requirement("lifecycle/start/03")
def check_bad_command_hurts_nobody_else(lab: Lab) -> None:
    """Start an agent with a command that does not exist for one service and a good one for another.

    The agent answers, and the good proxy runs. Source: document, Lifecycle (proxies are supervised each by itself).
    """
    agent = lab.agent(
        definitions=[lab.service("bad", proxy={"command": ["/nonexistent/proxy"]}), idle_web(lab)],
    )
    assert agent.proxy("web-proxy").alive()
    lab.holds("blink", lambda: accepted(agent.api.get("/v1/agent/services")), what="the agent answers")


@requirement("lifecycle/start/04")
def check_missing_command_is_tried_again(lab: Lab) -> None:
    """Start an agent with a proxy whose command does not exist, look for a moment, and put a program in its place.

    It runs, without a reload or a restart of the agent. Source: hardening.
    """
    program = lab.write("program", "#!/bin/sh\nexec sleep 600\n")
    program.chmod(0o755)
    installed = program.with_name("installed")
    agent = lab.agent(definitions=[lab.service("web", proxy={"command": [str(installed)]})])
    lab.holds("blink", lambda: not agent.proxies("web-proxy"), what="there is nothing to run")
    program.rename(installed)
    assert agent.proxy("web-proxy").alive()


@requirement("lifecycle/twice/01")
def check_second_start_disturbs_nothing(lab: Lab) -> None:
    """Start an agent a second time, with the same configuration and data directory, while it runs with two proxies.

    The second one ends. The first one answers, its proxies are the same processes and stand in its record; one that is
    killed is started again, once. Source: hardening.
    """
    agent = lab.agent(definitions=[idle_web(lab), lab.service("redis", proxy={})])
    web, redis = agent.proxy("web-proxy"), agent.proxy("redis-proxy")
    recorded(lab, agent, web, redis)
    lab.start_twin_expecting_failure(agent)
    assert agent.answers(), "the first agent does not answer any more"
    lab.holds("blink", lambda: set(agent.proxies()) == {web, redis}, what="the proxies are those of before")
    recorded(lab, agent, web, redis)
    end(web)
    successor = agent.proxy("web-proxy", other_than=web)
    lab.holds("blink", lambda: agent.proxies("web-proxy") == [successor], what="there is one process of web")


@requirement("lifecycle/idle/01", takes=4)
def check_nothing_is_done_at_rest(lab: Lab) -> None:
    """Let two default proxies carry some bytes, and then watch them and their agent for a while.

    None takes as much as a fifth of a processor. Source: hardening.
    """
    pair = mesh(lab, lab.use(EchoServer()))
    lab.holds("quiet", lambda: True, what="what has just been started comes to rest")
    rest(lab, pair.agent.process, *pair.agent.proxies())


@requirement("lifecycle/crash/01")
def check_killed_proxy_is_restarted(lab: Lab) -> None:
    """Kill a managed proxy with SIGKILL.

    A new process runs the same command with the same id and token. Source: document, Lifecycle.
    """
    probe = lab.probe_proxy()
    agent = lab.agent(definitions=[lab.service("web", proxy={"command": probe.command})])
    first = agent.proxy("web-proxy")
    starts(lab, probe, 1)
    end(first)
    agent.proxy("web-proxy", other_than=first)
    before, after = starts(lab, probe, 2)
    assert after.argv == before.argv
    for name in ("CONNECT_PROXY_ID", "CONNECT_PROXY_TOKEN", "CONSUL_HTTP_ADDR"):
        assert variable(after, name) == variable(before, name), name


@requirement("lifecycle/crash/02")
def check_ended_proxy_is_restarted(lab: Lab) -> None:
    """Let a managed proxy exit by itself, with code 0.

    It is started again: a daemon does not end. Source: document, Lifecycle and Custom Managed Proxy.
    """
    probe = lab.probe_proxy(exit_after=0.3, exit_code=0)
    lab.agent(definitions=[lab.service("web", proxy={"command": probe.command})])
    starts(lab, probe, 2)


@requirement("lifecycle/crash/03")
def check_only_the_crashed_proxy_is_restarted(lab: Lab) -> None:
    """Kill one of two managed proxies.

    It is started again; the other goes on as the same process. Source: document, Lifecycle.
    """
    agent = lab.agent(definitions=[idle_web(lab), lab.service("redis", proxy={"command": IDLE})])
    web, redis = agent.proxy("web-proxy"), agent.proxy("redis-proxy")
    end(web)
    agent.proxy("web-proxy", other_than=web)
    lab.holds("blink", lambda: agent.proxies("redis-proxy") == [redis], what="the other proxy is left alone")


@requirement("lifecycle/crash/04")
def check_no_zombie_stays(lab: Lab) -> None:
    """Kill a managed proxy twice, and look at the children of its agent when the third runs.

    None of them is a zombie. Source: hardening.
    """
    agent = lab.agent(definitions=[idle_web(lab)])
    proxy = agent.proxy("web-proxy")
    for _ in range(2):
        end(proxy)
        proxy = agent.proxy("web-proxy", other_than=proxy)

    def collected() -> bool:
        dead = [child for child in descendants(agent.pid) if not child.alive()]
        assert not dead, f"zombies of the agent: {dead}"
        return True

    lab.until("state_written", collected, what="no child of the agent is a zombie")


@requirement("lifecycle/crash/05")
def check_killed_builtin_proxy_serves_again(lab: Lab) -> None:
    """Let ``web`` reach ``redis`` through both default proxies, and kill both.

    Soon bytes pass again, through new processes. Source: document, Lifecycle.
    """
    pair = mesh(lab, lab.use(EchoServer()))
    before = pair.agent.proxies()
    for proxy in before:
        end(proxy)
    lab.until("data_path", lambda: pair.exchange(b"again") == b"again", what="bytes pass again")
    assert len(pair.agent.proxies()) == len(before)
    assert not set(pair.agent.proxies()) & set(before), "a killed process still runs"


@requirement("lifecycle/backoff/01", takes=6)
def check_restarts_slow_down(lab: Lab) -> None:
    """Give a managed proxy a command that exits at once with code 1, and note the times of its starts.

    Three starts come promptly, the fourth after about two seconds, and the fifth after a longer pause than that.
    Source: catalogue.
    """
    probe = lab.probe_proxy(exit_after=0.01, exit_code=1)
    lab.agent(definitions=[lab.service("web", proxy={"command": probe.command})])
    gaps = [later.time - earlier.time for earlier, later in pairwise(starts(lab, probe, 5))]
    assert max(gaps[:2]) < 1.5, f"the first restarts are late: {gaps}"
    assert gaps[2] >= 1.4, f"the third restart comes without a pause: {gaps}"
    assert gaps[3] >= gaps[2] + 1, f"the pauses do not grow: {gaps}"


@requirement("lifecycle/survive/01")
def check_proxy_survives_the_kill_of_its_agent(lab: Lab) -> None:
    """Kill the agent with SIGKILL.

    Its managed proxy runs on as the same process. Source: document, Lifecycle.
    """
    agent = lab.agent(definitions=[idle_web(lab)])
    proxy = agent.proxy("web-proxy")
    agent.crash()
    lab.holds("blink", proxy.alive, what="the proxy runs on")


@requirement("lifecycle/survive/02")
def check_proxy_survives_sigterm_to_its_agent(lab: Lab) -> None:
    """Stop the agent with SIGTERM.

    Its managed proxy runs on as the same process. Source: document, Lifecycle.
    """
    _survives(lab, signal.SIGTERM)


@requirement("lifecycle/survive/03")
def check_proxy_survives_sigint_to_its_agent(lab: Lab) -> None:
    """Stop the agent with SIGINT.

    Its managed proxy runs on as the same process. Source: document, Lifecycle.
    """
    _survives(lab, signal.SIGINT)


@requirement("lifecycle/survive/04")
def check_connection_survives_the_agent(lab: Lab) -> None:
    """Open a connection from ``web`` to ``redis`` through both proxies, kill the agent and start it again.

    Bytes pass unchanged before, between and after, on that one connection. Source: document, Lifecycle.
    """
    data = payload(100_000)
    pair = mesh(lab, lab.use(EchoServer()))
    with pair.connect() as live:
        assert converse(live, data) == data
        recorded(lab, pair.agent, *pair.agent.proxies())
        pair.agent.crash()
        assert converse(live, data) == data, "the connection broke with the agent"
        pair.agent.start()
        lab.holds(
            "quiet", lambda: converse(live, b"still there?") == b"still there?", what="the connection holds"
        )
        assert converse(live, data) == data, "the connection broke with the new agent"


@requirement("lifecycle/survive/05")
def check_cleared_data_directory_leaves_proxies(lab: Lab) -> None:
    """Stop the agent and delete the content of its data directory.

    Its managed proxy keeps running, as the document warns. Source: document, Lifecycle.
    """
    agent = lab.agent(definitions=[idle_web(lab)])
    proxy = agent.proxy("web-proxy")
    agent.stop()
    assert agent.data_dir is not None
    for path in sorted(agent.data_dir.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    lab.holds("blink", proxy.alive, what="the proxy runs on")


@requirement("lifecycle/survive/06")
def check_proxies_can_be_killed_by_hand(lab: Lab) -> None:
    """Stop the agent, then terminate its default proxy as an operator would, with SIGTERM.

    The process ends and nobody starts another. Source: document, Lifecycle.
    """
    agent = lab.agent(definitions=[lab.service("redis", proxy={})])
    proxy = agent.proxy("redis-proxy")
    lab.until("proxy_listens", proxy.listening_ports, what="the proxy is up")
    agent.stop()
    end(proxy, signal.SIGTERM)
    lab.until("proxy_stop", lambda: not proxy.alive(), what="the proxy has ended")
    lab.holds("blink", lambda: not agent.proxies("redis-proxy"), what="nobody starts another")


@requirement("lifecycle/survive/07")
def check_proxy_survives_leave(lab: Lab) -> None:
    """Have the agent leave with ``PUT /v1/agent/leave``, and wait until it has ended.

    Its managed proxy runs on as the same process. Source: document, Lifecycle.
    """
    agent = lab.agent(definitions=[idle_web(lab)])
    proxy = agent.proxy("web-proxy")
    with suppress(Unreachable):  # it may end before it answers
        accepted(agent.api.put("/v1/agent/leave"))
    lab.until("agent_exit", lambda: agent.exit_code() is not None, what="the agent ends")
    lab.holds("blink", proxy.alive, what="the proxy runs on")


def _survives(lab: Lab, number: signal.Signals) -> None:
    agent = lab.agent(definitions=[idle_web(lab)])
    proxy = agent.proxy("web-proxy")
    agent.stop(number)
    lab.holds("blink", proxy.alive, what="the proxy runs on")
