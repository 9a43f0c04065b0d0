"""Any definition that can be written in JSON can be written in HCL, as blocks or as values, and means the same."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from reference.config import hcl
from reference.config.model import AgentConfig
from tests.config.writing import as_hcl, load_fragment

# Of strings HCL takes everything but a NUL (no option can hold one), halves of surrogate pairs and interpolations.
_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0$"), max_size=12)
_NUMBERS = st.integers(-(2**40), 2**40) | st.floats(-1e6, 1e6, allow_nan=False)
_PORTS = st.integers(1, 65535)


def _objects(values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(_TEXT, values, max_size=4)


_OPAQUE = _objects(
    st.recursive(
        st.booleans() | _NUMBERS | _TEXT,
        lambda inner: st.lists(inner, max_size=3) | _objects(inner),
        max_leaves=8,
    )
).filter(lambda config: "upstreams" not in config)

_UPSTREAMS = st.lists(
    st.fixed_dictionaries(
        {"destination_name": _TEXT, "local_bind_port": _PORTS},
        optional={
            "destination_type": st.sampled_from(["service", "prepared_query"]),
            "datacenter": _TEXT,
            "local_bind_address": st.just("127.0.0.2"),
            "config": _OPAQUE,
        },
    ),
    max_size=3,
)
_PROXIES = st.fixed_dictionaries(
    {},
    optional={
        "exec_mode": st.sampled_from(["", "daemon", "script"]),
        "command": st.lists(_TEXT, max_size=3),
        "config": _OPAQUE.filter(lambda config: "bind_port" not in config),
        "upstreams": _UPSTREAMS,
    },
)
_SERVICES = st.fixed_dictionaries(
    {"name": _TEXT.filter(lambda name: name and "/" not in name), "port": _PORTS},
    optional={
        "tags": st.lists(_TEXT, max_size=3),
        "meta": st.dictionaries(st.from_regex(r"[a-b_-]{1,8}", fullmatch=True), _TEXT, max_size=3),
        "address": _TEXT,
        "token": _TEXT,
        "enable_tag_override": st.booleans(),
        "connect": st.fixed_dictionaries({}, optional={"proxy": _PROXIES}),
    },
)
_CONFIGURATIONS = st.fixed_dictionaries(
    {},
    optional={
        "services": st.lists(_SERVICES, max_size=2),
        "service": _SERVICES,
        "node_name": _TEXT.filter(str.strip),
        "ports": st.fixed_dictionaries(
            {}, optional={"http": st.integers(1, 8599), "dns": st.integers(8600, 9000)}
        ),
        "connect": st.fixed_dictionaries(
            {},
            optional={
                "proxy": st.fixed_dictionaries({"allow_managed_root": st.booleans()}),
                "proxy_defaults": st.fixed_dictionaries({"config": _OPAQUE}),
            },
        ),
        "telemetry": st.fixed_dictionaries({"disable_hostname": st.booleans()}),
    },
)


def _meaning(fragment: str | dict[str, Any]) -> AgentConfig:
    return replace(load_fragment(fragment).config, sources=())


@given(_CONFIGURATIONS, st.booleans())
def test_a_configuration_means_the_same_in_both_notations(
    configuration: dict[str, Any], blocks: bool
) -> None:
    assert _meaning(as_hcl(configuration, blocks=blocks)) == _meaning(configuration)


@given(_OPAQUE, st.booleans())
def test_opaque_data_is_passed_through_unchanged(data: dict[str, Any], blocks: bool) -> None:
    assert hcl.plain(hcl.parse(as_hcl(data, blocks=blocks))) == data
