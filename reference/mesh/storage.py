"""Where an authority outlives its agent: one SQLite file in the data directory.

The file holds the private key of the root, so it is readable by its owner only, and a write has reached the disk
before anybody sees a certificate that depends on it (WAL, ``synchronous=FULL``). The authority is one row, written
in one transaction: a rotation has happened as a whole or not at all.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

import msgspec

from reference.catalog.documents import StorageError, durable_connection
from reference.secretive import Secretive

_SCHEMA_VERSION = 2
_SCHEMA = "CREATE TABLE authority (record BLOB NOT NULL)"
#: Before there were several roots.
_FIRST_VERSION = 1


class StoredRoot(msgspec.Struct, frozen=True, kw_only=True):
    """A root with the certificates that go with its leaves, as PEM. ``rotated_out`` is None for the active one.

    ``longest_leaf`` is the longest life that its leaves may have had; None where an earlier format did not say.
    """

    certificate: str
    intermediates: tuple[str, ...] = ()
    rotated_out: datetime | None = None
    longest_leaf: timedelta | None = None


class StoredAuthority(Secretive, frozen=True, kw_only=True):
    """All that makes an authority. One of ``roots`` is active, and ``private_key`` is its key, as PEM.

    ``serial`` is the number of the last root that was made here, ``options`` the configuration word for word,
    ``told`` the digest of what the configuration files said when they were last looked at.
    """

    UNSHOWN = frozenset({"options", "private_key"})

    trust_domain: str
    serial: int
    roots: tuple[StoredRoot, ...]
    private_key: str
    options: Mapping[str, object] | None = None
    told: str = ""

    @property
    def active(self) -> StoredRoot:
        """The root that signs. Raises :class:`ValueError` when there is not exactly one."""
        (active,) = (root for root in self.roots if root.rotated_out is None)
        return active


class AuthorityStorage(Protocol):
    """Remembers one authority."""

    def exists(self) -> bool:
        """Whether there may be a remembered authority."""

    def load(self) -> StoredAuthority | None:
        """The remembered authority, or None when there is none yet."""

    def save(self, authority: StoredAuthority) -> None:
        """Remember this one."""


class ForgetfulStorage:
    """For ``-dev``: each start makes a new authority (MP-CA-013)."""

    def exists(self) -> bool:
        """Nothing is ever remembered."""
        return False

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

    def exists(self) -> bool:
        """Whether there is a file, whatever it holds."""
        return self._path.exists()

    def load(self) -> StoredAuthority | None:
        """Read the file; a missing one is None."""
        if not self.exists():
            return None
        try:
            with closing(durable_connection(self._path)) as connection:
                version = connection.execute("PRAGMA user_version").fetchone()[0]
                if version == 0:
                    return None
                if version == _FIRST_VERSION:
                    return self._load_first(connection)
                if version != _SCHEMA_VERSION:
                    raise self._trouble(f"it has format {version}, this agent knows {_SCHEMA_VERSION}")
                row = connection.execute("SELECT record FROM authority").fetchone()
            if row is None:
                raise self._trouble("it holds no authority")
            return msgspec.json.decode(row[0], type=StoredAuthority)
        except (OSError, sqlite3.Error, msgspec.MsgspecError) as error:
            raise self._trouble(str(error)) from error

    def save(self, authority: StoredAuthority) -> None:
        """Write the file, in one transaction."""
        try:
            with closing(durable_connection(self._path)) as connection, connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("DROP TABLE IF EXISTS authority")
                connection.execute(_SCHEMA)
                connection.execute("INSERT INTO authority VALUES (?)", (msgspec.json.encode(authority),))
                connection.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
        except (OSError, sqlite3.Error) as error:
            raise self._trouble(str(error)) from error

    def _load_first(self, connection: sqlite3.Connection) -> StoredAuthority:
        row = connection.execute(
            "SELECT trust_domain, serial, certificate, private_key FROM authority"
        ).fetchone()
        if row is None:
            raise self._trouble("it holds no authority")
        trust_domain, serial, certificate, private_key = row
        return StoredAuthority(
            trust_domain=trust_domain,
            serial=serial,
            roots=(StoredRoot(certificate=certificate),),
            private_key=private_key,
        )

    def _trouble(self, what: str) -> StorageError:
        return StorageError(
            f"the certificate authority in {self._path} cannot be used: {what}. "
            "Make room and set its permissions right, restore the file from a backup, or move it away to start a new "
            "trust domain, which cuts off every certificate in use."
        )
