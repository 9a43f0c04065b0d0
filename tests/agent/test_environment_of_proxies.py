"""The environment and the command that lead a managed proxy back to its agent."""

from __future__ import annotations

import os
import sys

import pytest

from reference.agent.environment import api_address, builtin_proxy_command, proxy_environment
from reference.config.model import AgentConfig, LogLevel
from reference.config.network import TcpAddress, TlsOptions, UnixAddress


def config(**changes: object) -> AgentConfig:
    addresses = (TcpAddress("127.0.0.1", 18500),)
    return AgentConfig(**{"node_name": "n", "http_addrs": addresses, **changes})  # type: ignore[arg-type]


def test_generated_variables_are_the_originals() -> None:
    """MP-ENV-001, MP-ENV-004."""
    assert dict(proxy_environment(config(), {})) == {
        "CONSUL_HTTP_ADDR": "127.0.0.1:18500",
        "CONSUL_HTTP_TOKEN": "",
        "CONSUL_HTTP_SSL": "false",
        "CONSUL_CACERT": "",
        "CONSUL_CAPATH": "",
        "CONSUL_CLIENT_CERT": "",
        "CONSUL_CLIENT_KEY": "",
        "CONSUL_TLS_SERVER_NAME": "",
        "CONSUL_HTTP_SSL_VERIFY": "false",
        "CONSUL_HTTP_AUTH": "",
    }


def test_the_agents_own_environment_wins() -> None:
    environment = dict(proxy_environment(config(), {"HOME": "/h", "CONSUL_HTTP_TOKEN": "from-agent"}))
    assert (environment["HOME"], environment["CONSUL_HTTP_TOKEN"]) == ("/h", "from-agent")


def test_nothing_leads_a_proxy_to_another_agent() -> None:
    own = {"CONSUL_HTTP_ADDR": "elsewhere:1", "CONSUL_HTTP_SSL": "true", "CONNECT_PROXY_ID": "other"}
    environment = dict(proxy_environment(config(), own))
    assert environment["CONSUL_HTTP_ADDR"] == "127.0.0.1:18500"
    assert environment["CONSUL_HTTP_SSL"] == "false"
    assert "CONNECT_PROXY_ID" not in environment


def test_a_new_start_by_a_service_manager_looks_the_same_to_proxies() -> None:
    """Otherwise each start of the agent would restart them (MP-LIFE-014)."""
    first = proxy_environment(config(), {"A": "1", "INVOCATION_ID": "x", "NOTIFY_SOCKET": "/run/n"})
    second = proxy_environment(config(), {"A": "1", "INVOCATION_ID": "y"})
    assert first == second
    assert first != proxy_environment(config(), {"A": "2"})


@pytest.mark.parametrize(
    ("client", "address"),
    [
        ("127.0.0.1", "127.0.0.1:18500"),
        ("0.0.0.0", "127.0.0.1:18500"),
        ("::", "[::1]:18500"),
        ("fe80::1", "[fe80::1]:18500"),
        ("10.1.2.3", "10.1.2.3:18500"),
    ],
)
def test_a_wildcard_becomes_the_loopback_of_its_family(client: str, address: str) -> None:
    """MP-ENV-003."""
    assert str(api_address(config(http_addrs=(TcpAddress(client, 18500),)))) == address


def test_an_address_of_the_machine_is_better_than_all_and_tcp_than_a_socket() -> None:
    """MP-ENV-003: as the original chooses."""
    everywhere, here, socket = TcpAddress("0.0.0.0", 1), TcpAddress("10.0.0.1", 1), UnixAddress("/run/s")
    assert api_address(config(http_addrs=(socket, everywhere, here))) == here
    assert api_address(config(http_addrs=(socket, everywhere))) == TcpAddress("127.0.0.1", 1)
    assert str(api_address(config(http_addrs=(socket,)))) == "unix:///run/s"
    assert api_address(config(http_addrs=())) is None


def test_https_comes_before_http_and_brings_what_a_client_needs() -> None:
    tls = TlsOptions(
        cert_file="/c",
        key_file="/k",
        ca_file="/ca",
        ca_path="/cas",
        verify_outgoing=True,
        server_name="agent",
    )
    own = {"CONSUL_CACERT": "/elsewhere", "CONSUL_HTTP_SSL_VERIFY": "false"}
    environment = dict(proxy_environment(config(https_addrs=(TcpAddress("::", 8501),), tls=tls), own))
    assert {name: value for name, value in environment.items() if value} == {
        "CONSUL_HTTP_ADDR": "[::1]:8501",
        "CONSUL_HTTP_SSL": "true",
        "CONSUL_CACERT": "/ca",
        "CONSUL_CAPATH": "/cas",
        "CONSUL_CLIENT_CERT": "/c",
        "CONSUL_CLIENT_KEY": "/k",
        "CONSUL_TLS_SERVER_NAME": "agent",
        "CONSUL_HTTP_SSL_VERIFY": "true",
    }


@pytest.mark.parametrize(
    ("program", "start"),
    [
        ("/opt/bin/proxyproof", ("/opt/bin/proxyproof",)),
        ("bin/proxyproof", (os.path.abspath("bin/proxyproof"),)),
        ("/lib/proxyproof/__main__.py", (sys.executable, "-m", "proxyproof")),
    ],
)
def test_the_built_in_proxy_is_this_program(
    monkeypatch: pytest.MonkeyPatch, program: str, start: tuple[str, ...]
) -> None:
    """MP-CFG-022, MP-LOG-004: with the agent's log level unless that is INFO."""
    monkeypatch.setattr(sys, "argv", [program, "agent"])
    assert builtin_proxy_command(LogLevel.INFO) == (*start, "connect", "proxy")
    assert builtin_proxy_command(LogLevel.DEBUG) == (*start, "connect", "proxy", "-log-level", "DEBUG")
