"""The snapshot: a round trip, no secrets, and nothing taken on trust."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference.supervisor.events import Memory
from reference.supervisor.snapshot import Snapshot, SnapshotError, decode, encode
from reference.supervisor.spec import Process
from tests.supervisor.playbook import memory, spec

_processes = st.none() | st.builds(
    Process, pid=st.integers(2, 2**22), start_time=st.integers(1, 2**40), boot_id=st.just("boot")
)
_memories = st.builds(
    Memory,
    proxy_id=st.text(min_size=1, max_size=20),
    process=_processes,
    fingerprint=st.text(max_size=8),
    starts=st.integers(0, 10**6),
    retry_at=st.none() | st.floats(0, 1e9),
    ready=st.booleans(),
)


WEB = Snapshot(boot_id="boot", memories=(memory(spec(token="secret-token"), 100),))


@given(st.lists(_memories, unique_by=lambda m: m.proxy_id).map(tuple))
def test_what_is_written_is_read_again(memories: tuple[Memory, ...]) -> None:
    snapshot = Snapshot(boot_id="boot", memories=memories)
    assert decode(encode(snapshot)) == snapshot


def test_the_outline_is_the_originals() -> None:
    document = json.loads(encode(WEB))
    assert document["Version"] == 1
    assert document["Proxies"]["web-proxy"]["Mode"] == 1
    assert document["Proxies"]["web-proxy"]["Config"]["Pid"] == 100


def test_the_token_is_not_in_it() -> None:
    assert "secret-token" not in encode(WEB)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"Version": 2, "Proxies": {}}', '{"Version": 1}'])
def test_what_is_no_snapshot_is_refused(text: str) -> None:
    with pytest.raises(SnapshotError):
        decode(text)


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"Pid": 4711},
        {"Pid": 0, "StartTime": 5},
        {"Pid": 1, "StartTime": 5},
        {"Pid": -1, "StartTime": 5},
        {"Pid": True, "StartTime": 5},
        {"Pid": "4711", "StartTime": 5},
        {"Pid": 4711, "StartTime": None},
    ],
)
def test_an_entry_that_proves_no_identity_names_no_process(config: dict[str, Any]) -> None:
    document = {"Version": 1, "BootID": "boot", "Proxies": {"web-proxy": {"Mode": 1, "Config": config}}}
    assert [m.process for m in decode(json.dumps(document)).memories] == [None]


@pytest.mark.parametrize("boot", [{}, {"BootID": ""}, {"BootID": 7}, {"BootID": None}])
def test_a_snapshot_without_a_boot_names_no_process(boot: dict[str, Any]) -> None:
    config = {"Pid": 4711, "StartTime": 5}
    document = {"Version": 1, **boot, "Proxies": {"web-proxy": {"Mode": 1, "Config": config}}}
    snapshot = decode(json.dumps(document))
    assert snapshot.boot_id == ""
    assert [m.process for m in snapshot.memories] == [None]


@pytest.mark.parametrize(
    "entry", [None, [], {}, {"Config": None}, {"Config": {"Starts": -3, "RetryAt": "soon"}}]
)
def test_of_an_entry_that_says_nothing_the_id_is_kept(entry: object) -> None:
    document = {"Version": 1, "BootID": "boot", "Proxies": {"web-proxy": entry}}
    nothing = Memory(proxy_id="web-proxy", process=None, fingerprint="", starts=0)
    assert decode(json.dumps(document)).memories == (nothing,)
