"""Where intentions outlive their agent: one SQLite file in the data directory, beside that of the authority.

A change has reached the disk before it is acknowledged. A damaged file keeps the agent from starting: without the
intentions in it, connections would be allowed that somebody has forbidden.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import msgspec

from reference.mesh.intentions import Intention, IntentionError, Intentions
from reference.mesh.storage import StorageError, durable_connection

_SCHEMA_VERSION = 1


class IntentionStorage(Protocol):
    """Remembers intentions."""

    def load(self) -> Iterable[Intention]:
        """All that are remembered."""

    def put(self, intention: Intention) -> None:
        """Remember it, in place of the one with the same id."""

    def delete(self, intention_id: str) -> None:
        """Forget it."""


class NoIntentionStorage:
    """For ``-dev``: each start begins without intentions."""

    def load(self) -> Iterable[Intention]:
        """Nothing is ever remembered."""
        return ()

    def put(self, intention: Intention) -> None:
        """Nothing is kept."""

    def delete(self, intention_id: str) -> None:
        """Nothing was kept."""


class SqliteIntentions:
    """Keeps intentions in a file, which stays open until :meth:`close`. All methods raise :class:`StorageError`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._connection = durable_connection(path)
        except (OSError, sqlite3.Error) as error:
            raise self._trouble("opened", error) from error

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def load(self) -> Iterable[Intention]:
        """Read the file; a new one is made ready."""
        known = Intentions()
        try:
            with self._connection as connection:
                version = connection.execute("PRAGMA user_version").fetchone()[0]
                if version == 0:
                    connection.execute("BEGIN IMMEDIATE")
                    connection.execute("CREATE TABLE intentions (id TEXT PRIMARY KEY, record BLOB NOT NULL)")
                    connection.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
                elif version != _SCHEMA_VERSION:
                    raise self._trouble(
                        "read", f"it has format {version}, this agent knows {_SCHEMA_VERSION}"
                    )
                rows = connection.execute("SELECT record FROM intentions").fetchall()
            for (record,) in rows:
                known.put(msgspec.json.decode(record, type=Intention))
        except (sqlite3.Error, msgspec.MsgspecError, IntentionError) as error:
            raise self._trouble("read", error) from error
        return known

    def put(self, intention: Intention) -> None:
        """Write one row, durably."""
        row = (intention.id, msgspec.json.encode(intention))
        self._execute("INSERT OR REPLACE INTO intentions VALUES (?, ?)", row)

    def delete(self, intention_id: str) -> None:
        """Remove one row, durably."""
        self._execute("DELETE FROM intentions WHERE id = ?", (intention_id,))

    def _execute(self, statement: str, values: tuple[str | bytes, ...]) -> None:
        try:
            self._connection.execute(statement, values)
        except sqlite3.Error as error:
            raise self._trouble("written", error) from error

    def _trouble(self, done: str, why: object) -> StorageError:
        return StorageError(
            f"the intentions in {self._path} cannot be {done}: {why}. "
            "Make room and set its permissions right, restore the file from a backup, or move it away to start "
            "without intentions."
        )
