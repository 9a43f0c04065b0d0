"""Certificates and keys of the mesh: read, made and signed. Pure but for the clock that is handed in, and chance.

A root is an EC or RSA certificate of an authority that signed itself. Extensions and lifetimes are those of the
original's built-in provider (MP-CA-002 to MP-CA-005), except that key ids are the real ones.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from reference.mesh import spiffe
from reference.secretive import Secretive

_ROOT_LIFE = timedelta(days=3653)
#: Certificates begin a little in the past, for peers whose clock is behind.
_BACKDATE = timedelta(minutes=1)
_SMALLEST_RSA = 2048

_ROOT_USAGE = x509.KeyUsage(
    digital_signature=True,
    key_cert_sign=True,
    crl_sign=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    encipher_only=False,
    decipher_only=False,
)
_LEAF_USAGE = x509.KeyUsage(
    digital_signature=True,
    key_encipherment=True,
    data_encipherment=True,
    key_agreement=True,
    content_commitment=False,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)
SigningKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class PrivateKeyError(ValueError):
    """A private key cannot be used; the text says why and never holds any of it."""


class RootError(ValueError):
    """A certificate cannot be the root of a mesh; the text says why."""


class Issuer(Secretive, frozen=True, kw_only=True):
    """A root with its key, which signs."""

    UNSHOWN = frozenset({"key"})

    certificate: x509.Certificate
    key: SigningKey

    def sign_leaf(
        self,
        request: x509.CertificateSigningRequest,
        identity: spiffe.ServiceId,
        *,
        now: datetime,
        life: timedelta,
    ) -> x509.Certificate:
        """A certificate for ``identity`` and the key of ``request``; it ends with the root at the latest."""
        begin = max(_second(now) - _BACKDATE, self.certificate.not_valid_before_utc)
        return (
            x509.CertificateBuilder()
            .subject_name(common_name(identity.service))
            .issuer_name(self.certificate.subject)
            .public_key(request.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(min(begin + life, self.certificate.not_valid_after_utc))
            .add_extension(_uri_san(identity.uri), critical=False)
            .add_extension(_LEAF_USAGE, critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]),
                critical=False,
            )
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(request.public_key()), critical=False)
            .add_extension(self._key_identifier(), critical=False)
            .sign(self.key, hashes.SHA256())
        )

    def cross_sign(self, root: x509.Certificate, *, now: datetime, life: timedelta) -> x509.Certificate:
        """``root`` once more, signed by this one: who only knows this one verifies what ``root`` signs (MP-CA-007)."""
        begin = max(_second(now) - _BACKDATE, self.certificate.not_valid_before_utc)
        builder = (
            x509.CertificateBuilder()
            .subject_name(root.subject)
            .issuer_name(self.certificate.subject)
            .public_key(root.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(
                min(begin + life, self.certificate.not_valid_after_utc, root.not_valid_after_utc)
            )
            .add_extension(self._key_identifier(), critical=False)
        )
        for extension in root.extensions:
            if not isinstance(extension.value, x509.AuthorityKeyIdentifier):
                builder = builder.add_extension(extension.value, critical=extension.critical)
        return builder.sign(self.key, hashes.SHA256())

    def _key_identifier(self) -> x509.AuthorityKeyIdentifier:
        return x509.AuthorityKeyIdentifier(key_id(self.certificate), None, None)


def new_key() -> ec.EllipticCurvePrivateKey:
    """A key as the mesh makes them: P-256."""
    return ec.generate_private_key(ec.SECP256R1())


def new_root(key: SigningKey, *, serial: int, trust_domain: str, now: datetime) -> Issuer:
    """A root for ``key`` that signs itself."""
    name = common_name(f"Consul CA {serial}")
    begin = _second(now) - _BACKDATE
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(begin)
        .not_valid_after(begin + _ROOT_LIFE)
        .add_extension(_uri_san(spiffe.SigningId(trust_domain=trust_domain).uri), critical=False)
        .add_extension(_ROOT_USAGE, critical=True)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Issuer(certificate=certificate, key=key)


def read_key(pem: str) -> SigningKey:
    """A private key from its PEM text. Raises :class:`PrivateKeyError`."""
    try:
        key = serialization.load_pem_private_key(pem.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # The library's words may quote what it could not read.
        raise PrivateKeyError("it is not the PEM text of an unencrypted private key") from None
    if isinstance(key, rsa.RSAPrivateKey):
        if key.key_size < _SMALLEST_RSA:
            raise PrivateKeyError(f"an RSA key needs {_SMALLEST_RSA} bits, it has {key.key_size}")
        return key
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key
    raise PrivateKeyError("it is neither an elliptic curve key nor an RSA key")


def read_root(pem: str, key: SigningKey, *, now: datetime) -> Issuer:
    """The root that a user gives with its key. Raises :class:`RootError` for what could not work as one."""
    try:
        certificate = x509.load_pem_x509_certificate(pem.encode())
        public_key = certificate.public_key()
        constraints = _extension(certificate, x509.BasicConstraints)
        usage = _extension(certificate, x509.KeyUsage)
    except (ValueError, UnsupportedAlgorithm):
        raise RootError("it is not the PEM text of a certificate that can be read") from None
    if public_key != key.public_key():
        raise RootError("it does not belong to the private key")
    if constraints is None or not constraints.ca or (usage is not None and not usage.key_cert_sign):
        raise RootError("it may not sign certificates, it is not that of an authority")
    try:
        certificate.verify_directly_issued_by(certificate)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        raise RootError("it is signed by another authority; the root of a mesh signs itself") from None
    if not certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc:
        raise RootError(
            f"it is valid from {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} "
            f"to {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC only"
        )
    return Issuer(certificate=certificate, key=key)


def certificate_pem(certificate: x509.Certificate) -> str:
    """The text of a certificate."""
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def key_pem(key: SigningKey) -> str:
    """The key in the form ``EC PRIVATE KEY`` or ``RSA PRIVATE KEY``, as the original gives it."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    ).decode()


def fingerprint(certificate: x509.Certificate) -> str:
    """The name of a certificate: its SHA-1 digest in colon-hex (MP-CA-005)."""
    return certificate.fingerprint(hashes.SHA1()).hex(":")  # noqa: S303 (a name, no proof)


def key_id(certificate: x509.Certificate) -> bytes:
    """The id of a certificate's key: the one that it names, else the usual one."""
    named = _extension(certificate, x509.SubjectKeyIdentifier)
    return (named or x509.SubjectKeyIdentifier.from_public_key(certificate.public_key())).digest


def common_name(name: str) -> x509.Name:
    """A subject. X.509 ends a common name at 64 characters; the identity is in the URI, which has no such limit."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])


def _extension(certificate: x509.Certificate, kind: type[_Extension]) -> _Extension | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _uri_san(uri: str) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)])


def _second(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)
