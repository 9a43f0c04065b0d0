"""Intentions: who may talk to whom."""

from __future__ import annotations

from conformance.checks._situations import accepted, mesh
from conformance.instruments.echo import EchoServer
from conformance.plugin.lab import AgentUnderTest, Lab
from conformance.plugin.marks import requirement


@requirement("intentions/deny/01")
def check_deny_refuses_the_pair(lab: Lab) -> None:
    """Deny ``web`` to ``redis`` by an intention and ask the authorize endpoint; then delete the intention.

    ``web`` is refused with a reason, ``db`` is not; afterwards ``web`` is allowed again. Source: catalogue.
    """
    agent = lab.agent(definitions=[lab.service("redis")])
    intention = _intend(agent, "web", "redis", "deny")
    lab.until("intention", lambda: not _authorized(agent, "web", "redis"), what="web is refused")
    assert _authorized(agent, "db", "redis")
    assert _authorized(agent, "web", "db")
    accepted(agent.api.delete(f"/v1/connect/intentions/{intention}"))
    lab.until("intention", lambda: _authorized(agent, "web", "redis"), what="web is allowed again")


@requirement("intentions/deny/02")
def check_denied_connection_carries_nothing(lab: Lab) -> None:
    """Let ``web`` reach ``redis`` through both proxies, then deny it by an intention and connect anew.

    No byte reaches the application and none comes back. Source: catalogue.
    """
    application = lab.use(EchoServer())
    pair = mesh(lab, application)
    _intend(pair.agent, "web", "redis", "deny")
    lab.until("intention", lambda: not pair.exchange(b"?"), what="new connections are refused")
    before = application.received
    assert pair.exchange(b"denied") == b""
    assert application.received == before


@requirement("intentions/precedence/01")
def check_exact_beats_wildcard(lab: Lab) -> None:
    """Deny everyone to ``redis`` and allow ``web``, in this order.

    ``web`` is allowed, ``db`` is refused. Source: catalogue.
    """
    agent = lab.agent(definitions=[lab.service("redis")])
    _intend(agent, "*", "redis", "deny")
    _intend(agent, "web", "redis", "allow")
    lab.until("intention", lambda: not _authorized(agent, "db", "redis"), what="db is refused")
    lab.until("intention", lambda: _authorized(agent, "web", "redis"), what="web is allowed")


def _intend(agent: AgentUnderTest, source: str, destination: str, action: str) -> str:
    body = {"SourceName": source, "DestinationName": destination, "Action": action}
    return str(accepted(agent.api.post("/v1/connect/intentions", body)).json["ID"])


def _authorized(agent: AgentUnderTest, source: str, target: str) -> bool:
    domain = accepted(agent.api.get("/v1/agent/connect/ca/roots")).json["TrustDomain"]
    uri = f"spiffe://{domain}/ns/default/dc/dc1/svc/{source}"
    body = {"Target": target, "ClientCertURI": uri, "ClientCertSerial": "01"}
    verdict = accepted(agent.api.post("/v1/agent/connect/authorize", body)).json
    assert verdict["Reason"]
    return bool(verdict["Authorized"])
