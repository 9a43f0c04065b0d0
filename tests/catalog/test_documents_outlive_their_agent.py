"""Documents: what was stored is there again, all of a change or nothing of it, in a file and in memory alike."""

from __future__ import annotations

import logging
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reference.catalog.documents import (
    Change,
    DamagedError,
    Delete,
    Documents,
    MemoryDocuments,
    Put,
    SqliteDocuments,
    StorageError,
    open_or_set_aside,
)
from tests.waiting import DEADLINE

#: Ends without a word, as an agent that is killed, and leaves what SQLite has beside the file.
_KILLED = """
import os, sys
from pathlib import Path
from reference.catalog.documents import SqliteDocuments
from reference.catalog.index import IndexClock
from reference.mesh.authority import Authority
from reference.mesh.storage import SqliteStorage

folder = Path(sys.argv[1])
SqliteDocuments(folder / "it.sqlite3", holds="it").put("a", "1", b"content")
print(Authority.open(SqliteStorage(folder / "authority.sqlite3"), datacenter="dc1", index=IndexClock()).root.id)
sys.stdout.flush()
os._exit(0)
"""
#: Finds a disk on which no file can grow.
_WITHOUT_ROOM = """
import resource, sys
from pathlib import Path
from reference.catalog.documents import SqliteDocuments, StorageError
from reference.catalog.index import IndexClock
from reference.mesh.authority import Authority
from reference.mesh.storage import SqliteStorage

resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
folder = Path(sys.argv[1])
documents = SqliteDocuments(folder / "it.sqlite3", holds="it")
assert documents.load("a") == [("1", b"content")]
try:
    documents.put("a", "2", b"more")
except StorageError:
    storage = SqliteStorage(folder / "authority.sqlite3")
    print(Authority.open(storage, datacenter="dc1", index=IndexClock()).root.id)
"""
_WRITER = """
import sys
from pathlib import Path
from reference.catalog.documents import Put, SqliteDocuments

documents = SqliteDocuments(Path(sys.argv[1]), holds="it")
number = 0
while True:
    documents.write([Put(kind=kind, id=str(number), content=b"x" * 100) for kind in ("a", "b")])
    print(number, flush=True)
    number += 1
"""


def opened(path: Path) -> SqliteDocuments:
    return SqliteDocuments(path, holds="the records")


@pytest.fixture(params=["memory", "file"])
def documents(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Documents]:
    if request.param == "memory":
        yield MemoryDocuments()
        return
    with closing(opened(tmp_path / "d.sqlite3")) as store:
        yield store


def test_records_are_kept_apart_by_kind_and_sorted_by_id(documents: Documents) -> None:
    documents.put("a", "2", b"two")
    documents.put("a", "1", b"one")
    documents.put("b", "1", b"other \0 bytes")
    documents.put("a", "2", b"TWO")
    assert list(documents.load("a")) == [("1", b"one"), ("2", b"TWO")]
    assert list(documents.load("b")) == [("1", b"other \0 bytes")]
    documents.delete("a", "1")
    documents.delete("a", "never there")
    assert list(documents.load("a")) == [("2", b"TWO")]
    assert list(documents.load("c")) == []


def test_several_changes_are_made_in_their_order(documents: Documents) -> None:
    documents.write(
        [
            Put(kind="a", id="1", content=b"x"),
            Delete(kind="a", id="1"),
            Put(kind="a", id="2", content=b"y"),
            Put(kind="a", id="2", content=b"z"),
        ]
    )
    assert list(documents.load("a")) == [("2", b"z")]


_IDS = st.sampled_from(["1", "2", "ü/x", ""])
_CHANGES = st.lists(
    st.one_of(
        st.builds(Put, kind=st.sampled_from("ab"), id=_IDS, content=st.binary(max_size=4)),
        st.builds(Delete, kind=st.sampled_from("ab"), id=_IDS),
    ),
    max_size=8,
)


@settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)  # each example has a file of its own
@given(batches=st.lists(_CHANGES, max_size=4))
def test_the_file_remembers_what_memory_does(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[Change]]
) -> None:
    path = tmp_path_factory.mktemp("documents") / "d.sqlite3"
    memory = MemoryDocuments()
    for batch in batches:
        memory.write(batch)
        with closing(opened(path)) as store:
            store.write(batch)
    with closing(opened(path)) as store:
        for kind in "ab":
            assert list(store.load(kind)) == list(memory.load(kind))


def test_only_the_owner_can_read_them(tmp_path: Path) -> None:
    with closing(opened(tmp_path / "d.sqlite3")) as store:
        store.put("a", "1", b"secret")
        modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {0o600}


def test_secrets_do_not_show_in_a_change() -> None:
    assert "secret" not in repr(Put(kind="token", id="1", content=b"secret"))


def test_acknowledged_changes_survive_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "d.sqlite3"
    writer = subprocess.Popen([sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    acknowledged = [writer.stdout.readline().strip() for _ in range(10)]
    writer.kill()
    acknowledged += [line.strip() for line in writer.stdout if line.endswith("\n")]
    writer.stdout.close()
    writer.wait()
    with closing(opened(path)) as store:
        kept = [{record_id for record_id, _ in store.load(kind)} for kind in ("a", "b")]
    assert set(acknowledged) <= kept[0]
    assert kept[0] == kept[1], "half of a change is there"


def _garbage(path: Path) -> None:
    path.write_bytes(b"this is not a database, and longer than one hundred bytes" * 4)


def _emptied(path: Path) -> None:
    path.write_bytes(b"")


def _truncated(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2 + 100])


def _scribbled(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096:] = b"\7" * (len(content) - 4096)
    path.write_bytes(content)


def _without_table(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE documents")


DAMAGES = [_garbage, _emptied, _truncated, _scribbled, _without_table]


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "d.sqlite3"
    with closing(opened(path)) as store:
        for number in range(100):
            store.put("a", str(number), b"x" * 400)
    return path


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_named_and_left_alone(written: Path, damage: Callable[[Path], None]) -> None:
    damage(written)
    before = written.read_bytes()
    with pytest.raises(DamagedError, match=r"^the records in .*d\.sqlite3 cannot be opened"):
        opened(written)
    assert written.read_bytes() == before


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_can_be_set_aside(
    written: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    damage(written)
    before = written.read_bytes()
    with (
        caplog.at_level(logging.ERROR, logger="agent"),
        closing(open_or_set_aside(written, holds="the records")) as store,
    ):
        assert list(store.load("a")) == []
        store.put("a", "1", b"new")
    (aside,) = written.parent.glob("d.sqlite3.corrupt-*")
    assert aside.read_bytes() == before
    assert str(aside) in caplog.text
    with closing(opened(written)) as store:
        assert list(store.load("a")) == [("1", b"new")]


@pytest.mark.parametrize("open_it", [opened, lambda path: open_or_set_aside(path, holds="the records")])
def test_a_file_of_a_later_version_is_left_alone(
    written: Path, open_it: Callable[[Path], SqliteDocuments]
) -> None:
    with closing(sqlite3.connect(written)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(StorageError, match="it has format 99, this agent knows 1") as caught:
        open_it(written)
    assert not isinstance(caught.value, DamagedError)
    assert [path.name for path in written.parent.iterdir()] == ["d.sqlite3"]


def test_a_full_disk_changes_nothing_and_says_so(tmp_path: Path) -> None:
    with closing(opened(tmp_path / "d.sqlite3")) as store:
        store.put("a", "1", b"kept")
        pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
        store._connection.execute(f"PRAGMA max_page_count = {pages}")
        too_much = Put(kind="a", id="2", content=b"v" * 50_000)
        for batch in ([too_much], [Delete(kind="a", id="1"), too_much]):
            with pytest.raises(
                StorageError, match=r"cannot be written: database or disk is full\. Make room"
            ):
                store.write(batch)
        assert list(store.load("a")) == [("1", b"kept")]
        store.put("a", "3", b"small")
    with closing(opened(tmp_path / "d.sqlite3")) as store:
        assert list(store.load("a")) == [("1", b"kept"), ("3", b"small")]


def test_what_a_crash_left_of_a_new_file_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "d.sqlite3.tmp").write_bytes(b"half a file")
    with closing(opened(tmp_path / "d.sqlite3")) as store:
        store.put("a", "1", b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["d.sqlite3"]


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"missing/d\.sqlite3 cannot be opened"):
        opened(tmp_path / "missing" / "d.sqlite3")


def test_what_is_stored_can_be_read_where_nothing_can_be_written(tmp_path: Path) -> None:
    """An agent that is started again while the disk is full has its rules and its authority."""

    def said(program: str) -> str:
        command = [sys.executable, "-c", program, str(tmp_path)]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=DEADLINE).stdout

    assert said(_KILLED) == said(_WITHOUT_ROOM) != ""
