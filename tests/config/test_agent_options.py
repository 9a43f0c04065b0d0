"""What the options of the agent mean, what they default to, and which values cannot be."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
import trustme

from reference.config import addresses
from reference.config.load import load
from reference.config.model import AgentConfig, DnsOptions, LogLevel, ProxyDefaults, SoaOptions
from reference.config.network import TcpAddress, TlsOptions, UnixAddress, UnixSocketOptions
from reference.config.sources import Sources
from reference.mesh.authority_config import parse
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
        advertise_addr_wan="192.0.2.7",
        client_addrs=("127.0.0.3",),
        http_addrs=(TcpAddress("127.0.0.3", 1),),
        dns_addrs=(),
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
        proxy_min_port=5,
        proxy_max_port=5,
        connect_enabled=False,
        authority=parse({"LeafCertTTL": "1h30m", "RotationPeriod": "2160h"}),
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


def test_the_interfaces_for_clients_listen_on_addresses_of_their_own_or_on_the_clients() -> None:
    options = {
        "client_addr": "127.0.0.2 127.0.0.3",
        "addresses": {"http": "[::1] unix:///run/a.sock"},
        "ports": {"http": 1, "https": 2, "dns": 3},
        "cert_file": "/c",
        "key_file": "/k",
    }
    config = _config(options)
    assert config.client_addrs == ("127.0.0.2", "127.0.0.3")
    assert config.http_addrs == (TcpAddress("::1", 1), UnixAddress("/run/a.sock"))
    assert config.https_addrs == (TcpAddress("127.0.0.2", 2), TcpAddress("127.0.0.3", 2))
    assert config.dns_addrs == (TcpAddress("127.0.0.2", 3), TcpAddress("127.0.0.3", 3))
    assert (config.http_port, config.https_port, config.dns_port) == (1, 2, 3)
    assert (_config({**options, "ports": {"http": 0}}).http_port) == -1


def test_a_template_stands_for_the_address_of_an_interface(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        addresses, "by_interface", lambda: {"lo": ["127.0.0.1"], "eth0": ["10.0.0.7", "10.0.0.8"]}
    )
    assert _config({"bind_addr": '{{ GetInterfaceIP "eth0" }}'}).bind_addr == "10.0.0.7"
    several = _config({"client_addr": '127.0.0.9 {{ GetInterfaceIPs "eth0" }}'})
    assert several.client_addrs == ("127.0.0.9", "10.0.0.7", "10.0.0.8")
    assert "bind_addr cannot be empty" in str(refused_fragment({"bind_addr": '{{ GetInterfaceIP "eth9" }}'}))


def test_a_template_of_the_default_route(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(
        addresses, "by_interface", lambda: {"a": ["10.0.0.7"], "b": ["198.51.100.1", "10.0.0.9"]}
    )
    routes = tmp_path / "route"
    routes.write_text("Iface\tDestination\na\t0000000A\nb\t00000000\n")
    monkeypatch.setattr(addresses, "_ROUTES", routes)
    assert _config({"bind_addr": "{{ GetPrivateIP }}"}).bind_addr == "10.0.0.9"
    assert _config({"bind_addr": "{{GetPublicIP}}"}).bind_addr == "198.51.100.1"


def test_tls_of_the_api() -> None:
    options = {
        "ports": {"https": 8501},
        "cert_file": "/c.pem",
        "key_file": "/k.pem",
        "ca_file": "/ca.pem",
        "verify_incoming_https": True,
        "verify_outgoing": True,
        "server_name": "agent.example",
        "tls_min_version": "tls13",
        "tls_cipher_suites": "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305",
        "tls_prefer_server_cipher_suites": True,
    }
    assert _config(options).tls == TlsOptions(
        cert_file="/c.pem",
        key_file="/k.pem",
        ca_file="/ca.pem",
        min_version="tls13",
        ciphers=("ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"),
        prefer_server_ciphers=True,
        verify_incoming=True,
        verify_outgoing=True,
        server_name="agent.example",
    )


def test_files_are_where_the_agent_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = _config({"ca_file": "ca.pem", "pid_file": "a.pid", "log_file": "logs/a.log"})
    assert config.tls.ca_file == str(tmp_path / "ca.pem")
    assert (config.pid_file, config.log.file) == (tmp_path / "a.pid", tmp_path / "logs/a.log")


def test_http_log_and_telemetry() -> None:
    config = _config(
        {
            "http_config": {
                "response_headers": {"Access-Control-Allow-Origin": "*"},
                "block_endpoints": ["/v1/kv"],
                "allow_write_http_from": ["127.0.0.0/8", "::1/128"],
            },
            "log_rotate_duration": "1h",
            "log_rotate_bytes": 10,
            "enable_syslog": True,
            "syslog_facility": "LOCAL3",
            "unix_sockets": {"user": "0", "group": "12", "mode": "0770"},
            "node_id": "DC9C432B-f484-93fc-ac46-7a6acbe1d4e0",
            "node_meta": {"rack": "7"},
            "telemetry": {
                "prefix_filter": ["+a", "-b"],
                "prometheus_retention_time": "60s",
                "statsd_address": "s:1",
            },
            "dns_config": {
                "soa": {"refresh": 1, "retry": 2, "expire": 3, "min_ttl": 4},
                "disable_compression": True,
                "enable_additional_node_meta_txt": False,
            },
        }
    )
    assert config.http.response_headers == {"Access-Control-Allow-Origin": "*"}
    assert config.http.block_endpoints == ("/v1/kv",)
    assert config.http.allow_write_from == ("127.0.0.0/8", "::1/128")
    assert (config.log.rotate_seconds, config.log.rotate_bytes) == (3600.0, 10)
    assert config.log.syslog_facility == "local3"
    assert config.unix_sockets == UnixSocketOptions(user=0, group=12, mode=0o770)
    assert config.node_id == "dc9c432b-f484-93fc-ac46-7a6acbe1d4e0"
    assert config.node_meta == {"rack": "7"}
    assert config.telemetry.for_proxies == {
        "filter_default": True,
        "metrics_prefix": "consul",
        "statsd_address": "s:1",
        "allowed_prefixes": ["a"],
        "blocked_prefixes": ["b"],
        "prometheus_retention_time": 60_000_000_000,
    }
    assert config.dns.soa == SoaOptions(refresh=1, retry=2, expire=3, min_ttl=4)
    assert (config.dns.disable_compression, config.dns.node_meta_txt) == (True, False)


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
    "no address": ({"client_addr": ""}, "client_addr cannot be empty"),
    "socket as address": ({"bind_addr": "unix:///x"}, "bind_addr cannot be a unix socket"),
    "several addresses": ({"bind_addr": "127.0.0.1 127.0.0.2"}, "cannot contain multiple addresses"),
    "unknown template": ({"bind_addr": "{{ GetAllInterfaces | sort }}"}, "is not supported; those that are:"),
    "relative socket": ({"addresses": {"http": "unix://x"}}, "is not the path of a socket"),
    "long socket": ({"addresses": {"http": "unix:///" + "x" * 95}}, "is too long for a socket"),
    "socket for DNS": ({"addresses": {"dns": "unix:///x"}}, "DNS address cannot be a unix socket"),
    "socket for clients": ({"client_addr": "unix:///x"}, "client_addr cannot be a unix socket"),
    "HTTPS without certificate": (
        {"ports": {"https": 1}},
        "HTTPS needs a certificate, but cert_file is not set",
    ),
    "certificate without key": ({"ports": {"https": 1}, "cert_file": "/c"}, "but key_file is not set"),
    "client certificates of nobody": (
        {"ports": {"https": 1}, "cert_file": "/c", "key_file": "/k", "verify_incoming": True},
        "VerifyIncoming set, and no CA certificate provided!",
    ),
    "verification by nobody": (
        {"verify_outgoing": True},
        "VerifyOutgoing set, and no CA certificate provided!",
    ),
    "suite": ({"tls_cipher_suites": "TLS_NONE"}, 'unsupported cipher "TLS_NONE"'),
    "version of TLS": ({"tls_min_version": "ssl3"}, "please specify one of [tls10,tls11,tls12]"),
    "network": ({"http_config": {"allow_write_http_from": ["10.0.0.1"]}}, "invalid cidr: 10.0.0.1"),
    "header": ({"http_config": {"response_headers": {"a b": "c"}}}, '"a b" is no name of a header'),
    "split header": (
        {"http_config": {"response_headers": {"a": "b\r\nc: d"}}},
        "the value of a has characters",
    ),
    "mode": ({"unix_sockets": {"mode": "0888"}}, "invalid mode specified: 0888"),
    "user": ({"unix_sockets": {"user": "no such user"}}, 'failed to look up user "no such user"'),
    "group": ({"unix_sockets": {"group": "no such group"}}, 'failed to look up group "no such group"'),
    "node id": ({"node_id": "x"}, 'node_id: "x" is not a UUID'),
    "node meta": ({"node_meta": {"a b": "c"}}, "node_meta invalid: Couldn't load metadata pair 'a b'"),
    "rotation": ({"log_rotate_duration": "0s"}, "log_rotate_duration must be positive"),
    "facility": ({"syslog_facility": "LOCAL9"}, "syslog_facility: there is no such facility"),
    "filter": ({"telemetry": {"prefix_filter": ["a"]}}, "Filter rule must begin with either '+' or '-'"),
    "times": ({"dns_config": {"soa": {"refresh": -1}}}, "dns_config.soa.refresh cannot be -1"),
    "gossip": ({"gossip_lan": {"probe_interval": "1"}}, 'gossip_lan.probe_interval: invalid duration: "1"'),
    "retry": ({"retry_interval": "soon"}, 'retry_interval: invalid duration: "soon"'),
    "bootstrap": ({"server": False, "bootstrap": True}, "'bootstrap = true' requires 'server = true'"),
    "expect": ({"server": False, "bootstrap_expect": 3}, "'bootstrap_expect > 0' requires 'server = true'"),
    "expect none": ({"bootstrap_expect": -1}, "Must be greater than or equal to zero"),
    "expect and bootstrap": ({"bootstrap_expect": 3, "bootstrap": True}, "are mutually exclusive"),
    "trailing": ({"autopilot": {"max_trailing_logs": -1}}, "autopilot.max_trailing_logs cannot be negative"),
    "raft": ({"performance": {"raft_multiplier": 11}}, "Must be between 1 and 10"),
    "two interfaces for browsers": (
        {"ui": True, "ui_dir": "/x"},
        "Both the ui and ui-dir flags were specified",
    ),
    "recursor": ({"recursors": ["unix:///x"]}, "DNS Recursors cannot be unix sockets"),
    "recursor everywhere": ({"recursors": ["0.0.0.0"]}, "DNS recursor address cannot be 0.0.0.0"),
    "gossip key": ({"encrypt": "!"}, "encrypt: has invalid key"),
    "primary": ({"primary_datacenter": "d c"}, "primary_datacenter is no name of a datacenter"),
    "segment": ({"segments": [{"name": "x"}]}, 'Port for segment "x" cannot be <= 0'),
    "server port": ({"ports": {"server": 65536}}, "ports.server: invalid port: 65536"),
    "wildcard to advertise": (
        {"bind_addr": "127.0.0.1", "advertise_addr": "::"},
        "Advertise address cannot be",
    ),
    "duration": ({"connect": {"ca_config": {"leaf_cert_ttl": "72"}}}, 'time: invalid duration "72"'),
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
    "default policy": ({"acl": {"default_policy": "maybe"}}, "Unsupported default ACL policy: maybe"),
    "default policy of old": ({"acl_default_policy": "maybe"}, "Unsupported default ACL policy: maybe"),
    "down policy": ({"acl": {"down_policy": "up"}}, "Unsupported down ACL policy: up"),
    "life of a token": ({"acl": {"token_ttl": "soon"}}, 'acl.token_ttl: invalid duration: "soon"'),
    "rules of another datacenter": (
        {"acl_datacenter": "dc9"},
        "acl_datacenter: the rules are kept in datacenter dc9, which this agent cannot reach",
    ),
    "check without name": ({"check": {"ttl": "1s"}}, "Failed to register check: CheckID missing"),
    "check of no kind": ({"check": {"name": "c"}}, "Invalid check: TTL must be > 0 for TTL checks"),
    "status of a check": ({"checks": [{"name": "c", "ttl": "1s", "status": "odd"}]}, "Bad check status"),
    "script": (
        {"check": {"name": "c", "args": ["true"], "interval": "1s"}},
        "Scripts are disabled on this agent",
    ),
    "sidecar ports": (
        {"ports": {"sidecar_min_port": 5, "sidecar_max_port": 4}},
        "sidecar_min_port must be less than sidecar_max_port",
    ),
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


def _pair(certificate: trustme.CA, key: trustme.CA) -> dict[str, Any]:
    texts = {
        "root_cert": certificate.cert_pem.bytes().decode(),
        "private_key": key.private_key_pem.bytes().decode(),
    }
    return {"connect": {"ca_config": texts}}


def test_the_users_own_root_is_taken() -> None:
    ca = trustme.CA()
    config = _config(_pair(ca, ca)).authority
    assert config.root_cert == ca.cert_pem.bytes().decode()
    assert "PRIVATE KEY" not in repr(config)


def test_a_root_with_the_key_of_another_is_refused_by_file_and_key(tmp_path: Path) -> None:
    path = write(tmp_path / "agent.json", _pair(trustme.CA(), trustme.CA()))
    text = str(refusal(Sources(paths=(path,), dev_mode=True)))
    assert (
        "connect.ca_config.root_cert: error parsing root cert: it does not belong to the private key" in text
    )
    assert path in text
    assert "PRIVATE KEY" not in text


def test_how_often_checks_are_looked_after() -> None:
    loaded = load_fragment(
        {
            "check_reap_interval": "10s",
            "check_deregister_interval_min": "20s",
            "check_update_interval": "0s",
            "discard_check_output": True,
            "enable_local_script_checks": True,
            "ports": {"sidecar_min_port": 5, "sidecar_max_port": 6},
        }
    )
    config = loaded.config
    assert (config.check_reap_interval, config.check_deregister_interval_min) == (10.0, 20.0)
    assert (config.check_update_interval, config.discard_check_output) == (0.0, True)
    assert (config.enable_script_checks, config.enable_local_script_checks) == (False, True)
    assert (config.sidecar_min_port, config.sidecar_max_port) == (5, 6)
    assert loaded.ignored == ()
    assert load_fragment({"enable_script_checks": True}).config.enable_local_script_checks
