"""Registrations over HTTP: both spellings, opaque data untouched, and less judgement than files get."""

from __future__ import annotations

from typing import Any

import pytest

from reference.config.definition import definition_from_api
from reference.config.errors import ConfigError
from reference.config.model import ManagedProxy, ServiceDefinition, Upstream

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
    "check": (
        {"Name": "w", "Check": {"TTL": "1s"}},
        "health checks in service definitions are not supported",
    ),
    "sidecar": ({"Name": "w", "Connect": {"SidecarService": {}}}, "sidecar_service is not supported"),
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
