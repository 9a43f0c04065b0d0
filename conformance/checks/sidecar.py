"""Sidecar registration, which replaced managed proxies: a second service, and no process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from conformance.checks._situations import accepted, deregister, only, refused
from conformance.instruments.api import Response
from conformance.plugin.lab import AgentUnderTest, Lab
from conformance.plugin.marks import requirement

EMPTY: Mapping[str, Any] = {"sidecar_service": {}}


def register(agent: AgentUnderTest, name: str, *, port: int, sidecar: Mapping[str, Any]) -> Response:
    """Register a service with a sidecar over the HTTP API."""
    body = {"Name": name, "Port": port, "Connect": {"SidecarService": sidecar}}
    return agent.api.put("/v1/agent/service/register", body)


def _is_sidecar(agent: AgentUnderTest, name: str, *, port: int) -> None:
    """The sidecar of a service is a proxy that stands for it, at the agent and in the mesh."""
    record = agent.services()[f"{name}-sidecar-proxy"]
    assert (record["Kind"], record["Service"]) == ("connect-proxy", f"{name}-sidecar-proxy")
    proxy = record["Proxy"]
    assert (proxy["DestinationServiceName"], proxy["DestinationServiceID"]) == (name, name)
    assert (proxy["LocalServiceAddress"], proxy["LocalServicePort"]) == ("127.0.0.1", port)


def _in_the_mesh(lab: Lab, agent: AgentUnderTest, name: str) -> None:
    found = lab.until(
        "registration",
        lambda: agent.api.get(f"/v1/catalog/connect/{name}").json,
        what="the catalog finds the sidecar by the name of its service",
    )
    assert only(found)["ServiceID"] == f"{name}-sidecar-proxy"


@requirement("sidecar/register/01")
def check_an_empty_sidecar_is_a_proxy_for_its_service(lab: Lab) -> None:
    """Define a service with an empty ``connect.sidecar_service`` in a file.

    There is a service ``<id>-sidecar-proxy`` of kind ``connect-proxy`` that stands for it. Source: document,
    Deprecation Rationale.
    """
    agent = lab.agent(definitions=[lab.service("web", port=8080, connect=EMPTY)])
    _is_sidecar(agent, "web", port=8080)
    _in_the_mesh(lab, agent, "web")


@requirement("sidecar/register/02")
def check_a_sidecar_over_http_needs_no_permission(lab: Lab) -> None:
    """Register a service with an empty sidecar over HTTP, at an agent with no option set for it.

    It is accepted, unlike a managed proxy, and the same as one of a file. Source: document, Deprecation Rationale.
    """
    agent = lab.agent()
    accepted(register(agent, "web", port=8080, sidecar={}))
    _is_sidecar(agent, "web", port=8080)
    _in_the_mesh(lab, agent, "web")


@requirement("sidecar/register/03")
def check_ports_of_sidecars_come_in_order(lab: Lab) -> None:
    """Register three services with sidecars, of which one has a port, and the first one again.

    The others get the lowest free ports of the range, and the first one keeps its. Source: catalogue.
    """
    ports = lab.ports(3)
    options = {"ports": {"sidecar_min_port": ports[0], "sidecar_max_port": ports[-1]}}
    agent = lab.agent(options=options)
    accepted(register(agent, "a", port=1, sidecar={}))
    accepted(register(agent, "b", port=2, sidecar={"Port": ports[1]}))
    accepted(register(agent, "c", port=3, sidecar={}))
    accepted(register(agent, "a", port=4, sidecar={}))
    services = agent.services()
    assert [services[f"{name}-sidecar-proxy"]["Port"] for name in "abc"] == list(ports)


@requirement("sidecar/register/04")
def check_a_sidecar_has_two_checks(lab: Lab) -> None:
    """Register a service with an empty sidecar.

    One check tells whether anybody listens on the port of the sidecar, one follows the service. Source: catalogue.
    """
    agent = lab.agent()
    accepted(register(agent, "web", port=8080, sidecar={}))
    checks = {key: check["Name"] for key, check in agent.checks().items() if "sidecar" in key}
    assert checks == {
        "service:web-sidecar-proxy:1": "Connect Sidecar Listening",
        "service:web-sidecar-proxy:2": "Connect Sidecar Aliasing web",
    }
    assert agent.checks()["service:web-sidecar-proxy:1"]["Status"] == "critical"
    lab.until(
        "registration",
        lambda: agent.checks()["service:web-sidecar-proxy:2"]["Status"] == "passing",
        what="the alias follows the service, which has no check",
    )


@requirement("sidecar/register/05")
@pytest.mark.parametrize("wrong", ["ID", "SidecarService", "Proxy"])
def check_a_sidecar_has_nothing_of_its_own_kind(lab: Lab, wrong: str) -> None:
    """Register a service whose sidecar has an ID, a sidecar or a managed proxy.

    Each is refused, and the service is not registered either. Source: catalogue.
    """
    agent = lab.agent()
    sidecar: Mapping[str, Any] = {"ID": "mine"} if wrong == "ID" else {"Connect": {wrong: {}}}
    assert refused(register(agent, "web", port=8080, sidecar=sidecar))
    lab.holds("blink", lambda: not {"web", "mine"} & set(agent.services()), what="nothing is registered")


@requirement("sidecar/removal/01")
def check_a_sidecar_goes_with_its_service(lab: Lab) -> None:
    """Deregister a service that has a sidecar.

    The sidecar is gone with its checks, at the agent and in the catalog. Source: catalogue.
    """
    agent = lab.agent()
    accepted(register(agent, "web", port=8080, sidecar={}))
    _in_the_mesh(lab, agent, "web")
    accepted(deregister(agent, "web"))
    assert "web-sidecar-proxy" not in agent.services()
    assert not [check for check in agent.checks() if "sidecar" in check]
    lab.until(
        "registration",
        lambda: agent.api.get("/v1/catalog/connect/web").json == [],
        what="the catalog forgets the sidecar",
    )


@requirement("sidecar/process/01")
def check_no_process_is_started_for_a_sidecar(lab: Lab) -> None:
    """Define a service with a sidecar.

    The agent starts no process: running the proxy is somebody else's business. Source: document, Deprecation
    Rationale.
    """
    agent = lab.agent(definitions=[lab.service("web", connect=EMPTY)])
    assert "web-sidecar-proxy" in agent.services()
    lab.holds("observation", lambda: not agent.proxies(), what="no proxy is started")
