"""What a definition says of a proxy comes to it the same from JSON and from HCL, numbers as such or as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from reference.proxy.config import ProxyConfig, Public, Upstream, parse
from reference.proxy.endpoints import Address
from reference.proxy.telemetry import Telemetry
from tests.agents import SLEEP, Agent, agent
from tests.config.writing import as_hcl, write
from tests.ports import free_ports

PORTS = free_ports(8)


def _text(value: Any) -> Any:
    """The same with numbers and booleans as text."""
    if isinstance(value, Mapping):
        return {key: _text(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_text(inner) for inner in value]
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


#: How each service is written; with it the end of the file's name.
SPELLINGS = {
    "json": ".json",
    "json-text": ".json",
    "hcl-blocks": ".hcl",
    "hcl-values": ".hcl",
    "hcl-text": ".hcl",
}


def proxy(bind_port: int, local_bind_port: int) -> dict[str, Any]:
    """Every option that is a number or a boolean, and none at its default."""
    config = {
        "bind_address": "127.0.0.1",
        "bind_port": bind_port,
        "local_service_address": "127.0.0.1:7",
        "local_connect_timeout_ms": 1500,
        "handshake_timeout_ms": 2500.5,
        "max_inbound_connections": 7,
        "reauthorize_established": False,
        "proxy_protocol": "v2",
        "drain_timeout_ms": 3500,
        "prometheus_bind_address": "127.0.0.1:9",
        "disable_tcp_check": True,
        "telemetry": {"statsd_address": "127.0.0.1:8", "disable_hostname": True, "filter_default": False},
    }
    upstream = {
        "destination_name": "db",
        "local_bind_port": local_bind_port,
        "config": {"connect_timeout_ms": 4500, "limits": {"max_connections": 8}},
    }
    return {"config": config, "upstreams": [upstream]}


def definition(spelling: str, name: str, bind_port: int, local_bind_port: int) -> str | dict[str, Any]:
    options = proxy(bind_port, local_bind_port)
    if spelling.endswith("text"):  # of an upstream only its config may be so written: the rest is the agent's
        for one in (options, *options["upstreams"]):
            one["config"] = _text(one["config"])
    service = {"service": {"name": name, "port": 1, "connect": {"proxy": {"command": SLEEP, **options}}}}
    return as_hcl(service, blocks=spelling == "hcl-blocks") if spelling.startswith("hcl") else service


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    folder: Path = tmp_path_factory.mktemp("spellings")
    with agent(folder) as one:
        for number, (spelling, ending) in enumerate(SPELLINGS.items()):
            write(
                folder / "services" / f"{spelling}{ending}",
                definition(spelling, spelling, PORTS[number], 1000 + number),
            )
        one.arguments += ["-config-dir", str(folder / "services")]
        one.start()
        yield one


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_the_proxy_is_told_the_same(running: Agent, spelling: str) -> None:
    number = list(SPELLINGS).index(spelling)
    told = parse(running.get(f"/v1/agent/connect/proxy/{spelling}-proxy"))
    assert told == ProxyConfig(
        service=spelling,
        public=Public(
            bind=Address(host="127.0.0.1", port=PORTS[number]),
            application=Address(host="127.0.0.1", port=7),
            handshake_timeout=2.5005,
            local_connect_timeout=1.5,
            max_connections=7,
            proxy_protocol=True,
            reauthorize=False,
        ),
        upstreams=(
            Upstream(
                bind=Address(host="127.0.0.1", port=1000 + number),
                name="db",
                connect_timeout=4.5,
                max_connections=8,
            ),
        ),
        drain_timeout=3.5,
        prometheus=Address(host="127.0.0.1", port=9),
        telemetry=Telemetry(
            prefix=f"consul.proxy.{spelling}",
            statsd=Address(host="127.0.0.1", port=8),
            hostname=False,
            by_default=False,
        ),
    )


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_the_agent_heeds_it_too(running: Agent, spelling: str) -> None:
    checks = running.get("/v1/agent/checks")
    assert not [check for check in checks.values() if check["ServiceID"] == f"{spelling}-proxy"]
