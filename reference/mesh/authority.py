"""The certificate authority of the mesh: one trust domain, its roots, leaves for services.

One root signs. When it is replaced (:meth:`Authority.configure`) the old one stays among the roots until no leaf of
it can be in use, and signs the new one, so that leaves of the new root are believed by those who only know the
old one (MP-CA-007, MP-CA-011). The authority signs nothing but service ids of its own trust domain and datacenter,
one per certificate.
"""

from __future__ import annotations

import logging
import uuid
from datetime import datetime, timedelta

import msgspec
from cryptography import x509
from msgspec.structs import replace

from reference.catalog.documents import StorageError
from reference.catalog.index import IndexClock
from reference.mesh import certificates, spiffe
from reference.mesh.authority_config import (
    DEFAULT,
    HIDDEN,
    AuthorityConfig,
    ConfigurationRefused,
    parse,
)
from reference.mesh.certificates import Issuer
from reference.mesh.clock import Clock, utc_now
from reference.mesh.storage import AuthorityStorage, StoredAuthority, StoredRoot

_log = logging.getLogger("connect")

#: A cross-signed certificate lives as long as the root that signed it is listed, and a week at least.
_SHORTEST_CROSS_LIFE = timedelta(days=7)


class SigningRefused(ValueError):
    """The authority does not sign this request; the text says why."""


class Root(msgspec.Struct, frozen=True, kw_only=True):
    """What everybody may know of a root. ``id`` is the SHA-1 fingerprint, both ids are colon-hex."""

    id: str
    name: str
    serial: int
    signing_key_id: str
    external_trust_domain: str
    not_before: datetime
    not_after: datetime
    certificate: str
    intermediates: tuple[str, ...]
    active: bool
    created: int
    modified: int


class Authority:
    """Signs with the active root; ``roots`` is what others verify with.

    ``index`` is that of the last change of the roots, ``config_created`` and ``config_modified`` those of the
    configuration.
    """

    def __init__(
        self,
        stored: StoredAuthority,
        storage: AuthorityStorage,
        *,
        datacenter: str,
        index: IndexClock,
        clock: Clock = utc_now,
    ) -> None:
        """Raises :class:`ValueError` for what is no authority."""
        self._storage = storage
        self._datacenter = datacenter
        self._index = index
        self._clock = clock
        self.config_created = self.config_modified = index.advance()
        self._roots: tuple[Root, ...] = ()
        self._stored = replace(stored, roots=())
        self._adopt(stored)

    @classmethod
    def open(
        cls,
        storage: AuthorityStorage,
        *,
        datacenter: str,
        index: IndexClock,
        wanted: AuthorityConfig = DEFAULT,
        clock: Clock = utc_now,
    ) -> Authority:
        """The remembered authority, or a new one that is remembered.

        ``wanted`` is what the configuration files say. It makes a new authority; a remembered one has its own
        configuration and takes ``wanted`` only when the files have changed since. Raises :class:`StorageError`, and
        :class:`ConfigurationRefused` for a key or root that cannot be used.
        """
        stored = storage.load()
        if stored is None:
            stored = _create(wanted, now=clock())
            storage.save(stored)
        try:
            authority = cls(stored, storage, datacenter=datacenter, index=index, clock=clock)
        except ValueError as error:
            raise StorageError(f"the stored certificate authority is damaged: {error}") from error
        if stored.told != wanted.digest:
            authority.configure(wanted, told=wanted.digest)
        return authority

    @property
    def roots(self) -> tuple[Root, ...]:
        """The roots that peers have to know, by id. What nobody can need any more goes first (MP-CA-011)."""
        self._prune()
        return self._roots

    @property
    def root(self) -> Root:
        """The active one."""
        return next(root for root in self._roots if root.active)

    @property
    def intermediates(self) -> tuple[str, ...]:
        """What goes with each leaf, as PEM: the active root, signed by the one before it, while that is valid."""
        now = self._clock()
        return tuple(
            pem
            for pem in self._stored.active.intermediates
            if now < x509.load_pem_x509_certificate(pem.encode()).not_valid_after_utc
        )

    def service_id(self, service: str) -> spiffe.ServiceId:
        """The identity that the service ``service`` has here."""
        return spiffe.ServiceId(trust_domain=self.trust_domain, datacenter=self._datacenter, service=service)

    def sign(self, request: x509.CertificateSigningRequest) -> x509.Certificate:
        """Issue a leaf for the one service id in ``request``. Raises :class:`SigningRefused`."""
        identity = self._identity_in(request)
        return self._issuer.sign_leaf(request, identity, now=self._clock(), life=self.config.leaf_life)

    def configure(self, wanted: AuthorityConfig, *, told: str | None = None) -> bool:
        """Put another configuration in force, with a new root where its key or certificate is another one.

        Returns whether the root was replaced. Raises :class:`ConfigurationRefused` and :class:`StorageError`, and
        then nothing has changed.
        """
        if wanted.private_key.strip() == HIDDEN:
            wanted = self._with_own_key(wanted)
        told = self._stored.told if told is None else told
        if wanted.options == self.config.options and told == self._stored.told:
            return False
        issuer = self._issuer if wanted.pair == self.config.pair else self._issuer_of(wanted)
        rotated = certificates.fingerprint(issuer.certificate) != self.root.id
        roots = self._rotated(issuer, wanted) if rotated else self._with_leaves_of(wanted.leaf_life)
        changed = replace(
            self._stored,
            serial=self._stored.serial + rotated,
            roots=roots,
            private_key=certificates.key_pem(issuer.key),
            options=wanted.options,
            told=told,
        )
        self._storage.save(changed)
        self.config_modified = self._index.advance()
        self._adopt(changed)
        if rotated:
            _log.info("CA rotated to new root %s", self.root.id)
        else:
            _log.info("CA configuration updated")
        return rotated

    def _with_own_key(self, wanted: AuthorityConfig) -> AuthorityConfig:
        if not self.config.private_key:
            raise ConfigurationRefused(
                "private_key", f'error parsing private key: "{HIDDEN}" stands for none'
            )
        return wanted.with_key(self.config.private_key)

    def _issuer_of(self, wanted: AuthorityConfig) -> Issuer:
        return _issuer(
            wanted, serial=self._stored.serial + 1, trust_domain=self.trust_domain, now=self._clock()
        )

    def _rotated(self, issuer: Issuer, wanted: AuthorityConfig) -> tuple[StoredRoot, ...]:
        """The roots when ``issuer`` is the active one, signed by the one before it."""
        now = self._clock()
        life = max(2 * self._longest_leaf(self._stored.active), 2 * wanted.leaf_life, _SHORTEST_CROSS_LIFE)
        crossed = self._issuer.cross_sign(issuer.certificate, now=now, life=life)
        certificate = certificates.certificate_pem(issuer.certificate)
        # It may be one that was active before.
        again = (self._longest_leaf(root) for root in self._stored.roots if root.certificate == certificate)
        new = StoredRoot(
            certificate=certificate,
            intermediates=(certificates.certificate_pem(crossed),),
            longest_leaf=max((wanted.leaf_life, *again)),
        )
        old = (
            replace(root, rotated_out=root.rotated_out or now, longest_leaf=self._longest_leaf(root))
            for root in self._stored.roots
            if root.certificate != certificate
        )
        return (*old, new)

    def _with_leaves_of(self, life: timedelta) -> tuple[StoredRoot, ...]:
        """The roots when leaves of the active one may have this life, too."""
        return tuple(
            replace(root, longest_leaf=max(life, self._longest_leaf(root)))
            if root.rotated_out is None
            else root
            for root in self._stored.roots
        )

    def _longest_leaf(self, root: StoredRoot) -> timedelta:
        return root.longest_leaf or self.config.leaf_life

    def _prune(self) -> None:
        """Forget roots that were rotated out for twice the life of a leaf: leaves of them have ended."""
        now = self._clock()
        kept = tuple(
            root
            for root in self._stored.roots
            if root.rotated_out is None or now < root.rotated_out + 2 * self._longest_leaf(root)
        )
        if len(kept) == len(self._stored.roots):
            return
        changed = replace(self._stored, roots=kept)
        try:
            self._storage.save(changed)
        except StorageError as error:
            _log.error("old roots stay for now: %s", error)
        else:
            self._adopt(changed)

    def _adopt(self, stored: StoredAuthority) -> None:
        self.trust_domain = stored.trust_domain
        self.config = parse(stored.options)
        self._issuer = Issuer(
            certificate=x509.load_pem_x509_certificate(stored.active.certificate.encode()),
            key=certificates.read_key(stored.private_key),
        )
        if self._issuer.certificate.public_key() != self._issuer.key.public_key():
            raise ValueError("the private key is not that of the active root")
        if _listed(self._stored) != _listed(stored):
            self.index = self._index.advance()
            created = {root.id: root.created for root in self._roots}
            found = (_describe(root, stored.trust_domain, self.index) for root in stored.roots)
            self._roots = tuple(
                replace(root, created=created.get(root.id, self.index))
                for root in sorted(found, key=lambda root: root.id)
            )
        self._stored = stored

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


def _create(wanted: AuthorityConfig, *, now: datetime) -> StoredAuthority:
    trust_domain = f"{uuid.uuid4()}.consul"
    issuer = _issuer(wanted, serial=1, trust_domain=trust_domain, now=now)
    return StoredAuthority(
        trust_domain=trust_domain,
        serial=1,
        roots=(
            StoredRoot(
                certificate=certificates.certificate_pem(issuer.certificate), longest_leaf=wanted.leaf_life
            ),
        ),
        private_key=certificates.key_pem(issuer.key),
        options=wanted.options,
        told=wanted.digest,
    )


def _issuer(wanted: AuthorityConfig, *, serial: int, trust_domain: str, now: datetime) -> Issuer:
    given = wanted.issuer(now=now)
    if isinstance(given, Issuer):
        return given
    return certificates.new_root(
        given or certificates.new_key(), serial=serial, trust_domain=trust_domain, now=now
    )


def _listed(stored: StoredAuthority) -> list[tuple[str, tuple[str, ...], bool]]:
    """What readers of the roots can tell apart."""
    return [(root.certificate, root.intermediates, root.rotated_out is None) for root in stored.roots]


def _describe(stored: StoredRoot, trust_domain: str, index: int) -> Root:
    certificate = x509.load_pem_x509_certificate(stored.certificate.encode())
    return Root(
        id=certificates.fingerprint(certificate),
        name="Consul CA Root Cert",
        # The field has 64 bits, a certificate of the user's may have more.
        serial=certificate.serial_number & 0xFFFF_FFFF_FFFF_FFFF,
        signing_key_id=certificates.key_id(certificate).hex(":"),
        external_trust_domain=trust_domain.partition(".")[0],
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        certificate=stored.certificate,
        intermediates=stored.intermediates,
        active=stored.rotated_out is None,
        created=index,
        modified=index,
    )
