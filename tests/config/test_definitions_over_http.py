"""Registrations over HTTP: both spellings, opaque data untouched, and less judgement than files get."""

from __future__ import annotations

from typing import Any

import pytest

from reference.config.checks import CheckKind
from reference.config.definition import definition_from_api
from reference.config.errors import ConfigError
from reference.config.model import Destination, ManagedProxy, ServiceDefinition, Upstream, Weights

_CAMEL = {
    "ID": "web-1",
    "Name": "web",
    "Port": 80,
    "Tags": ["a"],
    "Meta": {"Team_Name": "x"},
    "EnableTagOverride": True,
    "Check": None,
    "Checks": None,
    "Weights": {"Passing": 1, "Warning": 1},
    "Connect": {
        "Native": False,
        "Proxy": {
            "ExecMode": "daemon",
            "Command": ["/bin/x"],
            "Config": {"ExecMode": 1, "local_bind_port": 2},
            "Upstreams": [
                {
                    "DestinationName": "redis",
                    "DestinationType": "service",
                    "LocalBindPort": 1234,
                    "LocalBindAddress": "127.0.0.2",
                    "Config": {"DestinationName": "kept"},
                }
            ],
        },
    },
}
_SNAKE = {
    "id": "web-1",
    "name": "web",
    "port": 80,
    "tags": ["a"],
    "meta": {"Team_Name": "x"},
    "enable_tag_override": True,
    "connect": {
        "proxy": {
            "exec_mode": "daemon",
            "command": ["/bin/x"],
            "config": {"ExecMode": 1, "local_bind_port": 2},
            "upstreams": [
                {
                    "destination_name": "redis",
                    "local_bind_port": 1234,
                    "local_bind_address": "127.0.0.2",
                    "config": {"DestinationName": "kept"},
                }
            ],
        },
    },
}


@pytest.mark.parametrize("body", [_CAMEL, _SNAKE], ids=["CamelCase", "snake_case"])
def test_both_spellings_mean_the_same(body: dict[str, Any]) -> None:
    upstream = Upstream(
        destination_name="redis",
        local_bind_port=1234,
        local_bind_address="127.0.0.2",
        config={"DestinationName": "kept"},
    )
    proxy = ManagedProxy(
        exec_mode="daemon",
        command=("/bin/x",),
        config={"ExecMode": 1, "local_bind_port": 2},
        upstreams=(upstream,),
    )
    assert definition_from_api(body) == ServiceDefinition(
        id="web-1",
        name="web",
        port=80,
        tags=("a",),
        meta={"Team_Name": "x"},
        enable_tag_override=True,
        proxy=proxy,
    )


def test_unknown_keys_are_ignored() -> None:
    assert definition_from_api({"Name": "web", "Foo": 1}) == ServiceDefinition(id="web", name="web")


def test_what_only_files_must_get_right_is_accepted() -> None:
    service = definition_from_api(
        {"Name": "web", "Connect": {"Native": True, "Proxy": {"Config": {"bind_port": "abc"}}}}
    )
    assert (service.port, service.native) == (0, True)
    assert service.proxy == ManagedProxy(config={"bind_port": "abc"})


def test_legacy_upstreams_are_moved_and_their_keys_are_not_translated() -> None:
    legacy = [{"destination_name": "redis", "LocalBindPort": 5}]
    service = definition_from_api({"Name": "w", "Connect": {"Proxy": {"Config": {"upstreams": legacy}}}})
    assert service.proxy == ManagedProxy(
        upstreams=(Upstream(destination_name="redis", config={"LocalBindPort": 5}),)
    )


_REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "exec mode": ({"Name": "w", "Connect": {"Proxy": {"ExecMode": "foo"}}}, "invalid exec mode: foo"),
    "no name": ({"Port": 1}, "Missing service name"),
    "address": ({"Name": "w", "Address": "0.0.0.0"}, "Invalid service address"),
    "type": (
        {"Name": "w", "Port": "1"},
        "Request decode failed: 'port' expected type 'int', got unconvertible",
    ),
    "meta": (
        {"Name": "w", "Meta": {"": "x"}},
        "Invalid Service Meta: Couldn't load metadata pair '': Key cannot",
    ),
    "files outside": ({"ID": "a/b", "Name": "w", "Connect": {"Proxy": {}}}, "must not contain a slash"),
}


@pytest.mark.parametrize("what", _REFUSED)
def test_is_refused_with_the_text_of_the_answer(what: str) -> None:
    body, problem = _REFUSED[what]
    with pytest.raises(ConfigError) as caught:
        definition_from_api(body)
    assert caught.value.problem.startswith(problem) or problem in caught.value.problem
    if what == "exec mode":
        assert caught.value.problem == problem


def test_a_body_that_is_no_object_is_refused() -> None:
    with pytest.raises(ConfigError, match="Request decode failed: expected a map"):
        definition_from_api([1])  # type: ignore[arg-type]


def test_checks_weights_and_a_sidecar_in_both_spellings() -> None:
    camel = {
        "Name": "web",
        "Port": 1,
        "Weights": {"Passing": 3, "Warning": 2},
        "Check": {
            "CheckID": "c",
            "HTTP": "http://h/",
            "Header": {"X": ["1"]},
            "Interval": "5s",
            "TLSSkipVerify": True,
        },
        "Checks": [{"AliasService": "db"}, {"TTL": 1500000000, "DeregisterCriticalServiceAfter": "90m"}],
        "Connect": {
            "SidecarService": {
                "Proxy": {
                    "DestinationServiceID": "x",
                    "LocalServicePort": 7,
                    "Config": {"a_B": 1},
                    "Upstreams": [{"DestinationName": "db", "LocalBindPort": 2}],
                }
            }
        },
    }
    snake = {
        "name": "web",
        "port": 1,
        "weights": {"passing": 3, "warning": 2},
        "check": {
            "check_id": "c",
            "http": "http://h/",
            "header": {"X": ["1"]},
            "interval": "5s",
            "tls_skip_verify": True,
        },
        "checks": [{"alias_service": "db"}, {"ttl": "1.5s", "deregister_critical_service_after": "1h30m"}],
        "connect": {
            "sidecar_service": {
                "proxy": {
                    "destination_service_id": "x",
                    "local_service_port": 7,
                    "config": {"a_B": 1},
                    "upstreams": [{"destination_name": "db", "local_bind_port": 2}],
                }
            }
        },
    }
    service = definition_from_api(camel)
    assert service == definition_from_api(snake)
    assert service.weights == Weights(passing=3, warning=2)
    assert [(check.id, check.kind) for check in service.checks] == [
        ("c", CheckKind.HTTP),
        ("", CheckKind.ALIAS),
        ("", CheckKind.TTL),
    ]
    assert (service.checks[2].ttl, service.checks[2].deregister_after) == (1.5, 5400.0)
    assert service.sidecar is not None
    assert service.sidecar.destination == Destination(
        service_name="",
        service_id="x",
        local_port=7,
        config={"a_B": 1},
        upstreams=(Upstream(destination_name="db", local_bind_port=2),),
    )


_REFUSED_LIKE_THE_ORIGINAL: list[tuple[dict[str, Any], str]] = [
    ({"Weights": {"Passing": 0}}, "Invalid Weights: Passing must be greater than 0"),
    ({"Weights": {"Warning": 5}}, "Invalid Weights: Passing must be greater than 0"),
    (
        {"Weights": {"Passing": 1, "Warning": 70000}},
        "Invalid Weights: DNS Weight must be between 0 and 65535",
    ),
    ({"Checks": [{}]}, "Invalid check: TTL must be > 0 for TTL checks"),
    ({"Check": {"Name": "x"}}, "Invalid check: TTL must be > 0 for TTL checks"),
    ({"Check": {"TTL": "1s", "Interval": "1s"}}, "Invalid check: Interval and TTL cannot both be specified"),
    ({"Check": {"TCP": "h:1"}}, "Invalid check: Interval must be > 0 for Script, HTTP, or TCP checks"),
    ({"Check": {"AliasNode": "n", "TTL": "1s"}}, "Invalid check: TTL must be not be set for Alias checks"),
    ({"Check": {"TTL": "1s", "Status": "bad"}}, "Status for checks must 'passing', 'warning', 'critical'"),
    (
        {"Kind": "connect-proxy"},
        "2 error(s) occurred:\n\n* Proxy.DestinationServiceName must be non-empty for Connect proxy services\n"
        "* Port must be set for a Connect proxy",
    ),
    (
        {"Connect": {"SidecarService": {"Connect": {"Proxy": {}}}}},
        "1 error(s) occurred:\n\n* A SidecarService cannot have a managed proxy",
    ),
    (
        {"Connect": {"SidecarService": {"ID": "x"}}},
        "1 error(s) occurred:\n\n* A SidecarService cannot specify an ID as this is managed by the agent",
    ),
]


@pytest.mark.parametrize(("rest", "text"), _REFUSED_LIKE_THE_ORIGINAL)
def test_is_refused_with_exactly_the_originals_text(rest: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        definition_from_api({"Name": "w", **rest})
    assert caught.value.problem == text


def test_an_empty_check_is_none() -> None:
    assert definition_from_api({"Name": "w", "Check": {}}).checks == ()
