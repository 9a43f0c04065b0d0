"""Ports of the public listeners: the range, its ends, fixed ports, exhaustion."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

from conformance.checks._situations import (
    ALLOW_API,
    IDLE,
    accepted,
    connects,
    deregister,
    refused,
    register,
    reloaded,
)
from conformance.plugin.lab import AgentUnderTest, Lab
from conformance.plugin.marks import requirement


@requirement("ports/range/01")
def check_default_range(lab: Lab) -> None:
    """Start an agent whose configuration names no range, with two services that have a managed proxy.

    Their ports lie in 20000 to 20255. Source: document, Minimal Configuration.
    """
    lab.exclusive("default proxy ports")
    agent = lab.agent(
        definitions=[lab.service(name, proxy={"command": IDLE}) for name in ("a", "b")],
        options={"ports": {"proxy_min_port": None, "proxy_max_port": None}},
    )
    ports = _ports(agent, "a", "b")
    assert all(20000 <= port <= 20255 for port in ports), f"ports {ports}"


@requirement("ports/range/02")
def check_range_is_inclusive(lab: Lab) -> None:
    """Configure a range of three ports and three services with a managed proxy.

    Each port of the range is given to one of them. Source: document, Minimal Configuration.
    """
    ports = lab.ports(3)
    agent = _with_range(lab, ports, "a", "b", "c")
    assert sorted(_ports(agent, "a", "b", "c")) == list(ports)


@requirement("ports/range/03")
def check_ports_are_random(lab: Lab) -> None:
    """Configure a range of 64 ports and six services with a managed proxy.

    The ports given are neither the first six nor the last six (by chance: once in 37 million).
    Source: document, Minimal Configuration ("random port").
    """
    ports = lab.ports(64)
    names = ("a", "b", "c", "d", "e", "f")
    given = sorted(_ports(_with_range(lab, ports, *names), *names))
    assert len(set(given)) == len(names)
    assert given not in (list(ports[:6]), list(ports[-6:]))


@requirement("ports/range/04")
def check_reversed_range_is_an_error(lab: Lab) -> None:
    """Configure a range whose minimum lies above its maximum.

    The agent gives up with an exit code above 0 and names the keys. Source: catalogue.
    """
    finished = lab.start_expecting_failure(
        options={"ports": {"proxy_min_port": 20010, "proxy_max_port": 20000}}
    )
    assert finished.exit_code > 0
    assert "proxy_min_port" in finished.output
    assert "proxy_max_port" in finished.output


@requirement("ports/range/05")
def check_range_can_be_switched_off(lab: Lab) -> None:
    """Set both ends of the range to 0, and define a managed proxy with a port of its own; register one without.

    The first has its port, the second is refused, and the agent goes on. Source: catalogue.
    """
    port = lab.port()
    agent = lab.agent(
        definitions=[lab.service("a", proxy={"command": IDLE, "config": {"bind_port": port}})],
        options=_merged(ALLOW_API, proxy_min_port=0, proxy_max_port=0),
    )
    answer = register(agent, "b", port=1, proxy={"Command": IDLE})
    assert refused(answer), f"the registration without a port was answered {answer.status}"
    assert _ports(agent, "a") == [port]
    assert "b-proxy" not in agent.services()


@requirement("ports/exhaustion/01")
def check_exhausted_range_is_an_error(lab: Lab) -> None:
    """Configure a range of two ports and three services with a managed proxy.

    The agent ends with exit code 1 and a message that shows both ends of the range. Source: catalogue.
    """
    ports = lab.ports(2)
    finished = lab.start_expecting_failure(
        definitions=[lab.service(name, proxy={"command": IDLE}) for name in ("a", "b", "c")],
        options={"ports": {"proxy_min_port": ports[0], "proxy_max_port": ports[-1]}},
    )
    assert finished.exit_code == 1
    assert str(ports[0]) in finished.output
    assert str(ports[-1]) in finished.output


@requirement("ports/exhaustion/02")
def check_freed_port_is_given_again(lab: Lab) -> None:
    """Use up a range of one port, deregister its service, and register another with a managed proxy.

    The second gets the port of the first. Source: catalogue.
    """
    (port,) = lab.ports(1)
    agent = lab.agent(options={**ALLOW_API, "ports": {"proxy_min_port": port, "proxy_max_port": port}})
    for name in ("a", "b"):
        accepted(register(agent, name, port=lab.port(), proxy={"Command": IDLE}))
        assert _ports(agent, name) == [port]
        accepted(deregister(agent, name))


@requirement("ports/fixed/01")
def check_bind_port_is_used(lab: Lab) -> None:
    """Set ``config.bind_port`` of a built-in proxy to a port outside the range.

    The proxy service has that port and the proxy listens on it. Source: document, Custom Managed Proxy (config).
    """
    port = lab.port()
    agent = lab.agent(definitions=[lab.service("redis", proxy={"config": {"bind_port": port}})])
    assert port not in agent.proxy_ports
    assert _ports(agent, "redis") == [port]
    proxy = agent.proxy("redis-proxy")
    lab.until("proxy_listens", lambda: port in proxy.listening_ports(), what=f"the proxy listens on {port}")


@requirement("ports/fixed/03")
def check_listener_waits_for_its_port(lab: Lab) -> None:
    """Listen on the ``bind_port`` of a built-in proxy before it starts, and stop listening when it runs for a moment.

    The proxy listens there then, without a restart. Source: hardening.
    """
    port = lab.port()
    with socket.create_server(("127.0.0.1", port)):
        agent = lab.agent(definitions=[lab.service("redis", proxy={"config": {"bind_port": port}})])
        proxy = agent.proxy("redis-proxy")
        lab.holds("observation", proxy.alive, what="the proxy waits")
    lab.until("proxy_listens", lambda: port in proxy.listening_ports(), what=f"the proxy listens on {port}")


@requirement("ports/fixed/02")
def check_bind_port_must_be_a_number(lab: Lab) -> None:
    """Set ``config.bind_port`` of a managed proxy to a word.

    The agent gives up with an exit code above 0 and names the key. Source: catalogue.
    """
    proxy = {"command": IDLE, "config": {"bind_port": "any"}}
    finished = lab.start_expecting_failure(definitions=[lab.service("web", proxy=proxy)])
    assert finished.exit_code > 0
    assert "bind_port" in finished.output


@requirement("ports/listener/01")
def check_listener_is_where_it_is_registered(lab: Lab) -> None:
    """Start an agent with an empty ``connect.proxy``.

    The proxy process itself accepts connections on the port that the proxy service was registered with, and on the
    agent's bind address alone. Source: document, Minimal Configuration.
    """
    agent = lab.agent(definitions=[lab.service("redis", proxy={})])
    (port,) = _ports(agent, "redis")
    proxy = agent.proxy("redis-proxy")
    lab.until("proxy_listens", lambda: connects(port), what=f"connections to {port} are accepted")
    assert port in proxy.listening_ports()
    assert not connects(port, host="127.0.0.2"), "it listens on other addresses of the machine, too"


@requirement("ports/stable/01")
def check_ports_are_stable(lab: Lab) -> None:
    """Start an agent with two managed proxies in files, register two over HTTP, and one of these again with another
    config; reload the agent, then stop it and start it again.

    Each proxy keeps its port. Source: catalogue.
    """
    definitions = [lab.service(name, proxy={"command": IDLE}) for name in ("a", "b")]
    agent = lab.agent(definitions=definitions, options=ALLOW_API)
    for name in ("c", "d"):
        accepted(register(agent, name, port=1, proxy={"Command": IDLE}))
    ports = _ports(agent, *"abcd")
    accepted(register(agent, "d", port=1, proxy={"Command": IDLE, "Config": {"foo": "bar"}}))
    assert _ports(agent, *"abcd") == ports, "a port changed by the registration"
    reloaded(lab, agent, *definitions)
    assert _ports(agent, *"abcd") == ports, "a port changed by the reload"
    agent.restart()
    assert _ports(agent, *"abcd") == ports, "a port changed by the restart"


@requirement("ports/taken/01")
def check_taken_ports_are_avoided(lab: Lab) -> None:
    """Listen on all but one port of a range of 24, and start a service with a managed proxy.

    It is given the free port. Source: hardening; the original asks only its own proxies.
    """
    ports = lab.ports(24)
    with ExitStack() as taken:
        for port in ports[:-1]:
            taken.enter_context(socket.create_server(("127.0.0.1", port)))
        agent = _with_range(lab, ports, "a")
        assert _ports(agent, "a") == [ports[-1]]


@requirement("ports/exhaustion/03")
def check_exhausted_range_over_http_is_an_error(lab: Lab) -> None:
    """Register two services with managed proxies over HTTP where the range has one port.

    The second registration is refused with a message that shows the range, and the first proxy and the agent go on.
    Source: catalogue.
    """
    (port,) = lab.ports(1)
    agent = lab.agent(options=_merged(ALLOW_API, proxy_min_port=port, proxy_max_port=port))
    accepted(register(agent, "a", port=1, proxy={"Command": IDLE}))
    proxy = agent.proxy("a-proxy")
    answer = register(agent, "b", port=1, proxy={"Command": IDLE})
    assert refused(answer), f"the second registration was answered {answer.status}"
    assert f"[{port}, {port}]" in answer.text, f"the answer is {answer.text!r}"
    lab.holds("blink", lambda: agent.proxies("a-proxy") == [proxy], what="the first proxy goes on")
    assert "a-proxy" in agent.services()


@requirement("ports/concurrent/01")
def check_concurrent_registrations_get_different_ports(lab: Lab) -> None:
    """Register 200 services with managed proxies over HTTP, twenty at a time, where the range has 256 ports.

    Each has a port of that range, and each another. Source: hardening. The proxies are of a mode in
    which no process is started: this is about ports.
    """
    lab.exclusive("default proxy ports")
    agent = lab.agent(options=_merged(ALLOW_API, proxy_min_port=20000, proxy_max_port=20255))
    names = [f"s{number}" for number in range(200)]

    def join(name: str) -> int:
        return register(agent, name, port=1, proxy={"ExecMode": "script", "Command": IDLE}).status

    with ThreadPoolExecutor(20) as pool:
        assert set(pool.map(join, names)) == {200}
    services = agent.services()
    ports = {services[f"{name}-proxy"]["Port"] for name in names}
    assert len(ports) == len(names), f"{len(names)} proxies have {len(ports)} ports"
    assert ports <= set(range(20000, 20256))


def _with_range(lab: Lab, ports: range, *names: str) -> AgentUnderTest:
    return lab.agent(
        definitions=[lab.service(name, proxy={"command": IDLE}) for name in names],
        options={"ports": {"proxy_min_port": ports[0], "proxy_max_port": ports[-1]}},
    )


def _ports(agent: AgentUnderTest, *names: str) -> list[int]:
    services = agent.services()
    return [services[f"{name}-proxy"]["Port"] for name in names]


def _merged(permission: Mapping[str, Any], **ports: int) -> dict[str, Any]:
    return {**permission, "ports": ports}
