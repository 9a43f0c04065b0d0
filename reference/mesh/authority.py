"""The certificate authority of the mesh: one root, one trust domain, leaves for services.

Fields and lifetimes are those of the original's built-in provider (MP-CA-002 to MP-CA-005), except that key ids
are the real ones. It signs nothing but service ids of its own trust domain and datacenter, one per certificate.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from reference.mesh import spiffe
from reference.mesh.storage import AuthorityStorage, StorageError, StoredAuthority

_ROOT_LIFE = timedelta(days=3653)
#: Certificates begin a little in the past, for peers whose clock is behind.
_BACKDATE = timedelta(minutes=1)

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

Clock = Callable[[], datetime]


class SigningRefused(ValueError):
    """The authority does not sign this request; the text says why."""


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


@dataclass(frozen=True, kw_only=True)
class Root:
    """What everybody may know of the root. ``id`` is the SHA-1 fingerprint, both ids are colon-hex."""

    id: str
    name: str
    serial: int
    signing_key_id: str
    external_trust_domain: str
    not_before: datetime
    not_after: datetime
    certificate: str
    index: int


class Authority:
    """Signs with one root; ``root`` is what others verify with."""

    def __init__(
        self, stored: StoredAuthority, *, datacenter: str, index: int, clock: Clock = utc_now
    ) -> None:
        self._certificate = x509.load_pem_x509_certificate(stored.certificate.encode())
        self._key = _ec_key(serialization.load_pem_private_key(stored.private_key.encode(), None))
        self._datacenter = datacenter
        self._clock = clock
        self.trust_domain = stored.trust_domain
        self.root = Root(
            id=self._certificate.fingerprint(hashes.SHA1()).hex(":"),  # noqa: S303 (a name, no proof)
            name="Consul CA Root Cert",
            serial=stored.serial,
            signing_key_id=_key_id(self._certificate).hex(":"),
            external_trust_domain=stored.trust_domain.partition(".")[0],
            not_before=self._certificate.not_valid_before_utc,
            not_after=self._certificate.not_valid_after_utc,
            certificate=stored.certificate,
            index=index,
        )

    @classmethod
    def open(
        cls, storage: AuthorityStorage, *, datacenter: str, index: int, clock: Clock = utc_now
    ) -> Authority:
        """The remembered authority, or a new one that is remembered. Raises :class:`StorageError`."""
        stored = storage.load()
        if stored is None:
            stored = _create(serial=1, trust_domain=f"{uuid.uuid4()}.consul", now=clock())
            storage.save(stored)
        try:
            return cls(stored, datacenter=datacenter, index=index, clock=clock)
        except (ValueError, x509.ExtensionNotFound) as error:
            raise StorageError(f"the stored certificate authority is damaged: {error}") from error

    def service_id(self, service: str) -> spiffe.ServiceId:
        """The identity that the service ``service`` has here."""
        return spiffe.ServiceId(trust_domain=self.trust_domain, datacenter=self._datacenter, service=service)

    def sign(self, request: x509.CertificateSigningRequest, *, life: timedelta) -> x509.Certificate:
        """Issue a leaf for the one service id in ``request``. Raises :class:`SigningRefused`."""
        identity = self._identity_in(request)
        begin = max(self._clock().replace(microsecond=0) - _BACKDATE, self.root.not_before)
        return (
            x509.CertificateBuilder()
            .subject_name(_common_name(identity.service))
            .issuer_name(self._certificate.subject)
            .public_key(request.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(min(begin + life, self.root.not_after))
            .add_extension(_uri_san(identity.uri), critical=False)
            .add_extension(_LEAF_USAGE, critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]),
                critical=False,
            )
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(request.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier(_key_id(self._certificate), None, None), critical=False
            )
            .sign(self._key, hashes.SHA256())
        )

    def _identity_in(self, request: x509.CertificateSigningRequest) -> spiffe.ServiceId:
        if not request.is_signature_valid:
            raise SigningRefused("the request is not signed by its own key")
        try:
            names = list(request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
        except x509.ExtensionNotFound:
            names = []
        # More than one name would let a peer be judged by one and act under another.
        if len(names) != 1 or not isinstance(names[0], x509.UniformResourceIdentifier):
            raise SigningRefused(
                f"the request must hold exactly one URI and no other name, it holds {len(names)}"
            )
        try:
            identity = spiffe.parse(names[0].value)
        except spiffe.SpiffeError as error:
            raise SigningRefused(str(error)) from error
        if not isinstance(identity, spiffe.ServiceId) or identity != self.service_id(identity.service):
            raise SigningRefused(f"{names[0].value} is not a service of this trust domain and datacenter")
        return identity


def _create(*, serial: int, trust_domain: str, now: datetime) -> StoredAuthority:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _common_name(f"Consul CA {serial}")
    begin = now.replace(microsecond=0) - _BACKDATE
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
    return StoredAuthority(
        trust_domain=trust_domain,
        serial=serial,
        certificate=certificate.public_bytes(serialization.Encoding.PEM).decode(),
        private_key=private_key_pem(key),
    )


def private_key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    """The key in the form ``EC PRIVATE KEY``, as the original gives it."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    ).decode()


def _ec_key(key: PrivateKeyTypes) -> ec.EllipticCurvePrivateKey:
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("its private key is not an elliptic curve key")
    return key


def _key_id(certificate: x509.Certificate) -> bytes:
    return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest


def _common_name(name: str) -> x509.Name:
    # X.509 ends a common name at 64 characters; the identity is in the URI, which has no such limit.
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])


def _uri_san(uri: str) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)])
