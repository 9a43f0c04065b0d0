"""Security defaults: what starts no process unless it was allowed."""

from __future__ import annotations

import socket
from contextlib import suppress

from conformance.checks._situations import (
    ALLOW_API,
    accepted,
    converse,
    end,
    native_peer,
    proxy_config,
    recorded,
    refused,
    register,
    reloaded,
)
from conformance.instruments.identities import agent_identity, agent_trust_domain
from conformance.plugin.lab import Lab
from conformance.plugin.marks import requirement

ALLOW_ROOT = {"connect": {"proxy": {"allow_managed_root": True}}}


@requirement("security/root/01")
def check_root_starts_no_proxy(lab: Lab) -> None:
    """Start an agent as root with one service that has a custom managed proxy and one that has the default one, and
    reload it with one more.

    No proxy process appears, before or after. Source: document, Security Note.
    """
    probe = lab.probe_proxy()
    definitions = [lab.service("web", proxy={"command": probe.command}), lab.service("redis", proxy={})]
    agent = lab.agent(definitions=definitions, as_user="root")
    lab.holds("quiet", lambda: not agent.proxies() and not probe.starts(), what="no proxy is started as root")
    reloaded(lab, agent, *definitions, lab.service("db", proxy={"command": probe.command}))
    lab.holds("quiet", lambda: not agent.proxies() and not probe.starts(), what="none is started by a reload")


@requirement("security/root/02")
def check_root_still_registers(lab: Lab) -> None:
    """Start an agent as root with a service that has a managed proxy.

    The service and its proxy service are registered, and the proxy configuration can be read. Source: catalogue.
    """
    agent = lab.agent(definitions=[lab.service("web", proxy={})], as_user="root")
    lab.until(
        "registration",
        lambda: {"web", "web-proxy"} <= set(agent.services()),
        what="both services are registered",
    )
    assert proxy_config(agent, "web-proxy")["TargetServiceID"] == "web"


@requirement("security/root/03")
def check_root_starts_proxies_when_allowed(lab: Lab) -> None:
    """Start an agent as root with ``connect.proxy.allow_managed_root`` and a service with a managed proxy.

    The proxy runs, with the effective user id of the agent. Source: document, Security Note.
    """
    probe = lab.probe_proxy()
    agent = lab.agent(
        definitions=[lab.service("web", proxy={"command": probe.command})], options=ALLOW_ROOT, as_user="root"
    )
    assert agent.proxy("web-proxy").stat().uid == agent.process.stat().uid


@requirement("security/root/04")
def check_withdrawn_permission_for_root_counts(lab: Lab) -> None:
    """Start an agent as root with the permission, then again without it, and kill the proxy that the first left.

    The proxy is not started again. Source: hardening; the original revives it as root.
    """
    probe = lab.probe_proxy()
    service = lab.service("web", proxy={"command": probe.command})
    agent = lab.agent(definitions=[service, ALLOW_ROOT], as_user="root")
    proxy = agent.proxy("web-proxy")
    recorded(lab, agent, proxy)
    agent.stop()
    agent.configure(definitions=[service])
    agent.start()
    end(proxy)
    lab.until("proxy_stop", lambda: not proxy.alive(), what="the proxy of the permitted agent has ended")
    lab.holds("observation", lambda: not agent.proxies("web-proxy"), what="no proxy is started as root")


@requirement("security/root/05")
def check_root_refusal_is_logged(lab: Lab) -> None:
    """Start an agent as root with a service that has a managed proxy, and read what it prints.

    It names ``allow_managed_root``. Source: hardening; the original says that it starts none, and not why.
    """
    agent = lab.agent(definitions=[lab.service("web", proxy={})], as_user="root")
    lab.until("log_written", lambda: "allow_managed_root" in agent.output(), what="the log names the setting")


@requirement("security/root/06")
def check_root_refusal_is_in_the_check(lab: Lab) -> None:
    """Start an agent as root with a service that has a managed proxy, and read the check of the proxy.

    It is critical, and its output names ``allow_managed_root``. Source: hardening; nobody found it in the log.
    """
    agent = lab.agent(definitions=[lab.service("web", proxy={})], as_user="root")

    def told() -> bool:
        check = agent.checks()["service:web-proxy"]
        assert check["Status"] == "critical"
        assert "allow_managed_root" in check["Output"], f"the output is {check['Output']!r}"
        return True

    lab.until("registration", told, what="the check says why")


@requirement("security/registration/01")
def check_registration_over_http_is_refused(lab: Lab) -> None:
    """Ask a default agent over HTTP to register a service with a managed proxy, empty and with a command.

    Both requests fail with a status of 400 or above. Source: document, Security Note.
    """
    probe = lab.probe_proxy()
    agent = lab.agent()
    for proxy in ({}, {"Command": probe.command}):
        answer = register(agent, "web", port=lab.port(), proxy=proxy)
        assert refused(answer), f"registration with Connect.Proxy = {proxy} was answered {answer.status}"


@requirement("security/registration/02")
def check_refused_registration_leaves_nothing(lab: Lab) -> None:
    """Ask a default agent over HTTP to register a service with a managed proxy, then look around.

    There is no service, no proxy service, no check, and no process. Source: document, Security Note.
    """
    probe = lab.probe_proxy()
    agent = lab.agent()
    register(agent, "web", port=lab.port(), proxy={"Command": probe.command})
    lab.holds("quiet", lambda: not agent.proxies() and not probe.starts(), what="no process is started")
    assert not {"web", "web-proxy"} & set(agent.services())
    assert "service:web-proxy" not in agent.checks()
    assert agent.api.get("/v1/agent/connect/proxy/web-proxy").status == 404


@requirement("security/registration/03")
def check_registration_over_http_can_be_allowed(lab: Lab) -> None:
    """Set ``connect.proxy.allow_managed_api_registration`` and register a service with a managed proxy over HTTP.

    The request succeeds, both services are registered and the proxy runs. Source: document, Security Note.
    """
    probe = lab.probe_proxy()
    agent = lab.agent(options=ALLOW_API)
    accepted(register(agent, "web", port=lab.port(), proxy={"Command": probe.command}))
    assert {"web", "web-proxy"} <= set(agent.services())
    assert agent.proxy("web-proxy").alive()


@requirement("security/registration/04")
def check_refused_registration_changes_nothing(lab: Lab) -> None:
    """Define ``web`` with a managed proxy in a file, then ask over HTTP for ``web`` with another port and command.

    The request fails; port, command and process stay those of the file. Source: document, Security Note.
    """
    ours, theirs = lab.probe_proxy("ours"), lab.probe_proxy("theirs")
    agent = lab.agent(definitions=[lab.service("web", port=18080, proxy={"command": ours.command})])
    proxy = agent.proxy("web-proxy")
    assert refused(register(agent, "web", port=18081, proxy={"Command": theirs.command}))
    lab.holds("blink", lambda: proxy.alive() and not theirs.starts(), what="the proxy of the file runs on")
    assert agent.services()["web"]["Port"] == 18080
    assert proxy_config(agent, "web-proxy")["Command"] == ours.command


@requirement("security/registration/05")
def check_both_spellings_are_refused(lab: Lab) -> None:
    """Ask a default agent over HTTP for a managed proxy in the snake_case spelling of the configuration files.

    No proxy is registered, whatever the answer: the rule cannot be spelled around. Source: document, Security Note.
    """
    probe = lab.probe_proxy()
    agent = lab.agent()
    proxy = {"exec_mode": "daemon", "command": probe.command}
    agent.api.put("/v1/agent/service/register", {"name": "web", "port": 8080, "connect": {"proxy": proxy}})
    assert "web-proxy" not in agent.services()
    assert agent.api.get("/v1/agent/connect/proxy/web-proxy").status == 404


@requirement("security/registration/06")
def check_plain_services_need_no_permission(lab: Lab) -> None:
    """Register a service without a managed proxy over HTTP at a default agent.

    It is registered, alone. Source: document, Security Note (the rule is about managed proxies only).
    """
    agent = lab.agent()
    accepted(register(agent, "web", port=lab.port(), proxy=None))
    assert "web" in agent.services()
    assert "web-proxy" not in agent.services()


@requirement("security/independence/01")
def check_api_permission_is_no_root_permission(lab: Lab) -> None:
    """Allow registration over HTTP at an agent that runs as root, and register a service with a managed proxy.

    No process is started. Source: document, Security Note: two rules, configured each by itself.
    """
    probe = lab.probe_proxy()
    agent = lab.agent(options=ALLOW_API, as_user="root")
    accepted(register(agent, "web", port=lab.port(), proxy={"Command": probe.command}))
    lab.holds("quiet", lambda: not agent.proxies() and not probe.starts(), what="no proxy is started as root")


@requirement("security/masquerade/01")
def check_upstream_port_speaks_for_its_service(lab: Lab) -> None:
    """Connect to an upstream port of ``web`` from several local addresses, without showing anything.

    The destination sees ``web`` each time, and nobody else. Source: document, Upstream Configuration (Security).
    """
    peer = native_peer(lab, identity=lambda api: agent_identity(api, "redis"))
    for source in ("127.0.0.1", "127.0.0.5"):

        def reached(source: str = source) -> bool:
            address = ("127.0.0.1", peer.upstream_port)
            with (
                suppress(OSError),
                socket.create_connection(address, timeout=10, source_address=(source, 0)) as local,
            ):
                return converse(local, b"hello") == b"hello"
            return False

        lab.until("data_path", reached, what=f"the destination is reached from {source}")
    domain = agent_trust_domain(peer.agent.api)
    assert set(peer.server.peers) == {(f"spiffe://{domain}/ns/default/dc/dc1/svc/web",)}
