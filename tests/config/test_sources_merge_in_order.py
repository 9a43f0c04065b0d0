"""Later sources win, lists grow, maps are overlaid; the order is the original's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from reference.config.load import leaves, load, merge
from reference.config.model import LogLevel
from reference.config.schema import AGENT
from reference.config.sources import Sources
from tests.config.writing import write

_PORT = ("-http-port", {"ports": {"http": 3}})


def test_files_then_flags_then_fragments(tmp_path: Path) -> None:
    file = write(tmp_path / "a.json", {"ports": {"http": 1}, "data_dir": "/d", "bind_addr": "127.0.0.1"})
    fragments = ("ports { http = 4 }", "ports { http = 5 }")
    alone = Sources(paths=(file,))
    with_flag = replace(alone, flags=(_PORT,))
    with_all = replace(with_flag, fragments=fragments)
    assert [load(sources).config.http_port for sources in (alone, with_flag, with_all)] == [1, 3, 5]


def test_paths_are_read_in_the_order_of_the_command_line(tmp_path: Path) -> None:
    first = write(tmp_path / "z.json", {"node_name": "z"})
    second = write(tmp_path / "a.json", {"node_name": "a"})
    assert load(Sources(paths=(first, second), dev_mode=True)).config.node_name == "a"
    assert load(Sources(paths=(second, first), dev_mode=True)).config.node_name == "z"


def test_a_directory_is_read_by_name_and_without_what_is_not_configuration(tmp_path: Path) -> None:
    directory = tmp_path / "consul.d"
    names = [write(directory / f"{name}", f'node_name = "{name}"') for name in ("10.hcl", "9.hcl")]
    write(directory / "20.json", {"datacenter": "dc7"})
    write(directory / "README.txt", "not configuration")
    write(directory / "99.json.bak", "not configuration")
    write(directory / "sub.json" / "inner.json", "not configuration")
    config = load(Sources(paths=(str(directory),), dev_mode=True)).config
    assert (config.node_name, config.datacenter) == ("9.hcl", "dc7")
    assert config.sources == (names[0], str(directory / "20.json"), names[1])


def test_a_directory_may_hold_links(tmp_path: Path) -> None:
    write(tmp_path / "elsewhere.json", {"node_name": "linked"})
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "a.json").symlink_to(tmp_path / "elsewhere.json")
    assert load(Sources(paths=(str(tmp_path / "conf"),), dev_mode=True)).config.node_name == "linked"


def test_services_of_all_sources_come_together_and_the_last_of_an_id_counts(tmp_path: Path) -> None:
    first = write(tmp_path / "1.json", {"services": [{"name": "a"}, {"name": "b", "port": 1}]})
    second = write(tmp_path / "2.json", {"service": {"name": "x", "id": "b", "port": 2}})
    services = load(Sources(paths=(first, second), dev_mode=True)).config.services
    assert [(service.id, service.name, service.port) for service in services] == [
        ("a", "a", 0),
        ("b", "x", 2),
    ]


def test_an_empty_file_says_nothing(tmp_path: Path) -> None:
    paths = write(tmp_path / "a.json", ""), write(tmp_path / "b.hcl", "\n")
    assert load(Sources(paths=paths, dev_mode=True)).ignored == ()


def test_dev_mode_is_weaker_than_files(tmp_path: Path) -> None:
    file = write(tmp_path / "a.json", {"log_level": "warn", "connect": {"enabled": False}})
    plain = load(Sources(dev_mode=True)).config
    assert (plain.log_level, plain.connect_enabled, plain.bind_addr) == (LogLevel.DEBUG, True, "127.0.0.1")
    changed = load(Sources(paths=(file,), dev_mode=True)).config
    assert (changed.log_level, changed.connect_enabled) == (LogLevel.WARN, False)


_TEXT = st.text(max_size=4)
_OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "node_name": _TEXT,
        "start_join": st.lists(_TEXT, max_size=3),
        "node_meta": st.dictionaries(_TEXT, _TEXT, max_size=3),
        "ports": st.fixed_dictionaries({}, optional={"http": st.integers(), "dns": st.integers()}),
        "connect": st.fixed_dictionaries(
            {},
            optional={
                "enabled": st.booleans(),
                "proxy_defaults": st.fixed_dictionaries(
                    {}, optional={"config": st.dictionaries(_TEXT, st.integers(), max_size=3)}
                ),
            },
        ),
    },
)


@given(_OPTIONS, _OPTIONS, _OPTIONS)
def test_it_does_not_matter_what_is_merged_first(
    a: dict[str, Any], b: dict[str, Any], c: dict[str, Any]
) -> None:
    assert merge(AGENT, merge(AGENT, a, b), c) == merge(AGENT, a, merge(AGENT, b, c))


@given(_OPTIONS, _OPTIONS)
def test_merging_keeps_every_option_and_the_later_value(a: dict[str, Any], b: dict[str, Any]) -> None:
    merged = merge(AGENT, a, b)
    assert set(leaves(AGENT, merged)) == {*leaves(AGENT, a), *leaves(AGENT, b)}
    assert merged.get("node_name") == b.get("node_name", a.get("node_name"))
    assert merged.get("start_join", []) == [*a.get("start_join", []), *b.get("start_join", [])]
    assert merged.get("node_meta", {}) == {**a.get("node_meta", {}), **b.get("node_meta", {})}
    ports = {**a.get("ports", {}), **b.get("ports", {})}
    assert merged.get("ports", {}) == ports
