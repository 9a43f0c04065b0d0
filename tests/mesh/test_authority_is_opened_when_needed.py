"""An authority is made when somebody first asks for it; what could be wrong with it is told before."""

from __future__ import annotations

from pathlib import Path

import pytest

from reference.catalog.documents import StorageError
from reference.catalog.index import IndexClock
from reference.catalog.watch import Watch
from reference.mesh.authority_config import ConfigurationRefused, parse
from reference.mesh.mesh import Mesh
from reference.mesh.storage import AuthorityStorage, ForgetfulStorage, SqliteStorage, StoredAuthority


def mesh(storage: AuthorityStorage, **options: object) -> Mesh:
    return Mesh(storage, datacenter="dc1", index=IndexClock(), watch=Watch(), wanted=parse(options))


def test_a_new_authority_is_made_and_stored_by_the_first_question(tmp_path: Path) -> None:
    storage = SqliteStorage(tmp_path / "authority.sqlite3")
    first = mesh(storage)
    first.prepare()
    assert first.signed == 0
    assert not storage.exists()
    domain = first.authority.trust_domain
    assert storage.exists()
    again = mesh(storage)
    again.prepare()
    assert again.authority.trust_domain == first.authority.trust_domain == domain


def test_leaves_are_counted_without_an_authority() -> None:
    counted = mesh(ForgetfulStorage())
    assert counted.signed == 0
    counted.leaves.current("web")
    assert counted.signed == 1


def test_a_damaged_authority_is_told_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "authority.sqlite3"
    path.write_bytes(b"this was a database, until the disk broke" * 100)
    with pytest.raises(StorageError, match="cannot be used"):
        mesh(SqliteStorage(path)).prepare()


def test_a_key_that_is_none_is_told_at_the_start() -> None:
    with pytest.raises(ConfigurationRefused, match="error parsing private key"):
        mesh(ForgetfulStorage(), PrivateKey="no key").prepare()


class FullDisk(ForgetfulStorage):
    """Has no room the first time."""

    def __init__(self) -> None:
        self.tried = 0

    def save(self, authority: StoredAuthority) -> None:
        self.tried += 1
        if self.tried == 1:
            raise StorageError("no space left on device")


def test_an_authority_that_could_not_be_stored_is_none() -> None:
    asked = mesh(FullDisk())
    with pytest.raises(StorageError, match="no space"):
        _ = asked.authority
    assert asked.leaves.current("web")[0].service == "web"
