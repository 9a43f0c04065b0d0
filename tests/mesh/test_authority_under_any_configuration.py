"""Whatever an authority is told, in any order, over restarts and years: what it signs is believed, old or new."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509 import verification
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from reference.catalog.index import IndexClock
from reference.mesh.authority import Authority
from reference.mesh.authority_config import parse
from reference.mesh.certificates import key_pem, new_key
from reference.mesh.storage import StoredAuthority

_CAS = [trustme.CA() for _ in range(2)]
#: The pairs that users give: none, keys alone, and keys with roots of their own.
PAIRS: tuple[dict[str, object], ...] = (
    {},
    *({"PrivateKey": key_pem(new_key())} for _ in range(2)),
    *(
        {"PrivateKey": ca.private_key_pem.bytes().decode(), "RootCert": ca.cert_pem.bytes().decode()}
        for ca in _CAS
    ),
)
_KEY = new_key()


class Memory:
    """Remembers one authority, as a file would."""

    def __init__(self) -> None:
        self.stored: StoredAuthority | None = None

    def load(self) -> StoredAuthority | None:
        return self.stored

    def save(self, authority: StoredAuthority) -> None:
        self.stored = authority


class Authorities(RuleBasedStateMachine):
    """One authority, its leaves that are still valid, and the roots that somebody may still have."""

    def __init__(self) -> None:
        super().__init__()
        self.now = datetime(2026, 11, 23, tzinfo=UTC)
        self.storage = Memory()
        self.index = IndexClock()
        self.authority = self.open()
        self.trust_domain = self.authority.trust_domain
        self.previous: str | None = None
        self.leaves = [self.sign()]

    def open(self) -> Authority:
        return Authority.open(
            self.storage, datacenter="dc1", index=self.index, clock=lambda: self.now, wanted=parse({})
        )

    def sign(self) -> x509.Certificate:
        uri = x509.UniformResourceIdentifier(self.authority.service_id("web").uri)
        request = (
            x509.CertificateSigningRequestBuilder()
            .subject_name(x509.Name([]))
            .add_extension(x509.SubjectAlternativeName([uri]), critical=False)
            .sign(_KEY, hashes.SHA256())
        )
        return self.authority.sign(request)

    @rule(pair=st.sampled_from(PAIRS), hours=st.sampled_from([1, 72, 8760]))
    def configure(self, pair: dict[str, object], hours: int) -> None:
        before, index = self.authority.root, self.authority.index
        rotated = self.authority.configure(parse({**pair, "LeafCertTTL": f"{hours}h"}))
        assert rotated == (self.authority.root.id != before.id)
        assert (self.authority.index > index) == rotated
        if rotated:
            self.previous = before.certificate

    @rule(hours=st.sampled_from([1, 48, 100, 1000]))
    def wait(self, hours: int) -> None:
        self.now += timedelta(hours=hours)

    @rule()
    def issue(self) -> None:
        self.leaves.append(self.sign())

    @rule()
    def restart(self) -> None:
        roots = [(root.id, root.active) for root in self.authority.roots]
        self.authority = self.open()
        assert [(root.id, root.active) for root in self.authority.roots] == roots

    @precondition(lambda self: self.previous is not None)
    @rule()
    def ask_who_knows_the_previous_root_alone(self) -> None:
        if self.authority.intermediates:
            assert self.previous is not None
            self.verify(self.sign(), [self.previous], list(self.authority.intermediates))

    @invariant()
    def one_root_is_active_and_the_trust_domain_is_the_same(self) -> None:
        roots = self.authority.roots
        assert [root.active for root in roots].count(True) == 1
        assert [root.id for root in roots] == sorted({root.id for root in roots})
        assert self.authority.trust_domain == self.trust_domain

    @invariant()
    def every_leaf_that_is_valid_is_believed(self) -> None:
        roots = [root.certificate for root in self.authority.roots]
        self.leaves = [leaf for leaf in self.leaves if self.now < leaf.not_valid_after_utc]
        for leaf in self.leaves:
            self.verify(leaf, roots, [])

    def verify(self, leaf: x509.Certificate, roots: list[str], between: list[str]) -> None:
        store = verification.Store([x509.load_pem_x509_certificate(root.encode()) for root in roots])
        verifier = verification.PolicyBuilder().store(store).time(self.now).build_client_verifier()
        verifier.verify(leaf, [x509.load_pem_x509_certificate(pem.encode()) for pem in between])


Authorities.TestCase.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
TestAuthorities = Authorities.TestCase
