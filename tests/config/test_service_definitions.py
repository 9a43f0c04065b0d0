"""Service definitions in files: what is kept, what is filled in, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from reference.config.checks import CheckDefinition, CheckKind
from reference.config.managed import managed_bind_port
from reference.config.model import Destination, ManagedProxy, ServiceDefinition, Upstream, Weights
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
            "weights": {"passing": 3},
            "kind": "",
            "checks": [{"ttl": "90s"}],
            "check": {"id": "c", "tcp": "h:1", "interval": "5s", "deregister_critical_service_after": "1h"},
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
        weights=Weights(passing=3),
        checks=(
            CheckDefinition(id="c", tcp="h:1", interval=5.0, deregister_after=3600.0),
            CheckDefinition(ttl=90.0),
        ),
    )


def test_checks_in_all_their_spellings() -> None:
    """What the original takes in files from the time when it did not tell them from requests."""
    check = {
        "ScriptArgs": ["a", "b"],
        "ServiceID": "x",
        "TLSSkipVerify": True,
        "DeregisterCriticalServiceAfter": "2m",
        "interval": "1s",
        "name": "c",
        "header": {"x-a": ["1", "2"]},
        "token": "t",
    }
    (loaded,) = load_fragment({"check": check, "enable_script_checks": True}).config.checks
    assert loaded == CheckDefinition(
        name="c",
        args=("a", "b"),
        service_id="x",
        tls_skip_verify=True,
        deregister_after=120.0,
        interval=1.0,
        header={"x-a": ["1", "2"]},
        token="t",
    )
    assert "'t'" not in repr(loaded)
    block = 'check { name = "c" args = ["a", "b"] interval = "1s" header { x-a = ["1", "2"] } }'
    (loaded,) = load_fragment(f"{block} enable_local_script_checks = true").config.checks
    assert (loaded.kind, loaded.header) == (CheckKind.SCRIPT, {"x-a": ["1", "2"]})


def test_a_later_check_with_the_same_id_replaces_an_earlier_one() -> None:
    checks = [{"name": "c", "ttl": "1s"}, {"id": "c", "name": "d", "ttl": "2s"}, {"name": "e", "ttl": "3s"}]
    loaded = load_fragment({"checks": checks}).config.checks
    assert [(check.id, check.name, check.ttl) for check in loaded] == [("c", "d", 2.0), ("", "e", 3.0)]


def test_a_proxy_that_is_not_managed() -> None:
    service = load_service(
        {
            "name": "web-proxy",
            "kind": "connect-proxy",
            "port": 1,
            "proxy": {
                "destination_service_name": "web",
                "destination_service_id": "web1",
                "local_service_address": "127.0.0.2",
                "local_service_port": 2,
                "config": {"A_b": [1]},
                "upstreams": [{"destination_name": "db", "local_bind_port": 3, "config": {"K": 1}}],
            },
        }
    )
    assert service.destination == Destination(
        service_name="web",
        service_id="web1",
        local_address="127.0.0.2",
        local_port=2,
        config={"A_b": [1]},
        upstreams=(Upstream(destination_name="db", local_bind_port=3, config={"K": 1}),),
    )
    old = load_service({"name": "p", "kind": "connect-proxy", "port": 1, "proxy_destination": "web"})
    assert old.destination == Destination(service_name="web")


def test_a_sidecar_is_kept_as_it_was_written() -> None:
    sidecar = {"name": "s", "tags": ["a"], "check": {"ttl": "1s"}, "proxy": {"config": {"x": 1}}}
    service = load_service({"name": "web", "port": 1, "connect": {"proxy": {}, "sidecar_service": sidecar}})
    assert service.proxy == ManagedProxy()
    assert service.sidecar == ServiceDefinition(
        id="",
        name="s",
        tags=("a",),
        checks=(CheckDefinition(ttl=1.0),),
        destination=Destination(service_name="", config={"x": 1}),
    )
    assert load_service({"name": "web", "connect": {"sidecar_service": {}}}).sidecar == ServiceDefinition(
        id="", name=""
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
    "check": ({"check": {"name": "c"}}, "Invalid check: TTL must be > 0 for TTL checks"),
    "checks": (
        {"checks": [{"ttl": "1s", "interval": "1s"}]},
        "Invalid check: Interval and TTL cannot both be specified",
    ),
    "duration of a check": (
        {"check": {"ttl": "soon"}},
        'invalid "service.check.ttl": time: invalid duration "soon"',
    ),
    "status of a check": ({"check": {"ttl": "1s", "status": "odd"}}, "Status for checks must 'passing'"),
    "container": ({"check": {"docker_container_id": "x", "args": ["a"], "interval": "1s"}}, "Docker checks"),
    "remote procedure": ({"check": {"grpc": "x", "interval": "1s"}}, "gRPC checks are not supported"),
    "script": ({"check": {"args": ["true"], "interval": "1s"}}, "Scripts are disabled on this agent"),
    "script of a sidecar": (
        {"connect": {"sidecar_service": {"check": {"args": ["true"], "interval": "1s"}}}},
        "Scripts are disabled on this agent",
    ),
    "kind": ({"kind": "odd"}, 'unknown kind of service: "odd"'),
    "proxy for nobody": (
        {"kind": "connect-proxy", "port": 1},
        "Proxy.DestinationServiceName must be non-empty",
    ),
    "proxy without port": (
        {"kind": "connect-proxy", "proxy": {"destination_service_name": "x"}},
        "Port must be set for a Connect proxy",
    ),
    "weights": ({"weights": {"passing": 0}}, "Invalid weight definition for service web: Passing must be"),
    "warning weight": ({"weights": {"warning": -1}}, "Warning must be greater or equal than 0"),
    "heavy": ({"weights": {"passing": 70000}}, "DNS Weight must be between 0 and 65535"),
    "sidecar with id": ({"connect": {"sidecar_service": {"id": "x"}}}, "sidecar_service can't specify an ID"),
    "meta of a sidecar": ({"connect": {"sidecar_service": {"meta": {"a b": "c"}}}}, "metadata pair 'a b'"),
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
