"""Where an authority outlives its agent: one SQLite file in the data directory.

The file holds the private key of the root, so it is readable by its owner only, and a write has reached the disk
before anybody sees a certificate that depends on it (WAL, ``synchronous=FULL``).
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

_SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE authority (
    trust_domain TEXT NOT NULL,
    serial INTEGER NOT NULL,
    certificate TEXT NOT NULL,
    private_key TEXT NOT NULL
)
"""


class StorageError(Exception):
    """The stored authority cannot be used; the text says which file, why, and what to do."""


@dataclass(frozen=True, kw_only=True)
class StoredAuthority:
    """All that makes an authority: certificate and key as PEM."""

    trust_domain: str
    serial: int
    certificate: str
    private_key: str = field(repr=False)


class AuthorityStorage(Protocol):
    """Remembers one authority."""

    def load(self) -> StoredAuthority | None:
        """The remembered authority, or None when there is none yet."""

    def save(self, authority: StoredAuthority) -> None:
        """Remember this one."""


class ForgetfulStorage:
    """For ``-dev``: each start makes a new authority (MP-CA-013)."""

    def load(self) -> StoredAuthority | None:
        """Nothing is ever remembered."""
        return None

    def save(self, authority: StoredAuthority) -> None:
        """Nothing is kept."""


class SqliteStorage:
    """Keeps the authority in a file. Raises :class:`StorageError` when the file cannot be read or written.

    A damaged file is never replaced: a new trust domain would cut off every certificate that is in use.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> StoredAuthority | None:
        """Read the file; a missing one is None."""
        if not self._path.exists():
            return None
        try:
            with closing(durable_connection(self._path)) as connection:
                version = connection.execute("PRAGMA user_version").fetchone()[0]
                if version == 0:
                    return None
                if version != _SCHEMA_VERSION:
                    raise self._trouble(f"it has format {version}, this agent knows {_SCHEMA_VERSION}")
                row = connection.execute(
                    "SELECT trust_domain, serial, certificate, private_key FROM authority"
                ).fetchone()
        except (OSError, sqlite3.Error) as error:
            raise self._trouble(str(error)) from error
        if row is None:
            raise self._trouble("it holds no authority")
        return StoredAuthority(trust_domain=row[0], serial=row[1], certificate=row[2], private_key=row[3])

    def save(self, authority: StoredAuthority) -> None:
        """Write the file, in one transaction."""
        try:
            with closing(durable_connection(self._path)) as connection, connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("DROP TABLE IF EXISTS authority")
                connection.execute(_SCHEMA)
                connection.execute(
                    "INSERT INTO authority VALUES (?, ?, ?, ?)",
                    (authority.trust_domain, authority.serial, authority.certificate, authority.private_key),
                )
                connection.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
        except (OSError, sqlite3.Error) as error:
            raise self._trouble(str(error)) from error

    def _trouble(self, what: str) -> StorageError:
        return StorageError(
            f"the certificate authority in {self._path} cannot be used: {what}. "
            "Restore the file from a backup, or move it away to start a new trust domain."
        )


def durable_connection(path: Path) -> sqlite3.Connection:
    """A connection to the database in ``path`` whose commits have reached the disk, and that only its owner can read.

    Raises :class:`OSError` and :class:`sqlite3.Error`.
    """
    # SQLite gives its side files the mode of the main file, so the mode is set before it opens it.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
    except sqlite3.Error:
        connection.close()
        raise
    return connection
