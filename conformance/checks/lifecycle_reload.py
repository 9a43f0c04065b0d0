"""Lifecycle, reload: definitions change under a running agent."""

from __future__ import annotations

import signal
import time

from conformance.checks._situations import (
    IDLE,
    accepted,
    deregister,
    idle_web,
    proxy_config,
    reloaded,
    starts,
    token_of,
)
from conformance.instruments.processes import Process
from conformance.plugin.lab import AgentUnderTest, Lab
from conformance.plugin.marks import requirement


@requirement("lifecycle/reload/01")
def check_unchanged_reload_leaves_proxies_alone(lab: Lab) -> None:
    """Reload the agent with the definition of a managed proxy unchanged, and a service added beside it.

    When the added service is there, the proxy is the same process and has the same port. Source: catalogue.
    """
    service = idle_web(lab)
    agent = lab.agent(definitions=[service])
    proxy, port = agent.proxy("web-proxy"), agent.services()["web-proxy"]["Port"]
    reloaded(lab, agent, service)
    lab.holds("blink", lambda: agent.proxies("web-proxy") == [proxy], what="the proxy is left alone")
    assert agent.services()["web-proxy"]["Port"] == port


@requirement("lifecycle/reload/02")
def check_changed_command_restarts_the_proxy(lab: Lab) -> None:
    """Change the command of a managed proxy and reload the agent.

    The old process is asked to end with SIGINT and does, one with the new command and the same token runs.
    Source: catalogue.
    """
    probe = lab.probe_proxy()
    agent = lab.agent(definitions=[lab.service("web", port=8080, proxy={"command": probe.command})])
    proxy = agent.proxy("web-proxy")
    lab.until("proxy_start", probe.starts, what="the proxy handles signals")
    token = token_of(proxy)
    agent.reload(definitions=[lab.service("web", port=8080, proxy={"command": ["/bin/sleep", "601"]})])
    successor = agent.proxy("web-proxy", other_than=proxy)
    assert successor.argv() == ["/bin/sleep", "601"]
    assert token_of(successor) == token
    lab.until(
        "proxy_stop", lambda: agent.proxies("web-proxy") == [successor], what="only the new process runs"
    )
    assert probe.signals() == [(proxy.pid, "SIGINT")], "the old process was not asked to end"


@requirement("lifecycle/reload/08", takes=7)
def check_mended_command_does_not_wait(lab: Lab) -> None:
    """Let a proxy crash until it waits eight seconds for its next start, and reload the agent with another command.

    That one runs long before the wait is over. Source: hardening.
    """
    probe = lab.probe_proxy(exit_after=0.01, exit_code=1)
    agent = lab.agent(definitions=[lab.service("web", proxy={"command": probe.command})])
    last = starts(lab, probe, 5)[-1]
    lab.until("state_written", lambda: not agent.proxies(), what="the fifth process has ended")
    agent.reload(definitions=[lab.service("web", proxy={"command": IDLE})])
    mended = agent.proxy("web-proxy")
    waited = time.monotonic() - last.time
    assert mended.argv() == IDLE
    assert waited < 7, f"started {waited:.1f} s after the last crash"


@requirement("lifecycle/reload/03")
def check_removed_definition_stops_the_proxy(lab: Lab) -> None:
    """Remove one of two services from the files and reload the agent.

    Its proxy is stopped and stays away; the other is the same process. Source: document, Lifecycle.
    """
    agent, remaining = _removed_by_reload(lab)
    lab.holds("quiet", lambda: agent.proxies() == [remaining], what="only the other proxy runs")


@requirement("lifecycle/reload/04")
def check_removed_definition_removes_the_proxy_service(lab: Lab) -> None:
    """Remove one of two services from the files and reload the agent.

    The agent and the catalog no longer know the proxy service. Source: hardening; a record that outlives its
    process, and counts as healthy, sends traffic to whoever gets its port next.
    """
    agent, _ = _removed_by_reload(lab)
    lab.until("registration", lambda: "web-proxy" not in agent.services(), what="the proxy service is gone")
    lab.until(
        "registration",
        lambda: accepted(agent.api.get("/v1/catalog/connect/web")).json == [],
        what="the catalog has forgotten it",
    )


@requirement("lifecycle/reload/05")
def check_changed_config_does_not_restart(lab: Lab) -> None:
    """Change config and upstreams of a managed proxy and the port of its service, and reload the agent.

    The proxy is the same process, and its configuration endpoint tells the new values. Source: catalogue.
    """
    agent = lab.agent(
        definitions=[lab.service("web", port=8080, proxy={"command": IDLE, "config": {"foo": 1}})]
    )
    proxy = agent.proxy("web-proxy")
    changed = {
        "command": IDLE,
        "config": {"foo": 2},
        "upstreams": [{"destination_name": "db", "local_bind_port": 1234}],
    }
    agent.reload(definitions=[lab.service("web", port=8081, proxy=changed)])

    def told() -> bool:
        answer = proxy_config(agent, "web-proxy")
        config, upstreams = answer["Config"], [entry["DestinationName"] for entry in answer["Upstreams"]]
        return (config["foo"], config["local_service_address"], upstreams) == (2, "127.0.0.1:8081", ["db"])

    lab.until("proxy_config", told, what="the endpoint tells the new values")
    lab.holds("blink", lambda: agent.proxies("web-proxy") == [proxy], what="the proxy is left alone")


@requirement("lifecycle/reload/06")
def check_broken_reload_changes_nothing(lab: Lab) -> None:
    """Put an unknown key into one of the definition files, change another and add a third, and reload the agent.

    The agent goes on, with its service, the same proxy process, and nothing of what was changed beside the broken
    file. Source: hardening.
    """
    agent = lab.agent(definitions=[idle_web(lab)])
    proxy = agent.proxy("web-proxy")
    other = lab.service("web", port=8080, proxy={"command": ["/bin/sleep", "601"]})
    broken = {"service": {"name": "db", "port": 1, "connect": {"proxy": {"colour": 1}}}}
    agent.configure(definitions=[other, broken, lab.service("api")])
    agent.signal(signal.SIGHUP)
    agent.api.put("/v1/agent/reload")  # answered when it is over, whatever came of it
    lab.holds("quiet", lambda: agent.proxies() == [proxy], what="the proxy is left alone")
    services = set(agent.services())
    assert {"web", "web-proxy"} <= services
    assert not {"api", "db"} & services, "half of the configuration is in effect"


def _removed_by_reload(lab: Lab) -> tuple[AgentUnderTest, Process]:
    """An agent whose service ``web`` was removed by a reload, and the proxy of the service that it still has."""
    redis = lab.service("redis", proxy={"command": IDLE})
    agent = lab.agent(definitions=[idle_web(lab), redis])
    removed, remaining = agent.proxy("web-proxy"), agent.proxy("redis-proxy")
    agent.reload(definitions=[redis])
    lab.until("proxy_stop", lambda: not removed.alive(), what="the proxy of the removed service is stopped")
    return agent, remaining


@requirement("lifecycle/reload/07")
def check_deregistered_definition_comes_back(lab: Lab) -> None:
    """Deregister a service of a file, with its managed proxy, over HTTP; then reload the agent.

    Service and proxy come back, as a new process with a new token. Source: catalogue.
    """
    service = idle_web(lab)
    agent = lab.agent(definitions=[service])
    first = agent.proxy("web-proxy")
    token = token_of(first)
    accepted(deregister(agent, "web"))
    lab.until("proxy_stop", lambda: not first.alive(), what="the proxy has ended")
    reloaded(lab, agent, service)
    second = agent.proxy("web-proxy", other_than=first)
    assert token_of(second) != token, "the token is the old one"
    assert "web-proxy" in agent.services()
