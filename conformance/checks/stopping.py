"""Stopping: deregistration ends a proxy, cleanly, and takes everything of it away."""

from __future__ import annotations

import signal
import time

from conformance.checks._situations import (
    ALLOW_API,
    IDLE,
    accepted,
    connects,
    content,
    deregister,
    end,
    recorded,
    refused,
    register,
    reloaded,
    starts,
    supervision,
)
from conformance.instruments.probe_proxy import ProbeProxy
from conformance.instruments.processes import Process
from conformance.plugin.lab import Lab
from conformance.plugin.marks import requirement


@requirement("stopping/deregister/01")
def check_deregistration_stops_the_proxy(lab: Lab) -> None:
    """Deregister a service with a managed proxy over HTTP.

    Its process ends, and none is started in its place. Source: document, Lifecycle.
    """
    agent = lab.agent(definitions=[lab.service("web", proxy={"command": IDLE})])
    proxy = agent.proxy("web-proxy")
    accepted(deregister(agent, "web"))
    lab.until("proxy_stop", lambda: not proxy.alive(), what="the proxy is stopped")
    lab.holds("quiet", lambda: not agent.proxies(), what="no other is started")


@requirement("stopping/deregister/02")
def check_deregistration_removes_the_records(lab: Lab) -> None:
    """Deregister a service with a managed proxy over HTTP.

    Service, proxy service, check and proxy configuration are gone at the agent, and the catalog forgets them.
    Source: document, Lifecycle.
    """
    agent = lab.agent(definitions=[lab.service("web", proxy={"command": IDLE})])
    lab.until(
        "registration",
        lambda: agent.api.get("/v1/catalog/connect/web").json,
        what="the catalog knows the proxy",
    )
    assert "service:web-proxy" in agent.checks()
    accepted(deregister(agent, "web"))
    assert not {"web", "web-proxy"} & set(agent.services())
    assert "service:web-proxy" not in agent.checks()
    assert agent.api.get("/v1/agent/connect/proxy/web-proxy").status == 404
    lab.until(
        "registration",
        lambda: agent.api.get("/v1/catalog/connect/web").json == [],
        what="the catalog forgets the proxy",
    )


@requirement("stopping/deregister/03")
def check_deregistration_removes_the_files(lab: Lab) -> None:
    """Deregister a service with a managed proxy over HTTP, and look at the data directory.

    The pid file of the proxy and its persisted definition are gone. Source: catalogue.
    """
    agent = lab.agent(definitions=[lab.service("web", proxy={"command": IDLE})])
    agent.proxy("web-proxy")
    assert agent.data_dir is not None
    pid_file, definitions = agent.data_dir / "proxy" / "pids" / "web-proxy.pid", agent.data_dir / "proxies"
    lab.until(
        "state_written", lambda: pid_file.exists() and any(definitions.glob("*")), what="state is stored"
    )
    accepted(deregister(agent, "web"))
    lab.until(
        "state_written",
        lambda: not pid_file.exists() and not any(definitions.glob("*")),
        what="pid file and definition are removed",
    )


@requirement("stopping/deregister/04")
def check_proxy_cannot_be_deregistered_alone(lab: Lab) -> None:
    """Ask over HTTP to deregister the proxy service of a managed proxy.

    The request fails; the proxy service stays and the process runs on. Source: document, Lifecycle (to terminate
    it, the service is to be deregistered).
    """
    agent = lab.agent(definitions=[lab.service("web", proxy={"command": IDLE})])
    proxy = agent.proxy("web-proxy")
    assert refused(deregister(agent, "web-proxy"))
    lab.holds("blink", proxy.alive, what="the proxy runs on")
    assert {"web", "web-proxy"} <= set(agent.services())


@requirement("stopping/deregister/05")
def check_deregistration_leaves_other_proxies(lab: Lab) -> None:
    """Deregister one of two services with a managed proxy.

    The other proxy goes on as the same process, and its service stays. Source: document, Lifecycle.
    """
    agent = lab.agent(definitions=[lab.service(name, proxy={"command": IDLE}) for name in ("web", "redis")])
    web, redis = agent.proxy("web-proxy"), agent.proxy("redis-proxy")
    accepted(deregister(agent, "web"))
    lab.until("proxy_stop", lambda: not web.alive(), what="the proxy of the deregistered service is stopped")
    lab.holds("blink", lambda: agent.proxies() == [redis], what="the other one is left alone")
    assert {"redis", "redis-proxy"} <= set(agent.services())


@requirement("stopping/deregister/06")
def check_deregistration_leaves_other_checks(lab: Lab) -> None:
    """Deregister one of two services with a managed proxy, and look at the checks.

    That of the other proxy is still there. Source: hardening; without it a broken proxy looks healthy.
    """
    agent = lab.agent(definitions=[lab.service(name, proxy={"command": IDLE}) for name in ("web", "redis")])
    assert {"service:web-proxy", "service:redis-proxy"} <= set(agent.checks())
    accepted(deregister(agent, "web"))
    lab.until(
        "registration", lambda: "service:web-proxy" not in agent.checks(), what="the check of web is gone"
    )
    lab.holds(
        "observation",
        lambda: "service:redis-proxy" in agent.checks(),
        what="the check of the other proxy is there",
    )


@requirement("stopping/deregister/07")
def check_deregistration_ends_the_backoff(lab: Lab) -> None:
    """Deregister a service while its proxy, which crashes each time, waits to be started again.

    No further start follows when that wait is over. Source: document, Lifecycle.
    """
    probe = lab.probe_proxy(exit_after=0.01, exit_code=1)
    agent = lab.agent(definitions=[lab.service("web", proxy={"command": probe.command})])
    starts(lab, probe, 3)
    lab.until("proxy_stop", lambda: not agent.proxies("web-proxy"), what="the third process has ended")
    accepted(deregister(agent, "web"))
    count = len(probe.starts())
    lab.holds("observation", lambda: len(probe.starts()) == count, what="the proxy is not started again")


@requirement("stopping/deregister/08")
def check_deregistration_stops_an_adopted_proxy(lab: Lab) -> None:
    """Kill the agent and start it again, so that it takes over its proxy, and deregister the service.

    The process ends. Source: document, Lifecycle.
    """
    probe = lab.probe_proxy()
    agent = lab.agent(options=ALLOW_API)
    accepted(register(agent, "web", port=8080, proxy={"Command": probe.command}))
    proxy = agent.proxy("web-proxy")
    recorded(lab, agent, proxy)
    agent.crash()
    agent.start()
    lab.holds("blink", lambda: agent.proxies("web-proxy") == [proxy], what="the proxy is taken over")
    accepted(deregister(agent, "web"))
    lab.until("proxy_stop", lambda: not proxy.alive(), what="the proxy is stopped")
    assert "SIGINT" in [name for _, name in probe.signals()]


@requirement("stopping/deregister/09")
def check_registration_without_a_proxy_stops_none(lab: Lab) -> None:
    """Register a service with a managed proxy over HTTP, and then the same service without one.

    The proxy runs on, and is still registered. Source: document, Lifecycle: to end a proxy its service is deregistered.
    """
    agent = lab.agent(options=ALLOW_API)
    accepted(register(agent, "web", port=8080, proxy={"Command": IDLE}))
    proxy = agent.proxy("web-proxy")
    accepted(register(agent, "web", port=8081, proxy=None))
    lab.holds("quiet", lambda: agent.proxies("web-proxy") == [proxy], what="the proxy runs on")
    services = agent.services()
    assert services["web"]["Port"] == 8081
    assert "web-proxy" in services


@requirement("stopping/clean/01")
def check_proxy_is_asked_with_sigint(lab: Lab) -> None:
    """Deregister a service whose proxy records the signals that it gets, and ends on SIGINT.

    It got SIGINT, and nothing else that can be recorded. Source: document, Lifecycle ("terminate cleanly").
    """
    probe = lab.probe_proxy()
    agent = lab.agent(definitions=[lab.service("web", proxy={"command": probe.command})])
    proxy = agent.proxy("web-proxy")
    lab.until("proxy_start", probe.starts, what="the proxy handles signals")
    accepted(deregister(agent, "web"))
    lab.until("proxy_stop", lambda: not proxy.alive(), what="the proxy has ended")
    assert probe.signals() == [(proxy.pid, "SIGINT")]


@requirement("stopping/escalate/01", takes=5)
def check_stubborn_proxy_is_killed(lab: Lab) -> None:
    """Deregister a service whose proxy ignores SIGINT.

    It is asked with SIGINT, and killed about five seconds after the request. Source: catalogue (grace of 5 s).
    """
    probe = lab.probe_proxy(ignore_sigint=True)
    agent = lab.agent(definitions=[lab.service("web", proxy={"command": probe.command})])
    proxy = agent.proxy("web-proxy")
    lab.until("proxy_start", probe.starts, what="the proxy handles signals")
    # From before the request: whatever is slow here makes the grace look longer, never shorter.
    asked = time.monotonic()
    accepted(deregister(agent, "web"))
    lab.until("proxy_killed", lambda: not proxy.alive(), what="the proxy is killed")
    grace = time.monotonic() - asked
    assert (proxy.pid, "SIGINT") in probe.signals()
    assert grace > 4.9, f"killed after {grace:.1f} s"


@requirement("stopping/group/01")
def check_children_end_with_the_proxy(lab: Lab) -> None:
    """Deregister a service whose proxy has started a process of its own, which ignores everything that it can.

    Both end. Source: hardening; an orphan would hold the port.
    """
    probe = lab.probe_proxy(spawn_child=True)
    agent = lab.agent(definitions=[lab.service("web", proxy={"command": probe.command})])
    child = _child(lab, probe)
    accepted(deregister(agent, "web"))
    lab.until("proxy_stop", lambda: not agent.proxies("web-proxy"), what="the proxy has ended")
    lab.until("proxy_stop", lambda: not child.alive(), what="its child has ended")


@requirement("stopping/group/02")
def check_children_end_with_a_crash(lab: Lab) -> None:
    """Kill a proxy that has started a process of its own.

    That process ends, and the proxy is started again. Source: hardening; an orphan would hold the port.
    """
    probe = lab.probe_proxy(spawn_child=True)
    agent = lab.agent(definitions=[lab.service("web", proxy={"command": probe.command})])
    proxy = agent.proxy("web-proxy")
    child = _child(lab, probe)
    end(proxy)
    lab.until("proxy_restart", lambda: len(probe.starts()) > 1, what="the proxy is started again")
    lab.until("proxy_stop", lambda: not child.alive(), what="the child of the first has ended")


@requirement("stopping/options/01")
def check_signal_and_grace_can_be_configured(lab: Lab) -> None:
    """Configure SIGTERM and a grace of one second, and deregister a service whose proxy ignores that signal.

    The proxy gets SIGTERM and no SIGINT, and is killed after about a second. Source: hardening.
    """
    script = "trap 'echo term' TERM; trap 'echo int' INT; echo up; while :; do sleep 0.05; done"
    agent = lab.agent(
        definitions=[lab.service("web", proxy={"command": ["/bin/sh", "-c", script]})],
        options=supervision(stop_signal="SIGTERM", stop_grace="1s"),
    )
    proxy = agent.proxy("web-proxy")
    log = agent.log_dir / "web-proxy-stdout.log"
    lab.until("log_written", lambda: content(log) == b"up\n", what="the proxy handles signals")
    asked = time.monotonic()
    accepted(deregister(agent, "web"))
    lab.until("proxy_stop", lambda: not proxy.alive(), what="the proxy is killed")
    grace = time.monotonic() - asked
    assert content(log) == b"up\nterm\n"
    assert 0.9 <= grace < 3, f"killed after {grace:.1f} s"


@requirement("stopping/builtin/01")
def check_builtin_proxy_ends_by_itself(lab: Lab) -> None:
    """Kill the agent, and send SIGINT to one of its default proxies and SIGTERM to another.

    Both end, and their ports are free. Source: catalogue.
    """
    names = ("a", "b")
    agent = lab.agent(definitions=[lab.service(name, proxy={}) for name in names])
    ports = [agent.services()[f"{name}-proxy"]["Port"] for name in names]
    proxies = [agent.proxy(f"{name}-proxy") for name in names]
    lab.until("proxy_listens", lambda: all(map(connects, ports)), what="both proxies listen")
    agent.crash()
    proxies[0].signal(signal.SIGINT)
    proxies[1].signal(signal.SIGTERM)
    lab.until("proxy_stop", lambda: not proxies[0].alive(), what="the first proxy ends on SIGINT")
    lab.until("proxy_stop", lambda: not proxies[1].alive(), what="the second proxy ends on SIGTERM")
    lab.until("proxy_stop", lambda: not any(map(connects, ports)), what="their ports are free")


def _child(lab: Lab, probe: ProbeProxy) -> Process:
    """The process that the first start of a probe has started."""
    (first,) = starts(lab, probe, 1)
    assert first.child is not None
    return Process.of(first.child)


@requirement("stopping/retry/01", takes=6)
def check_failed_stop_is_reported(lab: Lab) -> None:
    """Give a proxy another command while its process has become root's, which the agent's user cannot end.

    The check of the proxy is critical and names the process, and there is no second one; once the process is gone,
    the new one is started. Source: hardening. Takes a suite that runs as root.
    """
    escape = lab.setuid_program("setpriv")
    stubborn = [str(escape), "--reuid=0", "--regid=0", "--clear-groups", "/bin/sleep", "600"]
    agent = lab.agent(definitions=[lab.service("web", proxy={"command": stubborn})])
    web = agent.proxy("web-proxy")
    lab.until("proxy_start", lambda: web.stat().uid == 0, what="the proxy has become root's")
    reloaded(lab, agent, lab.service("web", port=agent.services()["web"]["Port"], proxy={"command": IDLE}))

    def reported() -> bool:
        check = agent.checks()["service:web-proxy"]
        return check["Status"] == "critical" and str(web.pid) in f"{check['Output']} {check['Notes']}"

    lab.until("proxy_stop", reported, what="the check says that the old process is still there")
    assert agent.proxies("web-proxy") == [web]
    end(web)
    successor = agent.proxy("web-proxy", other_than=web)
    assert successor.argv() == IDLE
