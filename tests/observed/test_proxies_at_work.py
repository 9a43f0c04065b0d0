"""The built-in proxy: what passes through it, what it refuses, what it says when it is started by hand."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from conformance.checks._situations import HEALTHY_AT_ONCE, connects, exchange, payload, reloaded
from conformance.instruments.echo import EchoServer
from conformance.instruments.identities import agent_identity, agent_roots
from conformance.plugin.lab import AgentUnderTest, Lab
from tests.observed.replay import comparable, recorded, replays, seen

DATA = ["data", "hello", 0.0]


@replays("builtin-proxy-datapath", "builtin-proxy-config-change", "builtin-proxy-tls")
def test_what_goes_through_and_what_does_not(lab: Lab) -> None:
    application = lab.use(EchoServer())
    ports = {name: lab.port() for name in ("echo", "query", "nosuch", "down", "added")}

    def upstreams(*names: str) -> list[dict[str, Any]]:
        return [
            {
                "destination_name": {"query": "echo-query", "added": "echo"}.get(name, name),
                "destination_type": "prepared_query" if name == "query" else "service",
                "local_bind_port": ports[name],
            }
            for name in names
        ]

    echo = lab.service("echo", port=application.port, proxy={"config": HEALTHY_AT_ONCE})
    down = lab.service("down", proxy={"config": HEALTHY_AT_ONCE})
    web = lab.service("web", proxy={"upstreams": upstreams("echo", "query", "nosuch", "down")})
    agent = lab.agent(definitions=[echo, down, web])
    agent.api.post("/v1/query", {"Name": "echo-query", "Service": {"Service": "echo", "Connect": True}})
    told = recorded("builtin-proxy-datapath")["body"]
    for name, recording in (("echo", "echo"), ("query", "prepared query")):
        assert told[recording] == DATA
        lab.until(
            "data_path", lambda name=name: exchange(ports[name], b"hello") == b"hello", what=f"{name} carries"
        )
    for name, recording in (("nosuch", "nosuch"), ("down", "local app down")):
        assert told[recording][0] == "exc"
        assert exchange(ports[name], b"hello") == b""
    megabyte = payload(1 << 20)
    assert exchange(ports["echo"], megabyte) == megabyte

    _check_ciphers(lab, agent)

    denied = agent.api.post(
        "/v1/connect/intentions", {"SourceName": "web", "DestinationName": "echo", "Action": "deny"}
    )
    assert told["after deny: new connection"][0] == "eof"
    lab.until("intention", lambda: exchange(ports["echo"], b"hello") == b"", what="the denial is in force")
    agent.api.delete(f"/v1/connect/intentions/{denied.json['ID']}")
    assert told["after intention removed"] == DATA
    lab.until("intention", lambda: exchange(ports["echo"], b"hello") == b"hello", what="the denial is over")

    changed = recorded("builtin-proxy-config-change")["body"]
    before = agent.proxy("web-proxy")
    kept = {"service": {**web["service"], "connect": {"proxy": {"upstreams": upstreams("echo", "added")}}}}
    reloaded(lab, agent, echo, down, kept)
    assert changed["21001"] == changed["21010"] == DATA
    for name in ("echo", "added"):
        lab.until(
            "data_path", lambda name=name: exchange(ports[name], b"hello") == b"hello", what=f"{name} carries"
        )
    # Deviation: quirk 15, what was removed is closed.
    lab.until("proxy_config", lambda: not connects(ports["nosuch"]), what="the removed upstream is closed")
    assert agent.proxy("web-proxy") == before


def _check_ciphers(lab: Lab, agent: AgentUnderTest) -> None:
    """Offer to the public listener what the recordings offered; the same is taken and refused."""
    told = recorded("builtin-proxy-tls")["body"]
    identity = agent_identity(agent.api, "web")
    pair = lab.write("web.pem", f"{identity.cert_pem}\n{identity.key_pem}")
    roots = "\n".join(agent_roots(agent.api))
    for name, version, ciphers in (
        ("tls12", ssl.TLSVersion.TLSv1_2, "ECDHE+AESGCM"),
        ("tls12_chacha", ssl.TLSVersion.TLSv1_2, "ECDHE+CHACHA20"),
        ("tls12_cbc", ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES128-SHA"),
        ("tls13", ssl.TLSVersion.TLSv1_3, ""),
    ):
        context = ssl.create_default_context(cadata=roots)
        context.check_hostname = False
        context.load_cert_chain(pair)
        context.minimum_version = context.maximum_version = version
        if ciphers:
            context.set_ciphers(ciphers)
        taken = any("Cipher is " in line and "(NONE)" not in line for line in told[name]["lines"])
        assert _shakes_hands(context, agent.services()["echo-proxy"]["Port"]) == taken, name


def _shakes_hands(context: ssl.SSLContext, port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as raw:
        try:
            context.wrap_socket(raw).close()
        except ssl.SSLError:
            return False
    return True


@pytest.fixture
def by_hand(lab: Lab) -> Callable[..., tuple[int, str]]:
    """Run ``connect proxy`` with arguments, against an agent that is not there."""

    def run(*arguments: str) -> tuple[int, str]:
        environment: Mapping[str, str] = {
            **{
                key: value for key, value in os.environ.items() if not key.startswith(("CONSUL_", "CONNECT_"))
            },
            "CONSUL_HTTP_ADDR": "127.0.0.1:1",
        }
        ended = subprocess.run(
            [sys.executable, "-m", "proxyproof", "connect", "proxy", *arguments],
            capture_output=True,
            text=True,
            env=environment,
            timeout=60,
            check=False,
        )
        return ended.returncode, ended.stdout + ended.stderr

    return run


@replays("cli-connect-proxy")
def test_refusals_of_the_command_line(by_hand: Callable[..., tuple[int, str]]) -> None:
    told = recorded("cli-connect-proxy")["body"]
    for line in (
        "",
        "extra",
        "-service web -listen 127.0.0.1:1234",
        "-service web -listen bad -service-addr 127.0.0.1:1",
        "-service web -upstream db",
    ):
        code, output = by_hand(*line.split())
        expected_code, expected = told[line]
        # Deviation: a command line that is wrong is exit code 2 everywhere.
        assert (code > 0) == (expected_code > 0), output
        problem = expected.splitlines()[0 if line == "-service web -upstream db" else -1]
        essence = problem.removeprefix("==> ").removeprefix("Error preparing configuration: ").rstrip(".\n")
        assert essence.partition(" for flag")[0].lower() in output.lower(), (line, output)


@replays("sidecar-register-query")
def test_sidecars(lab: Lab) -> None:
    ports = lab.ports(1)
    agent = lab.agent(options={"ports": {"sidecar_min_port": ports[0], "sidecar_max_port": ports[0]}})
    told = recorded("sidecar-register-query")["body"]
    upstream = {"DestinationName": "db", "LocalBindPort": 21300}
    body = {
        "Name": "web",
        "Port": 28400,
        "Tags": ["t1"],
        "Meta": {"m": "v"},
        "Connect": {"SidecarService": {"Proxy": {"Upstreams": [upstream]}}},
    }
    answer = agent.api.put("/v1/agent/service/register", body)
    assert answer.status == told["register web with sidecar"][0]
    expected = seen("sidecar-register-query")
    assert comparable(agent.services()["web-sidecar-proxy"]) == expected["sidecar record"]
    one = agent.api.get("/v1/agent/service/web-sidecar-proxy")
    assert comparable(one.json) == expected["agent service sidecar"]
    assert {name: check["Name"] for name, check in agent.checks().items()} == {
        name: title for name, title in told["checks"].items() if "web-sidecar" in name
    }
    for name, wrong in (
        ("second sidecar: range exhausted", {"SidecarService": {}}),
        ("sidecar with managed proxy nested", {"SidecarService": {"Connect": {"Proxy": {}}}}),
        ("sidecar with ID", {"SidecarService": {"ID": "own"}}),
    ):
        refused = agent.api.put("/v1/agent/service/register", {"Name": "second", "Port": 1, "Connect": wrong})
        text = comparable(refused.text.splitlines()[-1].removeprefix("* ").removeprefix("Bad request: "))
        assert refused.status in (400, told[name][0])
        assert text in comparable(told[name][1]), name


@replays("extra-checks")
def test_odds_and_ends(lab: Lab) -> None:
    told = recorded("extra-checks")["body"]
    port = lab.port()
    agent = lab.agent(
        definitions=[lab.service("echo", proxy={"command": ["/bin/sleep", "1000"]})],
        options={"connect": {"proxy_defaults": {"config": {"bind_port": port}}}},
    )
    # Deviation: quirk 22, the default reaches the record too.
    assert told["proxy_defaults.config.bind_port"]["config_ports"]["echo-proxy"] == 24990
    config = agent.api.get("/v1/agent/connect/proxy/echo-proxy").json["Config"]
    assert (agent.services()["echo-proxy"]["Port"], config["bind_port"]) == (port, port)

    sidecar = subprocess.run(
        [sys.executable, "-m", "proxyproof", "connect", "proxy", "-sidecar-for", "zz"],
        capture_output=True,
        text=True,
        env={**os.environ, "CONSUL_HTTP_ADDR": f"127.0.0.1:{agent.http_port}"},
        timeout=60,
        check=False,
    )
    problem = told["sidecar-for zz"][1].strip().rpartition(": ")[2]
    assert sidecar.returncode == told["sidecar-for zz"][0]
    assert problem in sidecar.stdout + sidecar.stderr


@replays("ca-rotation")
def test_a_new_root(lab: Lab) -> None:
    agent = lab.agent()
    before = agent.api.get("/v1/connect/ca/roots").json
    key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    config = agent.api.get("/v1/connect/ca/configuration").json
    config["Config"] |= {"PrivateKey": key.decode(), "RootCert": ""}
    answer = agent.api.put("/v1/connect/ca/configuration", config)
    told = recorded("ca-rotation")
    assert answer.status == told["status"]
    after = agent.api.get("/v1/connect/ca/roots").json
    assert (after["TrustDomain"] == before["TrustDomain"]) == told["body"]["same_trust_domain"]
    # The order of the list says nothing; which root is active does.
    ours, theirs = (
        sorted(roots, key=lambda root: root["Active"]) for roots in (after["Roots"], told["body"]["roots"])
    )
    assert [set(root) - {"RootCert"} for root in ours] == [set(root) for root in theirs]  # not recorded
    for field in ("Active", "Name"):
        assert [root[field] for root in ours] == [root[field] for root in theirs]
    assert [bool(root["IntermediateCerts"]) for root in ours] == [
        bool(root["IntermediateCerts"]) for root in theirs
    ]
    assert after["ActiveRootID"] == ours[-1]["ID"] != before["ActiveRootID"]
    shown = agent.api.get("/v1/connect/ca/configuration").json
    assert key.decode() not in str(shown)
    assert set(shown) == set(told["config_after"])
