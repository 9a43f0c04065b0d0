"""The authority: what its certificates say, and what it does not sign."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from reference.catalog.documents import StorageError
from reference.catalog.index import IndexClock
from reference.mesh.authority import Authority, SigningRefused
from reference.mesh.storage import ForgetfulStorage, SqliteStorage

NOW = datetime(2026, 11, 23, 1, 2, 3, tzinfo=UTC)
HOURS_72 = timedelta(hours=72)


def authority() -> Authority:
    return Authority.open(ForgetfulStorage(), datacenter="dc1", index=IndexClock(start=7), clock=lambda: NOW)


def request(*names: x509.GeneralName) -> x509.CertificateSigningRequest:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())


def uri(text: str) -> x509.UniformResourceIdentifier:
    return x509.UniformResourceIdentifier(text)


def leaf_of(ca: Authority, service: str = "web") -> x509.Certificate:
    return ca.sign(request(uri(ca.service_id(service).uri)))


def test_a_leaf_is_the_originals() -> None:
    """MP-CA-003, MP-CA-004."""
    ca = authority()
    leaf = leaf_of(ca)

    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(names) == [uri(f"spiffe://{ca.trust_domain}/ns/default/dc/dc1/svc/web")]
    assert leaf.subject.rfc4514_string() == "CN=web"
    assert leaf.not_valid_before_utc == NOW - timedelta(minutes=1)
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc == HOURS_72
    assert isinstance(leaf.signature_hash_algorithm, hashes.SHA256)
    purposes = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(purposes) == {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH}
    constraints = leaf.extensions.get_extension_for_oid(ExtensionOID.BASIC_CONSTRAINTS)
    assert constraints.critical
    assert constraints.value == x509.BasicConstraints(ca=False, path_length=None)


def test_a_root_is_the_originals() -> None:
    """MP-CA-005, MP-INT-016."""
    root = authority().root
    certificate = x509.load_pem_x509_certificate(root.certificate.encode())
    assert certificate.subject.rfc4514_string() == f"CN=Consul CA {root.serial}"
    assert certificate.serial_number == root.serial
    assert root.id == certificate.fingerprint(hashes.SHA1()).hex(":")
    assert certificate.not_valid_after_utc.year - NOW.year == 10


def test_a_leaf_never_begins_before_its_root() -> None:
    ca = authority()
    assert leaf_of(ca).not_valid_before_utc >= ca.root.not_before


def test_a_peer_verifies_a_leaf_with_the_root() -> None:
    ca = authority()
    store = verification.Store([x509.load_pem_x509_certificate(ca.root.certificate.encode())])
    verified = verification.PolicyBuilder().store(store).time(NOW).build_client_verifier()
    assert verified.verify(leaf_of(ca), []).subjects == [uri(ca.service_id("web").uri)]


@pytest.mark.skipif(
    shutil.which("openssl") is None, reason="openssl is not installed (Debian's package openssl)"
)
def test_openssl_verifies_a_leaf_with_the_root(tmp_path: Path) -> None:
    ca = authority()
    (tmp_path / "root.pem").write_text(ca.root.certificate)
    (tmp_path / "leaf.pem").write_bytes(leaf_of(ca).public_bytes(Encoding.PEM))
    result = subprocess.run(
        [
            *("openssl", "verify", "-x509_strict", "-attime", str(int(NOW.timestamp()))),
            *("-CAfile", str(tmp_path / "root.pem"), str(tmp_path / "leaf.pem")),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr


def test_requests_that_are_not_signed() -> None:
    """Exactly one URI, of this trust domain, namespace and datacenter, and no other name."""
    ca = authority()
    web, td = uri(ca.service_id("web").uri), ca.trust_domain
    refused = {
        "no name": request(),
        "two": request(web, uri(ca.service_id("admin").uri)),
        "the same twice": request(web, web),
        "a DNS name": request(x509.DNSName("web")),
        "a DNS name beside": request(web, x509.DNSName("web")),
        "another trust domain": request(uri("spiffe://other.consul/ns/default/dc/dc1/svc/web")),
        "another namespace": request(uri(f"spiffe://{td}/ns/other/dc/dc1/svc/web")),
        "another datacenter": request(uri(f"spiffe://{td}/ns/default/dc/dc2/svc/web")),
        "an authority": request(uri(f"spiffe://{td}")),
        "no SPIFFE id": request(uri("https://example.com/")),
    }
    for csr in refused.values():
        with pytest.raises(SigningRefused):
            ca.sign(csr)


def test_a_stored_authority_is_the_same_again(tmp_path: Path) -> None:
    path = tmp_path / "authority.sqlite3"
    first = Authority.open(SqliteStorage(path), datacenter="dc1", index=IndexClock(start=1))
    second = Authority.open(SqliteStorage(path), datacenter="dc1", index=IndexClock(start=2))
    assert (second.trust_domain, second.root.certificate) == (first.trust_domain, first.root.certificate)
    assert {entry.stat().st_mode & 0o777 for entry in tmp_path.iterdir()} == {0o600}


def test_without_storage_each_authority_is_new() -> None:
    """MP-CA-013."""
    assert authority().trust_domain != authority().trust_domain


@pytest.mark.parametrize("damage", ["garbage", "emptied", "newer"])
def test_a_damaged_store_is_refused_and_left_alone(tmp_path: Path, damage: str) -> None:
    """A new trust domain would cut off everybody: better no start than that."""
    path = tmp_path / "authority.sqlite3"
    Authority.open(SqliteStorage(path), datacenter="dc1", index=IndexClock(start=1))
    if damage == "garbage":
        path.write_bytes(b"garbage" * 1000)
        for side_file in tmp_path.glob("*-wal"):
            side_file.unlink()
    else:
        statement = {"emptied": "DELETE FROM authority", "newer": "PRAGMA user_version = 99"}[damage]
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute(statement)
        connection.close()
    before = path.read_bytes()
    with pytest.raises(StorageError, match=r"authority\.sqlite3"):
        Authority.open(SqliteStorage(path), datacenter="dc1", index=IndexClock(start=2))
    assert path.read_bytes() == before
