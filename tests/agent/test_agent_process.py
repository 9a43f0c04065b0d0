"""The agent as a process: how it starts, how it refuses to, how it ends, and what it leaves running."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import dns.message
import dns.query
import pytest

from tests.agents import SLEEP, Agent, agent, service
from tests.ports import free_port
from tests.waiting import DEADLINE, eventually


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_proxies_outlive_the_agent_and_are_found_again(tmp_path: Path, number: int) -> None:
    """MP-LIFE-007, MP-LIFE-008."""
    with agent(tmp_path) as one:
        one.define(service("a"), service("b"))
        one.start()
        before, ports = one.runs("a-proxy", "b-proxy"), one.get("/v1/agent/services")
        domain = one.get("/v1/agent/connect/ca/roots")["TrustDomain"]
        code, output = one.end(number)
        assert code == 0, output
        assert one.running() == before
        one.start()
        assert one.runs("a-proxy", "b-proxy") == before
        assert one.get("/v1/agent/services") == ports
        assert one.get("/v1/agent/connect/ca/roots")["TrustDomain"] == domain


def test_what_was_registered_over_http_survives_a_crash(tmp_path: Path) -> None:
    """MP-API-010."""
    connect = {
        "enabled": True,
        "proxy": {"allow_managed_root": True, "allow_managed_api_registration": True},
    }
    with agent(tmp_path, connect=connect) as one:
        one.define()
        one.start()
        body = {"Name": "api", "Port": 7, "Connect": {"Proxy": {"Command": SLEEP}}}
        assert one.put("/v1/agent/service/register", body).status_code == 200
        before = one.runs("api-proxy")
        one.end(signal.SIGKILL)
        del one.config["connect"]["proxy"]["allow_managed_api_registration"]
        one.define()
        one.start()
        assert one.runs("api-proxy") == before
        assert one.put("/v1/agent/service/deregister/api").status_code == 200
        one.runs()


def test_a_service_removed_while_the_agent_was_down_leaves_nothing(tmp_path: Path) -> None:
    """MP-LIFE-011, without the orphan record of quirk 4."""
    with agent(tmp_path) as one:
        one.define(service("a"), service("gone"))
        one.start()
        before = one.runs("a-proxy", "gone-proxy")
        one.end(signal.SIGKILL)
        one.define(service("a"))
        one.start()
        assert one.runs("a-proxy")["a-proxy"] == before["a-proxy"]
        assert set(one.get("/v1/agent/services")) == {"a", "a-proxy"}
        assert one.get("/v1/catalog/service/gone-proxy") == []
        assert len(list((tmp_path / "data/proxies").iterdir())) == 1
        assert len(list((tmp_path / "data/services").iterdir())) == 1


def test_without_a_data_directory_proxies_end_with_the_agent(tmp_path: Path) -> None:
    """MP-LIFE-015."""
    with agent(tmp_path, dev=True, data=False) as one:
        one.define(service("a"))
        one.start()
        one.runs("a-proxy")
        code, output = one.end(signal.SIGTERM)
        assert code == 0
        assert "[WARN] agent: dev mode disabled persistence, killing all proxies" in output
        assert one.running() == {}
        assert {entry.name for entry in tmp_path.iterdir()} == {"agent.json", "said.log"}


def test_leaving_ends_the_agent(tmp_path: Path) -> None:
    with agent(tmp_path) as one:
        one.define()
        one.start()
        assert one.put("/v1/agent/leave").status_code == 200
        assert one.process is not None
        assert one.process.wait(DEADLINE) == 0, one.output()


def test_reload_applies_what_changed_and_nothing_else(tmp_path: Path) -> None:
    """MP-LIFE-012, MP-LIFE-013: a changed command restarts with the same token, a changed config does not."""
    with agent(tmp_path) as one:
        one.define(service("same"), service("config"), service("command"), service("gone"))
        one.start()
        before = one.runs("same-proxy", "config-proxy", "command-proxy", "gone-proxy")
        one.define(service("same"), service("config", foo="bar"), service("command", ["/bin/sleep", "999"]))
        assert one.process is not None
        one.process.send_signal(signal.SIGHUP)
        after = eventually(
            lambda: (
                running
                if set(running := one.running()) == {"same-proxy", "config-proxy", "command-proxy"}
                and running["command-proxy"] != before["command-proxy"]
                else None
            ),
            "the reload",
        )
        assert after["same-proxy"] == before["same-proxy"]
        assert after["config-proxy"] == before["config-proxy"]
        assert after["command-proxy"][1] == before["command-proxy"][1]
        assert one.get("/v1/agent/connect/proxy/config-proxy")["Config"]["foo"] == "bar"


def test_a_broken_file_changes_nothing(tmp_path: Path) -> None:
    with agent(tmp_path) as one:
        one.define(service("a"))
        one.start()
        before = one.runs("a-proxy")
        (tmp_path / "agent.json").write_text('{"services": [')
        answer = one.put("/v1/agent/reload")
        assert answer.status_code == 500
        assert "agent.json" in answer.text
        assert one.running() == before
        assert set(one.get("/v1/agent/services")) == {"a", "a-proxy"}


def test_a_port_in_use_is_named_before_anything_happens(tmp_path: Path) -> None:
    with agent(tmp_path) as one, socket.create_server(("127.0.0.1", one.port)):
        one.define(service("a"))
        output = one.fails()
        (error,) = [line for line in output.splitlines() if "Error" in line]
        assert f"127.0.0.1:{one.port}" in error
        assert "-http-port" in error
        assert "Traceback" not in output
        assert not (tmp_path / "data").exists()
        assert one.running() == {}


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_a_dns_port_in_use_is_named_before_anything_happens(tmp_path: Path, kind: socket.SocketKind) -> None:
    with socket.socket(socket.AF_INET, kind) as owner:
        owner.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            owner.listen()
        port = owner.getsockname()[1]
        with agent(tmp_path, ports={"dns": port}) as one:
            one.define(service("a"))
            output = one.fails()
            assert f"the DNS interface cannot listen on 127.0.0.1:{port}: address already in use" in output
            assert "Traceback" not in output
            assert not (tmp_path / "data").exists()
            assert one.running() == {}


def test_dns_finds_a_proxy_while_it_is_there(tmp_path: Path) -> None:
    """MP-CAT-010, and the whole way from a file to a resolver."""
    dns_port, proxy_port = free_port(), free_port()
    question = dns.message.make_query("web.connect.consul", "SRV")

    def location() -> str:
        answer = dns.query.udp(question, "127.0.0.1", port=dns_port, timeout=DEADLINE)
        return str(answer.answer[0][0]) if answer.answer else ""

    with agent(tmp_path, ports={"dns": dns_port}, node_name="here") as one:
        one.define(service("web", disable_tcp_check=True, bind_port=proxy_port))
        one.start()
        assert location() == f"1 1 {proxy_port} here.node.dc1.consul."
        one.define()
        assert one.put("/v1/agent/reload").status_code == 200
        assert location() == ""
        code, output = one.end(signal.SIGTERM)
        assert code == 0, output
        assert f"[INFO] dns: Started DNS server on 127.0.0.1:{dns_port} (udp)" in output


def test_all_addresses_are_those_of_both_families(tmp_path: Path) -> None:
    """``::`` is every address of the machine, those of IPv4 as well, for HTTP and for both transports of DNS."""
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no socket for both families")
    dns_port = free_port()
    question = dns.message.make_query("consul.service.consul", "A")
    with agent(tmp_path, ports={"dns": dns_port}, client_addr="::") as one:
        one.define()
        one.start()
        for ask in (dns.query.udp, dns.query.tcp):
            assert ask(question, "127.0.0.1", port=dns_port, timeout=DEADLINE).answer
        assert f"Started HTTP server on [::]:{one.port} (tcp)" in one.output()
        assert f"Started DNS server on [::]:{dns_port} (udp)" in one.output()


def test_a_second_agent_in_the_same_directory_is_refused(tmp_path: Path) -> None:
    with agent(tmp_path) as first:
        first.define(service("a"))
        first.start()
        before = first.runs("a-proxy")
        second = Agent(tmp_path, service("b"))
        output = second.fails()
        second.client.close()
        assert "in use by another agent" in output
        assert first.running() == before


def test_no_port_left_ends_the_start_before_anything_runs(tmp_path: Path) -> None:
    """MP-PORT-005."""
    low = free_port()
    with agent(tmp_path, ports={"proxy_min_port": low, "proxy_max_port": low}) as one:
        one.define(service("a"), service("b"))
        output = one.fails()
        assert (
            "==> Error starting agent: failed adding proxy: no port provided for proxy bind_port and none  "
            f"left in the allocated range [{low}, {low}]" in output
        )
        assert list((tmp_path / "data/proxies").iterdir()) == []
        assert one.running() == {}


def test_without_an_api_no_proxy_is_started(tmp_path: Path) -> None:
    """MP-ENV-005."""
    with agent(tmp_path, ports={"http": -1}) as one:
        one.define(service("a"))
        one.spawn()
        expected = "Connect managed proxies are disabled due to providing an invalid HTTP configuration"
        eventually(lambda: expected in one.output(), "the warning")
        code, _ = one.end(signal.SIGTERM)
        assert code == 0
        assert one.running() == {}


def test_root_starts_no_proxy_unless_allowed(tmp_path: Path) -> None:
    """MP-ROOT-001, MP-ROOT-002: and says so where an operator looks."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    with agent(tmp_path, connect={"enabled": True}) as one:
        one.define(service("a"))
        one.start()
        notes = one.get("/v1/agent/checks")["service:a-proxy"]["Notes"]
        assert "connect.proxy.allow_managed_root" in notes
        assert one.get("/v1/agent/connect/proxy/a-proxy") is not None
        code, output = one.end(signal.SIGTERM)
        assert code == 0
        assert "[WARN] agent/proxy: running as root, will not start managed proxies" in output
        assert one.running() == {}
        assert len(list((tmp_path / "data/proxies").iterdir())) == 1
