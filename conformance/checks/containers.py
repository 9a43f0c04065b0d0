"""Containers: agent, proxies and the services behind them, each where it has an address of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from conformance.checks._situations import HEALTHY_AT_ONCE, IDLE, exchange, payload, recorded, token_of
from conformance.plugin.lab import AgentUnderTest, Lab
from conformance.plugin.marks import requirement

_REDIS_PORT, _ECHO_PORT = 6379, 7777
_SIZE = 1 << 20


@requirement("containers/network/01")
def check_redis_in_a_container(lab: Lab) -> None:
    """Bind an agent to its address of a network where a redis-server has a container, and ask it from that container.

    The question goes to ``web``'s upstream at the agent's address, through both proxies to ``redis`` and back; the
    catalog has the proxy of ``redis`` at the agent's address. Source: hardening.
    """
    redis = lab.machine.neighbour("redis")
    agent, port = _pair(lab, "redis", f"{redis.address}:{_REDIS_PORT}")

    def ask(*words: str) -> str:
        return redis.run("redis-cli", "-h", lab.machine.address, "-p", str(port), *words).strip()

    lab.until("data_path", lambda: ask("ping") == "PONG", what="redis answers through the pair of proxies")
    assert (ask("set", "key", "value"), ask("get", "key")) == ("OK", "value")
    entry = agent.api.get("/v1/catalog/service/redis-proxy").json[0]
    assert lab.machine.address in (entry["ServiceAddress"], entry["Address"])
    reached = exchange(entry["ServicePort"], b"plain", host=lab.machine.address)
    assert reached == b"", "the proxy let somebody in who showed no certificate"


@requirement("containers/network/01")
def check_stream_to_another_container(lab: Lab) -> None:
    """Send a mebibyte through the pair to an echoing application in a container of its own.

    It comes back unchanged. Source: hardening.
    """
    echo = lab.machine.neighbour("echo")
    _, port = _pair(lab, "redis", f"{echo.address}:{_ECHO_PORT}")

    def send(data: bytes) -> bytes:
        return exchange(port, data, host=lab.machine.address)

    lab.until("data_path", lambda: send(b"ready?") == b"ready?", what="the pair of proxies carries bytes")
    assert send(payload(_SIZE)) == payload(_SIZE)


@requirement("containers/upgrade/01")
def check_container_is_replaced(lab: Lab) -> None:
    """Stop an agent, replace its container by one of the next image with the same workspace, and start it.

    One process of each proxy runs, with the token and the port of before. Source: hardening.
    """
    agent = lab.agent(definitions=[lab.service("web", proxy={"command": IDLE})])
    before = agent.proxy("web-proxy")
    token, port = token_of(before), agent.services()["web-proxy"]["Port"]
    recorded(lab, agent, before)
    agent.stop()
    lab.upgrade_machine()
    agent.start()
    after = agent.proxy("web-proxy", other_than=before)
    lab.holds("quiet", lambda: agent.proxies() == [after], what="the proxy has one process")
    assert (token_of(after), agent.services()["web-proxy"]["Port"]) == (token, port)


def _pair(lab: Lab, name: str, application: str) -> tuple[AgentUnderTest, int]:
    """An agent that is bound to the network, and the port there at which ``web`` reaches that application."""
    address, port = lab.machine.address, lab.port()
    config: Mapping[str, Any] = {**HEALTHY_AT_ONCE, "local_service_address": application}
    upstream = {"destination_name": name, "local_bind_address": address, "local_bind_port": port}
    agent = lab.agent(
        definitions=[
            lab.service(name, proxy={"config": config}),
            lab.service("web", proxy={"config": HEALTHY_AT_ONCE, "upstreams": [upstream]}),
        ],
        flags=("-bind", address),
    )
    return agent, port
