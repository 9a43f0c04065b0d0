"""Service definitions in files: what is kept, what is filled in, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from reference.config.definition import managed_bind_port
from reference.config.model import ManagedProxy, ServiceDefinition, Upstream
from tests.config.writing import load_fragment, load_service, refused_fragment


def _with_proxy(proxy: dict[str, Any]) -> ManagedProxy:
    service = load_service({"name": "web", "port": 1, "connect": {"proxy": proxy}})
    assert service.proxy is not None
    return service.proxy


def test_everything_that_is_kept() -> None:
    service = load_service(
        {
            "id": "web-1",
            "name": "web",
            "port": 80,
            "address": "192.0.2.1",
            "tags": ["a", "b"],
            "meta": {"k_1-x": "v"},
            "token": "t",
            "enable_tag_override": True,
            "weights": {"passing": 1},
            "kind": "",
            "checks": [],
            "connect": {"native": True},
        }
    )
    assert service == ServiceDefinition(
        id="web-1",
        name="web",
        port=80,
        address="192.0.2.1",
        tags=("a", "b"),
        meta={"k_1-x": "v"},
        token="t",
        enable_tag_override=True,
        native=True,
    )


def test_the_id_is_the_name_unless_it_is_given() -> None:
    assert load_service({"name": "web", "id": ""}).id == "web"


@pytest.mark.parametrize("connect", [None, {}, {"proxy": None}])
def test_without_a_proxy_object_there_is_no_proxy(connect: Any) -> None:
    assert load_service({"name": "web", "port": 1, "connect": connect}).proxy is None


def test_options_of_a_proxy_pass_through_unchanged() -> None:
    config = {"foo": "bar", "nested": {"a": [1, 2], "ExecMode": None}, "one": [{"a": 1}], "f": 1.5}
    assert _with_proxy({"config": config}).config == config


def test_upstreams_are_not_judged() -> None:
    upstreams = _with_proxy(
        {"upstreams": [{"destination_name": "a"}, {"local_bind_port": 1}, {"destination_type": "foo"}]}
    ).upstreams
    assert upstreams == (
        Upstream(destination_name="a"),
        Upstream(local_bind_port=1),
        Upstream(destination_type="foo"),
    )
    assert upstreams[0].destination_type == "service"


def test_legacy_upstreams_are_moved_only_where_there_are_no_others() -> None:
    legacy = [{"destination_name": "old", "local_bind_port": 1}]
    proxy = _with_proxy({"config": {"upstreams": legacy, "x": 1}, "upstreams": [{"destination_name": "new"}]})
    assert [upstream.destination_name for upstream in proxy.upstreams] == ["new"]
    assert proxy.config == {"x": 1}


def test_legacy_upstreams_that_cannot_be_decoded_are_skipped() -> None:
    legacy = [
        {"destination_name": 1},
        "redis",
        [],
        {"destination_name": "pq", "destination_type": "prepared_query"},
        {"destination_name": "a", "destination_type": "other", "Extra": {"deep": [1]}, "local_bind_port": 5},
    ]
    assert _with_proxy({"config": {"upstreams": legacy}}).upstreams == (
        Upstream(destination_name="pq", destination_type="prepared_query"),
        Upstream(destination_name="a", local_bind_port=5, config={"Extra": {"deep": [1]}}),
    )
    assert _with_proxy({"config": {"upstreams": "redis"}}).upstreams == ()


def test_a_legacy_upstream_may_be_a_block() -> None:
    block = 'upstreams { destination_name = "redis" local_bind_port = 1 }'
    (service,) = load_fragment(
        f'service {{ name = "web" port = 1 connect {{ proxy {{ config {{ {block} }} }} }} }}'
    ).config.services
    assert service.proxy == ManagedProxy(upstreams=(Upstream(destination_name="redis", local_bind_port=1),))


@pytest.mark.parametrize(("raw", "port"), [(24460, 24460), ("24450", 24450), (24460.0, 24460), (None, None)])
def test_the_port_of_a_proxy_may_be_fixed_as_number_or_text(raw: Any, port: int | None) -> None:
    assert managed_bind_port({"bind_port": raw}) == port
    assert _with_proxy({"config": {"bind_port": raw}}).config == {"bind_port": raw}


_REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no name": ({"port": 1}, "Missing service name"),
    "port": ({"port": 65536}, "port: invalid port: 65536"),
    "negative port": ({"port": -1}, "port: invalid port: -1"),
    "meta key": ({"meta": {"a b": "c"}}, "invalid meta for service web: Couldn't load metadata pair 'a b'"),
    "reserved meta key": ({"meta": {"consul-x": "c"}}, "Key prefix 'consul-' is reserved"),
    "long meta value": ({"meta": {"k": "v" * 513}}, "Value is too long (limit: 512 characters)"),
    "much meta": ({"meta": {f"k{n}": "" for n in range(65)}}, "cannot contain more than 64"),
    "check": ({"check": {"ttl": "1s"}}, "health checks in service definitions are not supported"),
    "checks": ({"checks": [{"ttl": "1s"}]}, "health checks in service definitions are not supported"),
    "kind": ({"kind": "connect-proxy"}, 'services of kind "connect-proxy" are not supported'),
    "proxy": ({"proxy": {"destination_service_name": "x"}}, "kind connect-proxy"),
    "old proxy": ({"proxy_destination": "x"}, "kind connect-proxy"),
    "weights": ({"weights": {"passing": 2}}, "weights other than 1 are not supported"),
    "sidecar": ({"connect": {"sidecar_service": {}}}, "sidecar_service is not supported"),
    "nested sidecar": (
        {"connect": {"sidecar_service": {"connect": {"sidecar_service": {}}}}},
        "sidecar_service can't have a nested sidecar_service",
    ),
    "slash in the id": ({"id": "../x", "port": 1, "connect": {"proxy": {}}}, "must not contain a slash"),
    "port of the proxy": (
        {"port": 1, "connect": {"proxy": {"config": {"bind_port": 65536}}}},
        "bind_port: invalid port: 65536",
    ),
    "port of the proxy that is no number": (
        {"port": 1, "connect": {"proxy": {"config": {"bind_port": [1]}}}},
        "cannot parse 'bind_port' as int",
    ),
}


@pytest.mark.parametrize("what", _REFUSED)
def test_is_refused(what: str) -> None:
    definition, problem = _REFUSED[what]
    named = definition if what == "no name" else {"name": "web", **definition}
    error = refused_fragment({"service": named})
    assert problem in error.problem
    assert error.where.startswith("-hcl")


def test_the_error_names_the_service() -> None:
    services = [{"name": "good"}, {"name": "bad", "port": 99999}]
    assert refused_fragment({"services": services}).where == '-hcl: service "bad"'


def test_a_token_is_not_shown() -> None:
    assert "s3cret" not in repr(load_service({"name": "web", "token": "s3cret"}))
