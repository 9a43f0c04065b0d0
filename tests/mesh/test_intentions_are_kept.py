"""Intentions outlive their agent, and a change that cannot be stored does not happen."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from reference.catalog.documents import Documents, MemoryDocuments, SqliteDocuments, StorageError
from reference.catalog.index import IndexClock
from reference.catalog.watch import Watch
from reference.mesh.intentions import Intention, IntentionError, Party, Rule
from reference.mesh.intentions_register import KIND, IntentionRegister

DENY = Rule(source=Party("web"), destination=Party("db"), action="deny", meta={"who": "me"})
ALLOW = Rule(source=Party("*"), destination=Party("db"), action="allow")
NOW = datetime(2026, 11, 23, 1, 2, 3, 456, tzinfo=UTC)


def stored(path: Path) -> closing[SqliteDocuments]:
    return closing(SqliteDocuments(path / "rules.sqlite3", holds="the rules"))


def register(documents: Documents) -> IntentionRegister:
    return IntentionRegister(documents, index=IndexClock(start=7), watch=Watch(), clock=lambda: NOW)


def test_they_are_there_again(tmp_path: Path) -> None:
    with stored(tmp_path) as documents:
        first = register(documents)
        kept, changed, gone = first.create(DENY), first.create(ALLOW), first.create(_rule("x"))
        first.replace(changed, _rule("y"))
        first.delete(gone)
        before = list(first.known)
    with stored(tmp_path) as documents:
        after = list(register(documents).known)
    assert after == before
    assert {each.id for each in after} == {kept, changed}


@pytest.mark.parametrize("content", [b"{}", b"not JSON", b""])
def test_a_damaged_record_is_no_empty_list(content: bytes) -> None:
    documents = MemoryDocuments()
    intention_id = register(documents).create(DENY)
    documents.put(KIND, intention_id, content)
    with pytest.raises(StorageError, match=f"^the stored intention {intention_id} cannot be understood"):
        register(documents)


def test_a_change_that_cannot_be_stored_is_no_change(tmp_path: Path) -> None:
    with stored(tmp_path) as documents:
        kept = register(documents)
        intention_id = kept.create(DENY)
        before, index = list(kept.known), kept.index
        pages = documents._connection.execute("PRAGMA page_count").fetchone()[0]
        documents._connection.execute(f"PRAGMA max_page_count = {pages}")
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
    kept = register(MemoryDocuments())
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
    kept = register(MemoryDocuments())
    text = f"^Cannot modify non-existent intention: '{missing}'$"
    with pytest.raises(IntentionError, match=text):
        kept.replace(missing, DENY)
    with pytest.raises(IntentionError, match=text):
        kept.delete(missing)


def test_a_refused_change_is_no_change() -> None:
    kept = register(MemoryDocuments())
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
