"""What definitions, defaults and registrations come to."""

from __future__ import annotations

import re
from typing import Any

import pytest

from conformance.checks._situations import ALLOW_API
from conformance.plugin.lab import AgentUnderTest, Lab
from tests.observed.replay import comparable, recorded, replays, seen

SLEEP = ["/bin/sleep", "777"]
DEFAULTS = {
    "connect": {
        "proxy": {"allow_managed_api_registration": True},
        "proxy_defaults": {
            "daemon_command": SLEEP,
            "config": {"bind_address": "127.0.0.3", "foo": "default", "dflt": 1},
        },
    }
}


@pytest.fixture
def various(lab: Lab) -> AgentUnderTest:
    """An agent with defaults for all proxies, and services that use or override them."""
    config: dict[str, dict[str, Any]] = {
        "def": {},
        "over": {"config": {"foo": "mine", "bind_address": "127.0.0.1"}},
        "cmd": {"command": ["/bin/sleep", "778"]},
        "strport": {"config": {"bind_port": str(lab.port())}},
        "badlocal": {"config": {"local_service_address": "10.0.0.1"}},
        "goodlocal": {
            "config": {"local_service_address": "127.0.0.1:9999", "tcp_check_address": "127.0.0.9"}
        },
        "nochk": {"config": {"bind_port": lab.port(), "disable_tcp_check": True}},
    }
    services = [
        lab.service(name, port=port, proxy=proxy) for port, (name, proxy) in enumerate(config.items(), 1)
    ]
    services += [lab.service("multi", id=f"inst{number}", port=7 + number, proxy={}) for number in (1, 2)]
    return lab.agent(definitions=services, options=DEFAULTS)


def test_services_and_their_proxies(various: AgentUnderTest) -> None:
    _check_configs(various)
    _check_services(various)


@replays("proxy-defaults-def", "proxy-defaults-over", "proxy-defaults-cmd", "quirk-string-bind-port-config")
def _check_configs(agent: AgentUnderTest) -> None:
    for name in ("def", "over", "cmd"):
        answer = agent.api.get(f"/v1/agent/connect/proxy/{name}-proxy")
        assert comparable(answer.json) == seen(f"proxy-defaults-{name}")
    given = seen("quirk-string-bind-port-config")
    given["Config"]["bind_port"] = "<port>"  # deviation: MP-INT-012, a number everywhere
    assert comparable(agent.api.get("/v1/agent/connect/proxy/strport-proxy").json) == given


@replays(
    "services-various-proxies",
    "checks-various-proxies",
    "local-service-address",
    "quirk-local-service-address-no-port",
    "quirk-string-bind-port-service",
)
def _check_services(agent: AgentUnderTest) -> None:
    services = {name: entry for name, entry in agent.services().items() if name.endswith("-proxy")}
    expected = seen("services-various-proxies")
    # Deviation: MP-CAT-002, quirk 20.
    expected["goodlocal-proxy"]["Proxy"] |= {"LocalServiceAddress": "127.0.0.1", "LocalServicePort": 9999}
    assert comparable(services) == expected

    checks = seen("checks-various-proxies")
    # Deviation: MP-INT-012, quirk 19: the check of a port in text goes to that port.
    checks["service:strport-proxy"]["Output"] = "dial tcp 127.0.0.3:<port>: connect: connection refused"
    assert comparable(agent.checks()) == checks

    answer = agent.api.get("/v1/agent/service/goodlocal-proxy")
    assert comparable(answer.json) == seen("local-service-address")

    # Deviation: MP-INT-011: it is shown, with the port of its service, as in the catalog.
    assert recorded("quirk-local-service-address-no-port")["status"] == 500
    bad = agent.api.get("/v1/agent/service/badlocal-proxy")
    assert (
        bad.json["Proxy"]["LocalServiceAddress"] == services["badlocal-proxy"]["Proxy"]["LocalServiceAddress"]
    )

    # Deviation: MP-INT-012, quirk 19: what was accepted works.
    assert recorded("quirk-string-bind-port-service")["status"] == 500
    assert agent.api.get("/v1/agent/service/strport-proxy").json["Port"] >= 10000


@replays("agent-port-exhaustion", "agent-ports-disabled")
def test_a_range_that_is_too_small(lab: Lab) -> None:
    ports = lab.ports(2)
    services = [lab.service(name, proxy={"command": SLEEP}) for name in ("a", "b", "c")]
    for name, low, high in (("agent-port-exhaustion", ports[0], ports[1]), ("agent-ports-disabled", 0, 0)):
        options = {"ports": {"proxy_min_port": low, "proxy_max_port": high}}
        ended = lab.start_expecting_failure(definitions=services, options=options, name=name)
        problem = recorded(name)["body"]["tail"][1].partition("[")[0].strip()
        assert re.sub(r"\s+", " ", problem) in re.sub(r"\s+", " ", ended.output)


@replays(
    "api-register-allowed",
    "api-register-allowed-snake",
    "api2-proxy-config",
    "api-reregister-config-change",
    "api-reregister-without-proxy",
    "restart-api-registered",
)
def test_registrations_over_the_api(lab: Lab) -> None:
    agent = lab.agent(options=DEFAULTS)

    def register(body: dict[str, Any]) -> int:
        return agent.api.put("/v1/agent/service/register", body).status

    proxy = {"ExecMode": "daemon", "Command": ["/bin/sleep", "779"], "Config": {"k": "v"}}
    api1 = {"Name": "api1", "Port": 7001, "Connect": {"Proxy": proxy}}
    assert register(api1) == recorded("api-register-allowed")["status"]
    upstreams = [{"destination_name": "x", "local_bind_port": 5}]
    snake = {"exec_mode": "daemon", "command": ["/bin/sleep", "780"], "upstreams": upstreams}
    api2 = {"name": "api2", "port": 7002, "connect": {"proxy": snake}}
    assert register(api2) == recorded("api-register-allowed-snake")["status"]
    config = agent.api.get("/v1/agent/connect/proxy/api2-proxy")
    assert comparable(config.json) == seen("api2-proxy-config")

    before = agent.proxy("api1-proxy")
    token, port = before.environment()["CONNECT_PROXY_TOKEN"], agent.services()["api1-proxy"]["Port"]
    changed = {**api1, "Connect": {"Proxy": {**proxy, "Config": {"k": "other"}}}}
    assert register(changed) == recorded("api-reregister-config-change")["status"]
    after = agent.proxy("api1-proxy")
    assert {
        "same_pid": after == before,
        "same_token": after.environment()["CONNECT_PROXY_TOKEN"] == token,
        "same_port": agent.services()["api1-proxy"]["Port"] == port,
    } == seen("api-reregister-config-change")

    assert register({"Name": "api1", "Port": 7001}) == recorded("api-reregister-without-proxy")["status"]
    assert {
        "proxy_still_running": before.alive(),
        "config_status": agent.api.get("/v1/agent/connect/proxy/api1-proxy").status,
    } == seen("api-reregister-without-proxy")

    agent.restart()
    status = agent.api.get("/v1/agent/connect/proxy/api2-proxy").status
    assert status == seen("restart-api-registered")["api2_config_status"]


@replays(
    "api-bind-port-clash", "api-no-port", "api-kind-proxy-and-managed", "api-port-exhaustion-target-left"
)
def test_registrations_at_the_edge(lab: Lab) -> None:
    ports = lab.ports(2)
    options = {**ALLOW_API, "ports": {"proxy_min_port": ports[0], "proxy_max_port": ports[1]}}
    agent = lab.agent(
        definitions=[lab.service("ex1", proxy={"command": SLEEP, "config": {"bind_port": ports[0]}})],
        options=options,
    )

    def register(name: str, body: dict[str, Any], port: int) -> int:
        proxy = {"Command": SLEEP, "Config": {"bind_port": port} if port else {}}
        registration = {"Name": name, **body, "Connect": {"Proxy": proxy}}
        return agent.api.put("/v1/agent/service/register", registration).status

    assert register("clash", {"Port": 7200}, ports[0]) == recorded("api-bind-port-clash")["status"]
    assert register("noport", {}, lab.port()) == recorded("api-no-port")["status"]
    kind = {"Kind": "connect-proxy", "Port": 7, "Proxy": {"DestinationServiceName": "def"}}
    assert register("kp", kind, lab.port()) == recorded("api-kind-proxy-and-managed")["status"]

    assert register("last", {"Port": 7101}, 0) == 200
    assert register("ex2", {"Port": 7102}, 0) >= 400
    left = agent.api.get("/v1/agent/service/ex2")
    assert comparable(left.json) == seen("api-port-exhaustion-target-left")
