"""The agent's answer as configuration: defaults, numbers of every spelling, and errors that name the key."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference.proxy.config import parse
from reference.proxy.endpoints import Address, ConfigError, parse_address

ANSWER: dict[str, Any] = {
    "ProxyServiceID": "web-proxy",
    "TargetServiceName": "web",
    "Config": {"bind_address": "127.0.0.1", "bind_port": 20052, "local_service_address": "127.0.0.1:28080"},
    "Upstreams": [{"DestinationType": "service", "DestinationName": "redis", "LocalBindPort": 21234}],
}


def with_config(**values: Any) -> dict[str, Any]:
    return {**ANSWER, "Config": {**ANSWER["Config"], **values}}


def with_upstream(**values: Any) -> dict[str, Any]:
    return {**ANSWER, "Upstreams": [{**ANSWER["Upstreams"][0], **values}]}


def test_defaults() -> None:
    config = parse(ANSWER)
    assert config.service == "web"
    assert config.public is not None
    assert config.public.bind == Address(host="127.0.0.1", port=20052)
    assert config.public.application == Address(host="127.0.0.1", port=28080)
    assert (config.public.handshake_timeout, config.public.local_connect_timeout) == (10.0, 1.0)
    (upstream,) = config.upstreams
    assert str(upstream) == "127.0.0.1:21234->service:default/redis"
    assert upstream.connect_timeout == 10.0


def test_no_port_no_public_listener() -> None:
    assert parse({**ANSWER, "Config": {}}).public is None
    assert parse(with_config(bind_port=0)).public is None


def test_nulls_are_absences() -> None:
    config = parse({**ANSWER, "Config": None, "Upstreams": None})
    assert (config.public, config.upstreams) == (None, ())


@given(st.integers(1, 65535), st.sampled_from([int, float, str, lambda port: f"{port}.0"]))
def test_a_port_may_be_spelt_as_any_number(port: int, spelling: Any) -> None:
    public = parse(with_config(bind_port=spelling(port))).public
    assert public is not None
    assert public.bind.port == port


@given(st.floats(1, 1e6), st.sampled_from([float, repr]))
def test_time_outs_are_milliseconds_as_any_number(milliseconds: float, spelling: Any) -> None:
    value = spelling(milliseconds)
    config = parse(with_config(handshake_timeout_ms=value, local_connect_timeout_ms=value))
    assert config.public is not None
    assert config.public.handshake_timeout == config.public.local_connect_timeout == milliseconds / 1000
    (upstream,) = parse(with_upstream(Config={"connect_timeout_ms": value})).upstreams
    assert upstream.connect_timeout == milliseconds / 1000


@pytest.mark.parametrize(
    "value", ["many", "", None, True, [], {}, "nan", "inf", float("inf"), -1, 65536, 1.5]
)
def test_a_useless_port_is_named(value: Any) -> None:
    with pytest.raises(ConfigError, match="bind_port is "):
        parse(with_config(bind_port=value))


@pytest.mark.parametrize(
    ("answer", "key"),
    [
        (with_config(handshake_timeout_ms=-1), "handshake_timeout_ms"),
        (with_config(local_service_address="10.0.0.1"), "local_service_address"),
        (with_config(bind_address=5), "bind_address"),
        ({**ANSWER, "Upstreams": "redis"}, "Upstreams"),
        ({**ANSWER, "Config": []}, "Config"),
        ({}, "TargetServiceName"),
        ([], "TargetServiceName"),
    ],
)
def test_what_is_of_no_use_is_named(answer: Any, key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        parse(answer)


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"LocalBindPort": 0}, "Upstreams[1].LocalBindPort"),
        ({"LocalBindPort": 70000}, "Upstreams[1].LocalBindPort"),
        ({"DestinationName": ""}, "Upstreams[1].DestinationName"),
        ({"DestinationType": "planet"}, "Upstreams[1].DestinationType"),
        ({"Config": {"connect_timeout_ms": "soon"}}, "Upstreams[1].Config.connect_timeout_ms"),
        ({"DestinationName": "other", "LocalBindPort": 21234}, "127.0.0.1:21234"),
        ("redis", "Upstreams[1]"),
    ],
)
def test_a_senseless_upstream_is_left_out_alone_and_named(values: Any, key: str) -> None:
    (first,) = ANSWER["Upstreams"]
    last = {**first, "DestinationName": "db", "LocalBindPort": 21236}
    senseless = {**first, "LocalBindPort": 21235, **values} if isinstance(values, dict) else values
    config = parse({**ANSWER, "Upstreams": [first, senseless, last]})
    assert [upstream.name for upstream in config.upstreams] == ["redis", "db"]
    (problem,) = config.left_out
    assert key in problem


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.fixed_dictionaries(
        {"TargetServiceName": st.just("web")},
        optional={
            "Config": st.dictionaries(st.sampled_from([*ANSWER["Config"], "handshake_timeout_ms"]), JSON)
            | JSON,
            "Upstreams": st.lists(
                st.dictionaries(st.sampled_from(["LocalBindPort", "DestinationName"]), JSON)
            )
            | JSON,
        },
    )
)
def test_any_json_is_either_understood_or_refused_with_a_reason(answer: dict[str, Any]) -> None:
    try:
        config = parse(answer)
    except ConfigError as problem:
        assert str(problem)  # noqa: PT017  # both outcomes are right
    else:
        assert config.service == "web"


@given(st.from_regex(r"[a-z0-9.-]{1,20}|\[[0-9a-f:]{2,20}\]", fullmatch=True), st.integers(1, 65535))
def test_addresses_are_read_back_as_they_are_shown(host: str, port: int) -> None:
    address = parse_address(f"{host}:{port}", "key")
    assert parse_address(str(address), "key") == address


@pytest.mark.parametrize("text", ["", "host", "host:", ":x", "host:0", "host:65536", "::1:80", "host:\u0661"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"key: .* is not an address"):
        parse_address(text, "key")


def test_the_recorded_answer_of_the_original_is_understood() -> None:
    recorded = (
        '{"ProxyServiceID":"web-proxy","TargetServiceID":"web","TargetServiceName":"web","ContentHash":"74e7a326b8c14689",'
        '"ExecMode":"daemon","Command":["consul","connect","proxy"],"Config":{"bind_address":"127.0.0.1",'
        '"bind_port":20052,"local_service_address":"127.0.0.1:28080","telemetry":{"filter_default":true}},'
        '"Upstreams":[{"DestinationType":"service","DestinationName":"redis","LocalBindPort":21234}]}'
    )
    assert parse(json.loads(recorded)) == parse(ANSWER)
