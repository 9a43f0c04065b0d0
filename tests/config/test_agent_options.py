"""What the options of the agent mean, what they default to, and which values cannot be."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from reference.config import addresses
from reference.config.load import load
from reference.config.model import AgentConfig, DnsOptions, LogLevel, ProxyDefaults
from reference.config.sources import Sources
from tests.config.writing import load_fragment, refusal, refused_fragment, write


def _config(fragment: dict[str, Any]) -> AgentConfig:
    return load_fragment(fragment).config


def test_defaults_in_dev_mode() -> None:
    assert load(Sources(dev_mode=True)).config == AgentConfig(
        node_name=socket.gethostname(), dev_mode=True, connect_enabled=True, log_level=LogLevel.DEBUG
    )


def test_defaults_otherwise(tmp_path: Path) -> None:
    options = {"data_dir": str(tmp_path), "bind_addr": "127.0.0.1", "node_name": "n"}
    result = load(Sources(paths=(write(tmp_path / "a.json", options),)))
    assert result.config == AgentConfig(
        node_name="n", data_dir=tmp_path, sources=(str(tmp_path / "a.json"),), connect_enabled=False
    )
    assert result.ignored == ()


def test_all_options_that_have_an_effect() -> None:
    config = _config(
        {
            "node_name": " n1 ",
            "datacenter": "DC2",
            "data_dir": "/var/lib/x",
            "bind_addr": "0.0.0.0",
            "advertise_addr": "192.0.2.7",
            "client_addr": "127.0.0.3",
            "domain": "Mesh.Example.ORG",
            "dns_config": {
                "only_passing": True,
                "enable_truncate": True,
                "node_ttl": "1m30s",
                "service_ttl": {"Web": "10s", "*": "0.5s"},
                "a_record_limit": 7,
                "udp_answer_limit": 0,
            },
            "log_level": "trace",
            "ports": {"http": 1, "dns": -1, "proxy_min_port": 5, "proxy_max_port": 5},
            "connect": {
                "enabled": False,
                "ca_provider": "consul",
                "ca_config": {"leaf_cert_ttl": "1h30m"},
                "proxy": {"allow_managed_root": True, "allow_managed_api_registration": True},
                "proxy_defaults": {"exec_mode": "daemon", "daemon_command": ["/x"], "config": {"a": [1]}},
            },
        }
    )
    assert config == AgentConfig(
        node_name="n1",
        datacenter="dc2",
        dev_mode=True,
        data_dir=Path("/var/lib/x"),
        bind_addr="0.0.0.0",
        advertise_addr="192.0.2.7",
        client_addr="127.0.0.3",
        dns_addr="127.0.0.3",
        dns=DnsOptions(
            domain="mesh.example.org.",
            only_passing=True,
            enable_truncate=True,
            node_ttl=90,
            service_ttl={"web": 10, "*": 0},
            a_record_limit=7,
            udp_answer_limit=0,
        ),
        log_level=LogLevel.TRACE,
        http_port=1,
        dns_port=-1,
        proxy_min_port=5,
        proxy_max_port=5,
        connect_enabled=False,
        leaf_cert_ttl_seconds=5400.0,
        allow_managed_root=True,
        allow_managed_api_registration=True,
        proxy_defaults=ProxyDefaults(exec_mode="daemon", daemon_command=("/x",), config={"a": [1]}),
        sources=("-hcl",),
    )


def test_other_options_of_the_original_are_named_once_as_ignored() -> None:
    first = 'server = true acl { tokens { agent = "secret" } }'
    second = 'server = false watches { type = "key" } connect { ca_config { RotationPeriod = "1h" } }'
    assert load(Sources(fragments=(first, second), dev_mode=True)).ignored == (
        "acl.tokens.agent",
        "connect.ca_config.rotation_period",
        "server",
        "watches",
    )


def test_keys_are_matched_in_any_case() -> None:
    assert _config({"Node_Name": "n", "Service": {"ID": "w1", "Name": "web"}}).services[0].id == "w1"


def test_a_list_of_one_object_counts_as_the_object_as_converters_from_hcl_write_it() -> None:
    assert _config({"connect": [{"proxy": [{"allow_managed_root": True}]}]}).allow_managed_root
    twice = {"connect": [{"enabled": True}, {"enabled": False}]}
    assert "connect: more than one object is not supported" in refused_fragment(twice).problem


def test_the_addresses_of_the_api_and_of_dns_can_be_set_apart() -> None:
    config = _config({"client_addr": "127.0.0.2", "addresses": {"http": "[::1]"}})
    assert (config.client_addr, config.dns_addr) == ("::1", "127.0.0.2")
    config = _config({"client_addr": "127.0.0.2", "addresses": {"dns": "127.0.0.4"}})
    assert (config.client_addr, config.dns_addr) == ("127.0.0.2", "127.0.0.4")


@pytest.mark.parametrize("domain", ["consul", "consul.", "CONSUL."])
def test_a_domain_ends_in_a_dot_that_need_not_be_written(domain: str) -> None:
    assert _config({"domain": domain}).dns == DnsOptions()


def test_both_limits_at_zero_switch_automatic_ports_off() -> None:
    config = _config({"ports": {"proxy_min_port": 0, "proxy_max_port": 0}})
    assert (config.proxy_min_port, config.proxy_max_port) == (-1, -1)


def test_the_default_command_has_two_spellings() -> None:
    for key in ("command", "daemon_command"):
        config = _config({"connect": {"proxy_defaults": {key: ["/x", "-y"]}}})
        assert config.proxy_defaults.daemon_command == ("/x", "-y")


@pytest.mark.parametrize("found", [("192.0.2.5",), ()])
def test_binding_to_all_addresses_needs_one_to_advertise(
    found: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(addresses, "private_ipv4", lambda: found)
    if found:
        config = _config({"bind_addr": "0.0.0.0"})
        assert (config.bind_addr, config.advertise_addr) == ("0.0.0.0", "192.0.2.5")
    else:
        assert refused_fragment({"bind_addr": "0.0.0.0"}).problem == "No private IPv4 address found"


def test_several_addresses_to_advertise_need_a_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "private_ipv4", lambda: ("10.0.0.1", "10.0.0.2"))
    error = refusal(Sources(flags=(("-data-dir", {"data_dir": "/d"}),)))
    assert error.problem == "Multiple private IPv4 addresses found (10.0.0.1, 10.0.0.2)"
    assert "-bind" in error.remedy


def test_the_machines_addresses_are_private_ones() -> None:
    assert all(address.count(".") == 3 for address in addresses.private_ipv4())


_IMPOSSIBLE: dict[str, tuple[dict[str, Any], str]] = {
    "unknown key": ({"dc": "x"}, "invalid config key dc"),
    "wrong type": ({"server": "yes"}, "'server' expected type 'bool', got unconvertible type 'string'"),
    "whole number with a fraction": ({"ports": {"http": 80.5}}, "'ports.http' expected type 'int'"),
    "true for a number": ({"ports": {"http": True}}, "'ports.http' expected type 'int'"),
    "text for an object": ({"ports": "x"}, "'ports' expected a map, got 'string'"),
    "a NUL": ({"data_dir": "/a\0b"}, "'data_dir' contains a NUL character"),
    "two spellings": (
        {"connect": {"proxy_defaults": {"command": ["a"], "daemon_command": ["b"]}}},
        "two spellings of one key",
    ),
    "port": ({"ports": {"http": 65536}}, "ports.http: invalid port: 65536"),
    "two listeners on one port": ({"ports": {"http": 8600}}, "already configured for DNS"),
    "half a port range": (
        {"ports": {"proxy_min_port": 0}},
        "proxy_min_port must be less than proxy_max_port",
    ),
    "datacenter": ({"datacenter": "d c"}, 'datacenter cannot be "d c". Please use only [a-z0-9-_].'),
    "no datacenter": ({"datacenter": ""}, "datacenter cannot be empty"),
    "log level": (
        {"log_level": "loud"},
        "Invalid log level: LOUD. Valid log levels are: [TRACE DEBUG INFO WARN ERR]",
    ),
    "name as address": ({"bind_addr": "localhost"}, "bind_addr: invalid ip address: localhost"),
    "template as address": ({"bind_addr": '{{ GetInterfaceIP "eth0" }}'}, "bind_addr: invalid ip address"),
    "no address": ({"client_addr": ""}, "client_addr cannot be empty"),
    "socket as address": ({"addresses": {"http": "unix:///x"}}, "addresses.http cannot be a unix socket"),
    "several addresses": ({"client_addr": "127.0.0.1 127.0.0.2"}, "cannot contain multiple addresses"),
    "wildcard to advertise": (
        {"bind_addr": "127.0.0.1", "advertise_addr": "::"},
        "Advertise address cannot be",
    ),
    "duration": ({"connect": {"ca_config": {"leaf_cert_ttl": "72"}}}, 'invalid duration: "72"'),
    "leaf for too short": (
        {"connect": {"ca_config": {"LeafCertTTL": "59m"}}},
        "leaf cert TTL must be greater than 1h",
    ),
    "leaf for too long": (
        {"connect": {"ca_config": {"leaf_cert_ttl": "8761h"}}},
        "leaf cert TTL must be less than 1 year",
    ),
    "domain": ({"domain": "a..b"}, 'domain: invalid domain name: "a..b"'),
    "no domain": ({"domain": ""}, 'domain: invalid domain name: ""'),
    "label too long": ({"domain": "x" * 64}, "domain: invalid domain name"),
    "domain too long": ({"domain": ".".join(["x" * 60] * 3)}, "domain: invalid domain name"),
    "fewer than no answers": (
        {"dns_config": {"udp_answer_limit": -1}},
        "dns_config.udp_answer_limit cannot be -1. Must be greater than or equal to zero",
    ),
    "fewer than no records": (
        {"dns_config": {"a_record_limit": -1}},
        "dns_config.a_record_limit cannot be -1. Must be greater than or equal to zero",
    ),
    "time of a node": ({"dns_config": {"node_ttl": "-1s"}}, 'dns_config.node_ttl: invalid duration: "-1s"'),
    "time of a service": (
        {"dns_config": {"service_ttl": {"web": "1000000h"}}},
        'dns_config.service_ttl: "1000000h" is too long',
    ),
    "provider": ({"connect": {"ca_provider": "foo"}}, "foo is not a valid CA provider"),
    "provider that is not here": ({"connect": {"ca_provider": "vault"}}, "vault is not supported"),
    "exec mode": ({"connect": {"proxy_defaults": {"exec_mode": "x"}}}, "invalid exec mode: x"),
    "access control": ({"acl": {"enabled": True}}, "acl.enabled: access control is not supported"),
    "default deny": (
        {"acl": {"default_policy": "deny"}},
        "acl.default_policy: access control is not supported",
    ),
    "default deny of old": (
        {"acl_default_policy": "deny"},
        "acl_default_policy: access control is not supported",
    ),
    "check": ({"check": {"ttl": "1s"}}, "health checks in the configuration are not supported"),
}


@pytest.mark.parametrize("what", _IMPOSSIBLE)
def test_an_impossible_value_is_refused(what: str) -> None:
    fragment, problem = _IMPOSSIBLE[what]
    assert problem in str(refused_fragment(fragment))


def test_the_error_names_the_source_that_set_the_value(tmp_path: Path) -> None:
    good = write(tmp_path / "1.json", {"ports": {"http": 1}, "datacenter": "ok"})
    bad = write(tmp_path / "2.json", {"datacenter": "no good"})
    assert refusal(Sources(paths=(good, bad), dev_mode=True)).where == bad
    flags = (("-http-port", {"ports": {"http": 70000}}),)
    assert refusal(Sources(paths=(good,), flags=flags, dev_mode=True)).where == "-http-port"
    fragments = ("ports { http = 1 }", 'log_level = "x"')
    assert refusal(Sources(fragments=fragments, dev_mode=True)).where == "-hcl number 2"


def test_without_dev_mode_a_data_directory_is_needed() -> None:
    assert refusal(Sources()).problem == "data_dir cannot be empty"


def test_the_data_directory_is_not_a_file(tmp_path: Path) -> None:
    file = write(tmp_path / "file", "")
    assert "is not a directory" in refused_fragment({"data_dir": file}).problem


def test_a_relative_data_directory_is_where_the_agent_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert _config({"data_dir": "state"}).data_dir == tmp_path / "state"


def test_an_error_about_a_secret_does_not_quote_it() -> None:
    fragments: tuple[dict[str, Any] | str, ...] = (
        {"encrypt": ["s3cret"]},
        {"acl": {"tokens": {"agent": {"s3cret": 1}}}},
        {"service": {"name": "w", "token": ["s3cret"]}},
        'service { name = "w" token = "s3cret }',
        'service { token = "s3cret" "s3cret" }',
        '{"service": {"token": "s3cret"',
    )
    for fragment in fragments:
        assert "s3cret" not in str(refused_fragment(fragment))
