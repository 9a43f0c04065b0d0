"""Who a TLS peer is: authorities that sign SPIFFE leaves, and the honest leaves that an agent signs.

:class:`Authority` is the suite's own: given to an agent it is honest, towards any other it is a rogue.
:func:`agent_identity`, :func:`agent_roots` and :func:`agent_trust_domain` ask the agent under test.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, field

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from conformance.instruments.api import ApiClient

#: What a leaf of the mesh may be used for: its proxy is a server to some and a client to others.
BOTH_PURPOSES = (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH)

_TEST_TRUST_DOMAIN = "11111111-2222-3333-4444-555555555555.consul"


@dataclass(frozen=True, kw_only=True)
class Identity:
    """A certificate (with its chain, PEM) and its private key."""

    cert_pem: str
    key_pem: str = field(repr=False)

    @property
    def certificate(self) -> x509.Certificate:
        """The leaf, parsed."""
        return x509.load_pem_x509_certificate(self.cert_pem.encode())

    @property
    def uris(self) -> tuple[str, ...]:
        """The URI names of the leaf; a SPIFFE leaf has exactly one."""
        return uri_names(self.certificate)


def spiffe_id(trust_domain: str, service: str, datacenter: str = "dc1") -> str:
    """The identity of a service, as the original spells it."""
    return f"spiffe://{trust_domain}/ns/default/dc/{datacenter}/svc/{service}"


class Authority:
    """A certificate authority; ``root_pem`` and ``key_pem`` are what ``connect.ca_config`` takes."""

    def __init__(self, trust_domain: str = _TEST_TRUST_DOMAIN) -> None:
        authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
        self.trust_domain = trust_domain
        self.root_pem = authority.cert_pem.bytes().decode()
        self.key_pem = authority.private_key_pem.bytes().decode()
        self._root = x509.load_pem_x509_certificate(self.root_pem.encode())
        key = serialization.load_pem_private_key(self.key_pem.encode(), password=None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        self._key = key

    def leaf(
        self,
        service: str = "web",
        *,
        uris: Sequence[str] | None = None,
        dns: Sequence[str] = (),
        begins: datetime.timedelta = datetime.timedelta(minutes=-5),
        ends: datetime.timedelta = datetime.timedelta(hours=1),
        purposes: Sequence[x509.ObjectIdentifier] = BOTH_PURPOSES,
    ) -> Identity:
        """Sign a leaf for ``service``, or with exactly these ``uris`` (none: an empty sequence).

        ``begins`` and ``ends`` are relative to now: a negative ``ends`` makes an expired leaf. ``purposes`` are those
        that the leaf may be used for.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        names: list[x509.GeneralName] = [
            x509.UniformResourceIdentifier(uri)
            for uri in ([spiffe_id(self.trust_domain, service)] if uris is None else uris)
        ]
        names += [x509.DNSName(name) for name in dns]
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, service)]))
            .issuer_name(self._root.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + begins)
            .not_valid_after(now + ends)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        return Identity(
            cert_pem=certificate.public_bytes(serialization.Encoding.PEM).decode(),
            key_pem=key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ).decode(),
        )


def agent_identity(api: ApiClient, service: str, *, token: str | None = None) -> Identity:
    """The leaf that the agent signs for ``service``: what an honest peer presents.

    It is not asked for before there is a root: some releases (1.3.1) never answer who comes earlier.
    """
    assert agent_roots(api), "there is no root yet"
    answer = api.get(f"/v1/agent/connect/ca/leaf/{service}", token=token)
    assert answer.status == 200, f"the leaf of {service} was answered {answer.status}: {answer.text[:200]}"
    return Identity(cert_pem=answer.json["CertPEM"], key_pem=answer.json["PrivateKeyPEM"])


def agent_roots(api: ApiClient) -> tuple[str, ...]:
    """The root certificates (PEM) that the agent tells its proxies to trust."""
    answer = api.get("/v1/agent/connect/ca/roots")
    assert answer.status == 200, f"the roots were answered {answer.status}: {answer.text[:200]}"
    return tuple(root["RootCert"] for root in answer.json["Roots"])


def agent_trust_domain(api: ApiClient) -> str:
    """The trust domain of the agent's authority."""
    answer = api.get("/v1/agent/connect/ca/roots")
    assert answer.status == 200, f"the roots were answered {answer.status}: {answer.text[:200]}"
    return str(answer.json["TrustDomain"])


def uri_names(certificate: x509.Certificate) -> tuple[str, ...]:
    """The URI names of a certificate, in order; a SPIFFE leaf has exactly one."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(names.get_values_for_type(x509.UniformResourceIdentifier))
