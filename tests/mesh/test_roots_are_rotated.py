"""A new root takes over without a break: who knows only the old one believes its leaves, and nothing is half done."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509 import verification

from reference.catalog.documents import StorageError
from reference.catalog.index import IndexClock
from reference.mesh.authority import Authority, Root
from reference.mesh.authority_config import AuthorityConfig, ConfigurationRefused, parse
from reference.mesh.certificates import key_pem, new_key
from reference.mesh.storage import (
    AuthorityStorage,
    ForgetfulStorage,
    SqliteStorage,
    StoredAuthority,
)


class Time:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 23, 1, 2, 3, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


def opened(
    storage: AuthorityStorage | None = None, *, time: Time | None = None, **options: object
) -> Authority:
    return Authority.open(
        storage or ForgetfulStorage(),
        datacenter="dc1",
        index=IndexClock(),
        wanted=parse(options),
        clock=time or Time(),
    )


def another_key() -> AuthorityConfig:
    return parse({"PrivateKey": key_pem(new_key())})


def given(ca: trustme.CA) -> Mapping[str, object]:
    return {
        "PrivateKey": ca.private_key_pem.bytes().decode(),
        "RootCert": ca.cert_pem.bytes().decode(),
    }


def leaf_of(authority: Authority) -> x509.Certificate:
    uri = x509.UniformResourceIdentifier(authority.service_id("web").uri)
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .add_extension(x509.SubjectAlternativeName([uri]), critical=False)
        .sign(new_key(), hashes.SHA256())
    )
    return authority.sign(request)


def verify(leaf: x509.Certificate, root: str, *between: str, at: datetime) -> None:
    """As a strict peer does that knows one root. Raises :class:`verification.VerificationError`."""
    store = verification.Store([x509.load_pem_x509_certificate(root.encode())])
    verifier = verification.PolicyBuilder().store(store).time(at).build_client_verifier()
    verifier.verify(leaf, [x509.load_pem_x509_certificate(pem.encode()) for pem in between])


def by_id(authority: Authority) -> dict[str, Root]:
    return {root.id: root for root in authority.roots}


def test_both_roots_are_listed_and_the_new_one_is_active() -> None:
    """MP-CA-002, MP-CA-007."""
    authority = opened()
    old, domain, index = authority.root, authority.trust_domain, authority.index
    assert authority.configure(another_key())
    roots = by_id(authority)
    new = authority.root
    assert set(roots) == {old.id, new.id}
    assert [root.active for root in roots.values()].count(True) == 1
    assert not roots[old.id].active
    assert (len(new.intermediates), roots[old.id].intermediates) == (1, ())
    assert authority.trust_domain == domain
    assert authority.index > index
    assert roots[old.id].created == old.created
    assert roots[old.id].modified == new.created == authority.index


def test_old_and_new_leaves_are_believed_by_those_who_know_one_root() -> None:
    time = Time()
    authority = opened(time=time)
    before, old = leaf_of(authority), authority.root.certificate
    authority.configure(another_key())
    after, new = leaf_of(authority), authority.root.certificate
    (crossed,) = authority.intermediates
    verify(before, old, at=time.now)
    verify(after, new, at=time.now)
    verify(after, old, crossed, at=time.now)
    with pytest.raises(verification.VerificationError):
        verify(after, old, at=time.now)


@pytest.mark.parametrize("kind", [trustme.KeyType.ECDSA, trustme.KeyType.RSA])
def test_the_users_own_root_signs(kind: trustme.KeyType) -> None:
    """MP-CA-007; the original takes no RSA key."""
    time = Time()
    ca = trustme.CA(key_type=kind)
    authority = opened(time=time, **given(ca))
    pem = ca.cert_pem.bytes().decode()
    assert authority.root.certificate == pem
    verify(leaf_of(authority), pem, at=time.now)
    authority.configure(parse({}))
    (crossed,) = authority.intermediates
    verify(leaf_of(authority), pem, crossed, at=time.now)


def test_a_configuration_with_the_same_key_keeps_the_root() -> None:
    wanted = another_key()
    authority = opened()
    authority.configure(wanted)
    root, index, modified = authority.root, authority.index, authority.config_modified
    assert not authority.configure(wanted)
    assert authority.config_modified == modified
    assert not authority.configure(parse({"PrivateKey": wanted.private_key, "LeafCertTTL": "5h"}))
    assert authority.config_modified > modified
    assert (authority.root, authority.index) == (root, index)
    leaf = leaf_of(authority)
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc == timedelta(hours=5)


def test_what_was_read_can_be_written_back() -> None:
    """Readers see ``hidden`` in place of the key; that means the one that is there."""
    authority = opened()
    authority.configure(another_key())
    root = authority.root
    shown = authority.config.shown
    assert shown is not None
    assert shown["PrivateKey"] == "hidden"
    assert not authority.configure(parse({**shown, "LeafCertTTL": "2h"}))
    assert authority.root == root
    with pytest.raises(ConfigurationRefused, match="private key"):
        opened().configure(parse({"PrivateKey": "hidden"}))


def test_a_root_may_come_back() -> None:
    ca = trustme.CA()
    authority = opened(**given(ca))
    first = authority.root
    authority.configure(another_key())
    assert authority.configure(parse(given(ca)))
    assert authority.root.certificate == first.certificate
    assert len(authority.roots) == 2


def test_old_roots_go_when_no_leaf_of_them_can_be_left() -> None:
    """MP-CA-011."""
    time = Time()
    authority = opened(time=time)
    authority.configure(another_key())
    index = authority.index
    time.now += timedelta(hours=144) - timedelta(seconds=1)
    assert len(authority.roots) == 2
    assert authority.intermediates
    time.now += timedelta(seconds=2)
    assert authority.roots == (authority.root,)
    assert authority.index > index


def test_links_to_an_old_root_are_left_out_when_they_have_expired() -> None:
    time = Time()
    authority = opened(time=time)
    authority.configure(another_key())
    time.now += timedelta(days=8)
    assert authority.intermediates == ()


def test_everything_is_there_again(tmp_path: Path) -> None:
    storage = SqliteStorage(tmp_path / "authority.sqlite3")
    first = opened(storage)
    first.configure(parse({"PrivateKey": key_pem(new_key()), "LeafCertTTL": "5h"}))
    second = opened(storage)
    assert second.trust_domain == first.trust_domain
    assert second.config == first.config
    assert [(root.id, root.active, root.intermediates) for root in second.roots] == [
        (root.id, root.active, root.intermediates) for root in first.roots
    ]
    verify(leaf_of(second), first.root.certificate, at=Time().now)


def test_files_count_when_they_have_changed_and_the_api_as_long_as_they_have_not(tmp_path: Path) -> None:
    storage = SqliteStorage(tmp_path / "authority.sqlite3")
    opened(storage, LeafCertTTL="5h").configure(parse({"LeafCertTTL": "6h"}))
    assert opened(storage, LeafCertTTL="5h").config.leaf_life == timedelta(hours=6)
    key = key_pem(new_key())
    changed = opened(storage, LeafCertTTL="7h", PrivateKey=key)
    assert changed.config.leaf_life == timedelta(hours=7)
    assert len(changed.roots) == 2
    assert len(opened(storage, LeafCertTTL="7h", PrivateKey=key).roots) == 2


def test_an_authority_of_the_first_format_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "authority.sqlite3"
    modern = opened(SqliteStorage(path))
    stored = SqliteStorage(path).load()
    assert stored is not None
    path.unlink()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(
        "CREATE TABLE authority (trust_domain TEXT, serial INTEGER, certificate TEXT, private_key TEXT)"
    )
    connection.execute(
        "INSERT INTO authority VALUES (?, 1, ?, ?)",
        (stored.trust_domain, stored.active.certificate, stored.private_key),
    )
    connection.execute("PRAGMA user_version = 1")
    connection.close()
    again = opened(SqliteStorage(path), LeafCertTTL="5h")
    assert (again.trust_domain, again.root.certificate) == (modern.trust_domain, modern.root.certificate)
    assert again.config.leaf_life == timedelta(hours=5)
    assert opened(SqliteStorage(path), LeafCertTTL="5h").root.certificate == modern.root.certificate


class FullDisk(ForgetfulStorage):
    """Takes the first write, and none after it."""

    def __init__(self) -> None:
        self._room = 1

    def save(self, authority: StoredAuthority) -> None:
        if not self._room:
            raise StorageError("no space left")
        self._room -= 1


def test_a_rotation_that_cannot_be_stored_has_not_happened() -> None:
    authority = opened(FullDisk())
    before = (authority.roots, authority.config, authority.index)
    with pytest.raises(StorageError):
        authority.configure(another_key())
    assert (authority.roots, authority.config, authority.index) == before
    verify(leaf_of(authority), authority.root.certificate, at=Time().now)


def test_a_full_disk_does_not_hide_the_roots(caplog: pytest.LogCaptureFixture) -> None:
    time = Time()
    storage = FullDisk()
    storage._room = 2
    authority = opened(storage, time=time)
    authority.configure(another_key())
    time.now += timedelta(days=30)
    assert len(authority.roots) == 2
    assert "no space left" in caplog.text


def _rotate_for_ever(path: str, done: Connection) -> None:
    authority = opened(SqliteStorage(Path(path)))
    while True:
        authority.configure(another_key())
        done.send(authority.root.id)


def test_a_kill_in_the_middle_of_rotations_loses_none_that_was_acknowledged(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    path = tmp_path / "authority.sqlite3"
    for number in range(12):
        receive, send = context.Pipe(duplex=False)
        worker = context.Process(target=_rotate_for_ever, args=(str(path), send))
        worker.start()
        send.close()
        acknowledged = [receive.recv() for _ in range(1 + number % 4)]
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGKILL)
        worker.join()
        try:
            while True:
                acknowledged.append(receive.recv())
        except EOFError:
            receive.close()
        authority = opened(SqliteStorage(path))
        assert set(acknowledged) <= set(by_id(authority))
        # One more may have been stored than was told of.
        assert authority.root.id == acknowledged[-1] or not by_id(authority)[acknowledged[-1]].active
        verify(leaf_of(authority), authority.root.certificate, at=Time().now)


def _unusable() -> dict[str, tuple[dict[str, object], str, str]]:
    ca, other = trustme.CA(), trustme.CA()
    pair = dict(given(ca))
    small = rsa.generate_private_key(65537, 1024)
    edwards = ed25519.Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    below = ca.create_child_ca()
    leaf = ca.issue_cert("web.example.org")
    expired = _self_signed(datetime(2001, 1, 1, tzinfo=UTC), ca=True)
    return {
        "no PEM": ({"PrivateKey": "secret words"}, "private_key", "not the PEM text"),
        "a path": ({"PrivateKey": "/etc/key.pem"}, "private_key", "not the PEM text"),
        "a short RSA key": ({"PrivateKey": key_pem(small)}, "private_key", "2048 bits"),
        "another kind of key": ({"PrivateKey": edwards.decode()}, "private_key", "neither"),
        "a root without a key": ({"RootCert": pair["RootCert"]}, "root_cert", "must provide a private key"),
        "a root of somebody else": (
            {**pair, "RootCert": other.cert_pem.bytes().decode()},
            "root_cert",
            "does not belong",
        ),
        "no certificate": ({**pair, "RootCert": "x"}, "root_cert", "not the PEM text"),
        "an intermediate": (dict(given(below)), "root_cert", "signed by another"),
        "a leaf": (
            {
                "PrivateKey": leaf.private_key_pem.bytes().decode(),
                "RootCert": leaf.cert_chain_pems[0].bytes().decode(),
            },
            "root_cert",
            "may not sign",
        ),
        "an expired root": (expired, "root_cert", "is valid from 2001-01-01"),
        "a short life": ({"LeafCertTTL": "59m"}, "leaf_cert_ttl", "must be greater than 1h"),
        "a long life": ({"LeafCertTTL": "8761h"}, "leaf_cert_ttl", "must be less than 1 year"),
        "no duration": ({"LeafCertTTL": "x"}, "leaf_cert_ttl", "invalid duration"),
        "no number": ({"CSRMaxPerSecond": "x"}, "csr_max_per_second", "cannot parse"),
    }


def _self_signed(begin: datetime, *, ca: bool) -> dict[str, object]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, begin, begin + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return {
        "PrivateKey": key_pem(key),
        "RootCert": certificate.public_bytes(Encoding.PEM).decode(),
    }


@pytest.mark.parametrize(("options", "option", "text"), _unusable().values(), ids=_unusable().keys())
def test_what_cannot_work_is_refused_by_name_and_changes_nothing(
    options: dict[str, object], option: str, text: str
) -> None:
    authority = opened()
    before = authority.roots
    with pytest.raises(ConfigurationRefused, match=text) as caught:
        authority.configure(parse(options))
    assert caught.value.option == option
    assert "PRIVATE" not in str(caught.value)
    assert "secret words" not in str(caught.value)
    assert authority.roots == before
