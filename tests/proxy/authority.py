"""A certificate authority for tests, and rogue identities of every kind."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

HOUR = datetime.timedelta(hours=1)
BOTH = (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH)


class Authority:
    """A self-signed root that signs leaves of one trust domain."""

    def __init__(self, trust_domain: str, *, number: int = 7) -> None:
        self.trust_domain = trust_domain
        self.number = number
        self._serial = number
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(f"Test CA {number}")
        now = datetime.datetime.now(datetime.UTC)
        self._certificate = (
            x509.CertificateBuilder()
            .subject_name(self._name)
            .issuer_name(self._name)
            .public_key(self._key.public_key())
            .serial_number(number)
            .not_valid_before(now - HOUR)
            .not_valid_after(now + 24 * HOUR)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self.certificate = _pem(self._certificate)

    def cross_sign(self, successor: Authority) -> str:
        """The successor's key under our signature: who trusts us will trust what the successor signs."""
        self._serial += 1
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(successor._name)
            .issuer_name(self._name)
            .public_key(successor._key.public_key())
            .serial_number(self._serial)
            .not_valid_before(now - HOUR)
            .not_valid_after(now + 24 * HOUR)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(successor._key.public_key()), critical=False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
        )
        return _pem(builder.sign(self._key, hashes.SHA256()))

    def leaf(
        self,
        service: str,
        *,
        uris: list[str] | None = None,
        starts: float = -1,
        ends: float = 24,
        usages: Sequence[x509.ObjectIdentifier] = BOTH,
    ) -> tuple[str, str, str]:
        """Certificate, key (both PEM) and serial number; ``starts`` and ``ends`` are hours from now."""
        self._serial += 1
        key = ec.generate_private_key(ec.SECP256R1())
        if uris is None:
            uris = [f"spiffe://{self.trust_domain}/ns/default/dc/dc1/svc/{service}"]
        now = datetime.datetime.now(datetime.UTC)
        usage = x509.ExtendedKeyUsage(usages)
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(service))
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(self._serial)
            .not_valid_before(now + starts * HOUR)
            .not_valid_after(now + ends * HOUR)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(usage, critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
        )
        if uris:
            names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri) for uri in uris])
            builder = builder.add_extension(names, critical=False)
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
        return _pem(builder.sign(self._key, hashes.SHA256())), private.decode(), f"{self._serial:02x}"


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
