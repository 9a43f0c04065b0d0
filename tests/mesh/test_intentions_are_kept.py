"""Intentions outlive their agent, and a change that cannot be stored does not happen."""

from __future__ import annotations

import stat
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from reference.catalog.index import IndexClock
from reference.catalog.watch import Watch
from reference.mesh.intentions import Intention, IntentionError, Party, Rule
from reference.mesh.intentions_register import IntentionRegister
from reference.mesh.intentions_storage import IntentionStorage, NoIntentionStorage, SqliteIntentions
from reference.mesh.storage import StorageError

DENY = Rule(source=Party("web"), destination=Party("db"), action="deny", meta={"who": "me"})
ALLOW = Rule(source=Party("*"), destination=Party("db"), action="allow")
NOW = datetime(2026, 11, 23, 1, 2, 3, 456, tzinfo=UTC)

_WRITER = """
import sys
from pathlib import Path
from reference.catalog.index import IndexClock
from reference.catalog.watch import Watch
from reference.mesh.intentions import Party, Rule
from reference.mesh.intentions_register import IntentionRegister
from reference.mesh.intentions_storage import SqliteIntentions

register = IntentionRegister(SqliteIntentions(Path(sys.argv[1])), index=IndexClock(), watch=Watch())
number = 0
while True:
    rule = Rule(source=Party(f"s{number}"), destination=Party("db"), action="deny")
    print(register.create(rule), flush=True)
    number += 1
"""


def register(storage: IntentionStorage) -> IntentionRegister:
    return IntentionRegister(storage, index=IndexClock(start=7), watch=Watch(), clock=lambda: NOW)


def test_they_are_there_again(tmp_path: Path) -> None:
    path = tmp_path / "intentions.sqlite3"
    with closing(SqliteIntentions(path)) as storage:
        first = register(storage)
        kept, changed, gone = first.create(DENY), first.create(ALLOW), first.create(_rule("x"))
        first.replace(changed, _rule("y"))
        first.delete(gone)
        before = list(first.known)
    with closing(SqliteIntentions(path)) as storage:
        after = list(register(storage).known)
    assert after == before
    assert {each.id for each in after} == {kept, changed}


def test_only_the_owner_can_read_them(tmp_path: Path) -> None:
    with closing(SqliteIntentions(tmp_path / "intentions.sqlite3")) as storage:
        register(storage).create(DENY)
        modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {0o600}


def test_acknowledged_ones_survive_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "intentions.sqlite3"
    writer = subprocess.Popen([sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    acknowledged = [writer.stdout.readline().strip() for _ in range(10)]
    writer.kill()
    acknowledged += [line.strip() for line in writer.stdout if line.endswith("\n")]
    writer.stdout.close()
    writer.wait()
    assert len(acknowledged) >= 10
    with closing(SqliteIntentions(path)) as storage:
        known = {each.id for each in register(storage).known}
    assert set(acknowledged) <= known


@pytest.mark.parametrize(
    "content",
    [b"this is not a database, and longer than one hundred bytes" * 4, b"SQLite format 3\0" + b"\7" * 4096],
)
def test_a_damaged_file_is_named_and_not_replaced(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "intentions.sqlite3"
    path.write_bytes(content)
    with (
        pytest.raises(StorageError, match=r"^the intentions in .*intentions\.sqlite3 cannot be"),
        _opened(path),
    ):
        pass
    assert path.read_bytes() == content


def test_a_damaged_record_is_no_empty_list(tmp_path: Path) -> None:
    path = tmp_path / "intentions.sqlite3"
    with closing(SqliteIntentions(path)) as storage:
        register(storage).create(DENY)
        storage._connection.execute("UPDATE intentions SET record = '{}'")
    with pytest.raises(StorageError, match="cannot be read"), _opened(path):
        pass


def test_a_file_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "intentions.sqlite3"
    with closing(SqliteIntentions(path)) as storage:
        register(storage).create(DENY)
        storage._connection.execute("PRAGMA user_version = 99")
    with pytest.raises(StorageError, match="it has format 99, this agent knows 1"), _opened(path):
        pass


def test_a_full_disk_changes_nothing_and_says_so(tmp_path: Path) -> None:
    with closing(SqliteIntentions(tmp_path / "intentions.sqlite3")) as storage:
        kept = register(storage)
        intention_id = kept.create(DENY)
        before, index = list(kept.known), kept.index
        pages = storage._connection.execute("PRAGMA page_count").fetchone()[0]
        storage._connection.execute(f"PRAGMA max_page_count = {pages}")
        big = {str(number): "v" * 512 for number in range(64)}
        with pytest.raises(StorageError, match="full"):
            kept.create(Rule(source=Party("x"), destination=Party("y"), action="deny", meta=big))
        with pytest.raises(StorageError, match="full"):
            kept.replace(
                intention_id, Rule(source=Party("x"), destination=Party("y"), action="deny", meta=big)
            )
        assert (list(kept.known), kept.index) == (before, index)
        kept.create(ALLOW)


def test_a_change_keeps_id_and_birth() -> None:
    """MP-IXN-007."""
    kept = register(NoIntentionStorage())
    intention_id = kept.create(DENY)
    born = kept.known.get(intention_id)
    assert born is not None
    kept.replace(intention_id.upper(), ALLOW)
    changed = kept.known.get(intention_id)
    assert changed == Intention(
        id=intention_id,
        rule=ALLOW,
        created=born.created,
        modified=born.modified + 1,
        created_at=NOW,
        updated_at=NOW,
    )
    assert kept.index == changed.modified


@pytest.mark.parametrize("missing", ["11111111-1111-1111-1111-111111111111"])
def test_what_is_not_there_cannot_be_changed(missing: str) -> None:
    """MP-IXN-007."""
    kept = register(NoIntentionStorage())
    text = f"^Cannot modify non-existent intention: '{missing}'$"
    with pytest.raises(IntentionError, match=text):
        kept.replace(missing, DENY)
    with pytest.raises(IntentionError, match=text):
        kept.delete(missing)


def test_a_refused_change_is_no_change() -> None:
    kept = register(NoIntentionStorage())
    first, second = kept.create(DENY), kept.create(ALLOW)
    before, index = list(kept.known), kept.index
    for change in (
        lambda: kept.create(DENY),
        lambda: kept.replace(second, DENY),
        lambda: kept.replace(first, _rule("*x")),
        lambda: kept.create(_rule("")),
    ):
        with pytest.raises(IntentionError):
            change()
    assert (list(kept.known), kept.index) == (before, index)


def _rule(source: str) -> Rule:
    return Rule(source=Party(source), destination=Party("db"), action="deny")


def _opened(path: Path) -> closing[SqliteIntentions]:
    storage = SqliteIntentions(path)
    try:
        register(storage)
    except StorageError:
        storage.close()
        raise
    return closing(storage)
