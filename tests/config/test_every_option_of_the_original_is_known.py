"""Each option of Consul 1.4, by name and type: accepted in JSON and HCL, and refused with another type."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reference.config.kinds import Kind, Section
from reference.config.schema import AGENT, EFFECTIVE
from tests.config.writing import as_hcl, load_fragment, refused_fragment

#: Dotted names and types; ``objects`` is a list of objects.
OPTIONS = dict(
    line.split() for line in (Path(__file__).parent / "options_of_consul_1_4.txt").read_text().splitlines()
)
#: A value of each type that all options of the type take, but for those below.
VALUES: dict[str, Any] = {
    "string": "1h",
    "bool": False,
    "int": 1,
    "float": 1.5,
    "strings": ["192.0.2.1"],
    "map": {"a": "1h"},
    "object": {},
    "objects": [],
}
#: The values of options that take only some.
SPECIAL: dict[str, Any] = {
    "acl.default_policy": "allow",
    "acl_default_policy": "allow",
    "acl.down_policy": "extend-cache",
    "acl_down_policy": "extend-cache",
    "addresses.dns": "127.0.0.1",
    "addresses.grpc": "127.0.0.1",
    "addresses.http": "127.0.0.1",
    "addresses.https": "127.0.0.1",
    "advertise_addr": "127.0.0.1",
    "advertise_addr_wan": "127.0.0.1",
    "bind_addr": "127.0.0.1",
    "bootstrap_expect": 0,
    "client_addr": "127.0.0.1",
    "connect.ca_provider": "consul",
    "connect.proxy_defaults.exec_mode": "daemon",
    "encrypt": "aGVsbG8=",
    "http_config.allow_write_http_from": ["127.0.0.0/8"],
    "log_level": "INFO",
    "node_id": "dc9c432b-f484-93fc-ac46-7a6acbe1d4e0",
    "ports.dns": 8600,
    "ports.https": -1,
    "ports.proxy_max_port": 30000,
    "ports.sidecar_max_port": 30000,
    "service": {"name": "web"},
    "syslog_facility": "LOCAL0",
    "telemetry.dogstatsd_addr": "127.0.0.1:8125",
    "telemetry.prefix_filter": ["+a"],
    "telemetry.statsd_address": "127.0.0.1:8125",
    "tls_cipher_suites": "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "tls_min_version": "tls12",
    "unix_sockets.group": "0",
    "unix_sockets.mode": "0600",
    "unix_sockets.user": "0",
}
#: A whole check or nothing, and a list of such.
UNSET = {"check", "checks"}


def nested(name: str, value: Any) -> dict[str, Any]:
    for key in reversed(name.split(".")):
        value = {key: value}
    return dict(value)


def everything() -> dict[str, Any]:
    """A configuration in which each option is set."""
    whole: dict[str, Any] = {}
    for name, kind in OPTIONS.items():
        if name in UNSET:
            continue
        *sections, key = name.split(".")
        section = whole
        for each in sections:
            section = section.setdefault(each, {})
        section[key] = SPECIAL.get(name, VALUES[kind])
    return whole


def kind_of(name: str) -> Kind | None:
    found: Kind | None = AGENT
    for key in name.split("."):
        found = found.keys.get(key) if isinstance(found, Section) else None
    return found


def test_each_option_is_in_the_table() -> None:
    assert [name for name in OPTIONS if kind_of(name) is None] == []


@pytest.mark.parametrize("blocks", [None, False, True], ids=["json", "hcl", "hcl blocks"])
def test_all_options_at_once_are_a_configuration(blocks: bool | None) -> None:
    text = json.dumps(everything()) if blocks is None else as_hcl(everything(), blocks=blocks)
    loaded = load_fragment(text)
    assert loaded.config.services[0].name == "web"
    # What has no effect is named, but for definitions, which are no options.
    sections = {"service", "services", "check", "checks"}
    assert {name for name in OPTIONS if name not in EFFECTIVE | sections} >= set(loaded.ignored)
    assert "performance.raft_multiplier" in loaded.ignored


@pytest.mark.parametrize("name", OPTIONS)
def test_another_type_is_refused_by_name(name: str) -> None:
    wrong = nested(name, [[True]] if OPTIONS[name] != "bool" else "true")
    assert name.split(".")[-1] in refused_fragment(wrong).problem
