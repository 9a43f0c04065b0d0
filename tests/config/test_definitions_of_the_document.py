"""The example definitions: the good mean what the document says in both notations, the bad are refused."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from msgspec.structs import replace

from proxyproof.data import path
from reference.config.load import LoadResult, load
from reference.config.model import ManagedProxy, Upstream
from reference.config.sources import Sources
from tests.config.writing import refusal

_GOOD, _BAD = path("fixtures", "definitions", "good"), path("fixtures", "definitions", "bad")
_EXPECTED = tomllib.loads((_BAD / "expected.toml").read_text())


def _load(file: Path) -> LoadResult:
    return load(Sources(paths=(str(file),), dev_mode=True))


def _proxy(name: str) -> ManagedProxy:
    (service,) = _load(_GOOD / f"{name}.json").config.services
    assert service.proxy is not None
    return service.proxy


@pytest.mark.parametrize("name", sorted(file.stem for file in _GOOD.glob("*.json")))
def test_hcl_means_what_json_means(name: str) -> None:
    in_json, in_hcl = _load(_GOOD / f"{name}.json"), _load(_GOOD / f"{name}.hcl")
    assert replace(in_json.config, sources=()) == replace(in_hcl.config, sources=())
    assert in_json.ignored == in_hcl.ignored == ()


def test_an_empty_object_is_a_proxy_with_all_defaults() -> None:
    assert _proxy("minimal") == ManagedProxy()


def test_an_upstream_is_a_service_on_a_local_port() -> None:
    redis = Upstream(destination_name="redis", destination_type="service", local_bind_port=1234)
    assert _proxy("upstreams").upstreams == (redis,)


def test_an_upstream_may_be_a_prepared_query() -> None:
    (upstream,) = _proxy("prepared-query").upstreams
    assert upstream.destination_type == "prepared_query"


def test_a_custom_proxy_has_a_command_and_its_own_options() -> None:
    proxy = _proxy("custom-proxy")
    assert (proxy.exec_mode, proxy.command) == ("daemon", ("/usr/bin/my-proxy", "-flag-example"))
    assert proxy.config == {"foo": "bar"}


def test_the_default_command_can_be_changed_for_the_whole_agent() -> None:
    assert _load(_GOOD / "proxy-defaults.hcl").config.proxy_defaults.daemon_command == ("/usr/bin/my-proxy",)


def test_an_upstream_in_the_old_place_moves_to_the_new_one() -> None:
    proxy = _proxy("legacy-upstreams")
    assert proxy.config == {}
    assert proxy.upstreams == (
        Upstream(
            destination_name="redis",
            destination_type="service",
            datacenter="dc2",
            local_bind_port=1234,
            config={"connect_timeout_ms": 1000},
        ),
    )


def test_every_bad_definition_has_an_expectation() -> None:
    assert {file.name for file in _BAD.iterdir()} - {"expected.toml"} == set(_EXPECTED)


@pytest.mark.parametrize("name", sorted(_EXPECTED))
def test_a_bad_definition_is_refused_by_name(name: str) -> None:
    error = refusal(Sources(paths=(str(_BAD / name),), dev_mode=True))
    assert error.where.startswith(str(_BAD / name))
    assert _EXPECTED[name]["says"] in str(error)
    assert error.remedy
