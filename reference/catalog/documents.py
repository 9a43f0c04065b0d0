"""Small records that outlive their agent: a kind, an id, and content that only its owner understands.

A change has reached the disk before the call returns, several at once are made together or not at all, and one
that cannot be stored raises :class:`StorageError` and changes nothing: so whoever acknowledges a change after
storing it keeps his word over ``kill -9``, and a full disk says so. Two files of one form in the data directory:

=================  ====================================  =========================================================
file               holds                                 damaged
=================  ====================================  =========================================================
``rules.sqlite3``  who may do what: intentions           keeps the agent from starting: without the rules things
                                                         would be allowed that somebody has forbidden
``state.sqlite3``  what was registered: the catalog      is set aside under another name, and the rest is served
=================  ====================================  =========================================================
"""

from __future__ import annotations

import logging
import os
import sqlite3
import uuid
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Protocol

import msgspec

from reference.secretive import Secretive

_log = logging.getLogger("agent")

_SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE documents (
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    content BLOB NOT NULL,
    PRIMARY KEY (kind, id)
) WITHOUT ROWID
"""
#: SQLite's files beside the main one.
_SIDE_FILES = ("", "-wal", "-shm")


class StorageError(Exception):
    """What is stored cannot be used or changed; the text says which file, why, and what to do."""


class DamagedError(StorageError):
    """The file is there and can be read, but what is in it makes no sense."""


class Put(Secretive, frozen=True, kw_only=True):
    """Remember ``content`` in place of what had the same kind and id."""

    UNSHOWN = frozenset({"content"})

    kind: str
    id: str
    content: bytes


class Delete(msgspec.Struct, frozen=True, kw_only=True):
    """Forget what has this kind and id; nothing may have it."""

    kind: str
    id: str


Change = Put | Delete


class Documents(Protocol):
    """Remembers records. All methods raise :class:`StorageError`."""

    def load(self, kind: str) -> Iterable[tuple[str, bytes]]:
        """All records of one kind, by id."""

    def put(self, kind: str, id: str, content: bytes) -> None:
        """Remember one record."""

    def delete(self, kind: str, id: str) -> None:
        """Forget one record; an unknown one is no error."""

    def write(self, changes: Iterable[Change]) -> None:
        """Make several changes in their order, all of them or none."""


class MemoryDocuments:
    """For ``-dev``: remembers as long as it lives."""

    def __init__(self) -> None:
        self._records: dict[str, dict[str, bytes]] = {}

    def load(self, kind: str) -> Iterable[tuple[str, bytes]]:
        """All records of one kind, by id."""
        return sorted(self._records.get(kind, {}).items())

    def put(self, kind: str, id: str, content: bytes) -> None:
        """Remember one record."""
        self.write([Put(kind=kind, id=id, content=content)])

    def delete(self, kind: str, id: str) -> None:
        """Forget one record."""
        self.write([Delete(kind=kind, id=id)])

    def write(self, changes: Iterable[Change]) -> None:
        """Make several changes."""
        for change in changes:
            records = self._records.setdefault(change.kind, {})
            if isinstance(change, Put):
                records[change.id] = change.content
            else:
                records.pop(change.id, None)


class SqliteDocuments:
    """Remembers in a file, which stays open until :meth:`close`."""

    def __init__(self, path: Path, *, holds: str) -> None:
        """Open the file, or make it. ``holds`` says in errors what is in it.

        Raises :class:`DamagedError` for a file that is no such store, and :class:`StorageError`.
        """
        self._path = path
        self._holds = holds
        with self._errors("opened"):
            if not path.exists():
                _create(path)
            elif path.stat().st_size == 0:
                # SQLite would take it for a new one.
                raise DamagedError(self._text("opened", "it is empty"))
            self._connection = durable_connection(path)
        try:
            with self._errors("opened"):
                self._prepare()
        except StorageError:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def load(self, kind: str) -> Iterable[tuple[str, bytes]]:
        """All records of one kind, by id."""
        with self._errors("read"):
            rows = self._connection.execute(
                "SELECT id, content FROM documents WHERE kind = ? ORDER BY id", (kind,)
            ).fetchall()
        return [(str(record_id), bytes(content)) for record_id, content in rows]

    def put(self, kind: str, id: str, content: bytes) -> None:
        """Remember one record."""
        self.write([Put(kind=kind, id=id, content=content)])

    def delete(self, kind: str, id: str) -> None:
        """Forget one record."""
        self.write([Delete(kind=kind, id=id)])

    def write(self, changes: Iterable[Change]) -> None:
        """Make several changes in one transaction."""
        with self._errors("written"), self._transaction() as connection:
            for change in changes:
                if isinstance(change, Put):
                    row = (change.kind, change.id, change.content)
                    connection.execute("INSERT OR REPLACE INTO documents VALUES (?, ?, ?)", row)
                else:
                    connection.execute(
                        "DELETE FROM documents WHERE kind = ? AND id = ?", (change.kind, change.id)
                    )

    def _prepare(self) -> None:
        connection = self._connection
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version != _SCHEMA_VERSION:
            raise StorageError(
                self._text("opened", f"it has format {version}, this agent knows {_SCHEMA_VERSION}")
            )
        # Damage is found now, when there is a choice, and not in the middle of an answer.
        found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise DamagedError(self._text("opened", found))
        connection.execute("SELECT kind, id, content FROM documents LIMIT 0")

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield self._connection
            self._connection.execute("COMMIT")
        except BaseException:
            # Some errors have ended the transaction already.
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            raise

    @contextmanager
    def _errors(self, done: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageError(self._text(done, error.strerror)) from error
        except sqlite3.Error as error:
            kind = DamagedError if _is_damage(error) else StorageError
            raise kind(self._text(done, error)) from error

    def _text(self, done: str, why: object) -> str:
        return (
            f"{self._holds} in {self._path} cannot be {done}: {why}. Make room and set its permissions right, "
            f"restore the file from a backup, or move it away to start without {self._holds}."
        )


def open_or_set_aside(path: Path, *, holds: str) -> SqliteDocuments:
    """Like :class:`SqliteDocuments`; but a damaged file is kept under another name, and a new one begun."""
    try:
        return SqliteDocuments(path, holds=holds)
    except DamagedError as error:
        aside = f"{path.name}.corrupt-{uuid.uuid4()}"
        try:
            for side in _SIDE_FILES:
                with suppress(FileNotFoundError):
                    path.with_name(path.name + side).rename(path.with_name(aside + side))
        except OSError:
            raise error from None
        _log.error("%s It is kept as %s; the rest is served", error, path.with_name(aside))
        return SqliteDocuments(path, holds=holds)


def durable_connection(path: Path) -> sqlite3.Connection:
    """A connection to the database in ``path`` whose commits have reached the disk, and that only its owner can read.

    Raises :class:`OSError` and :class:`sqlite3.Error`.
    """
    # SQLite gives its side files the mode of the main file, so the mode is set before it opens it.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    try:
        return _connection(path, locking="NORMAL")
    except sqlite3.OperationalError:
        # A full disk has no room for the index that SQLite keeps beside the file for several users. Only one agent
        # has the file; alone, it needs none, and what is stored can be read.
        return _connection(path, locking="EXCLUSIVE")


def _connection(path: Path, *, locking: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute(f"PRAGMA locking_mode = {locking}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _create(path: Path) -> None:
    """Make an empty store. It gets its name when it is whole: so an empty file is always one that was damaged."""
    new = path.with_name(f"{path.name}.tmp")
    for side in _SIDE_FILES:
        new.with_name(new.name + side).unlink(missing_ok=True)
    with closing(durable_connection(new)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(_SCHEMA)
        connection.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
        connection.execute("COMMIT")
    new.rename(path)
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_damage(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    # A table that is missing although the format says that it is there is damage, too.
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or "no such table" in str(error)
