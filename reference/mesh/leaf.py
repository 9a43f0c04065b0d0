"""Leaf certificates, one per service name, made on demand and renewed before they end.

There is no background work: a leaf is renewed when somebody asks for it, or still waits for it, after its renewal
moment, which lies at random between 60 and 90 percent of its life (MP-CA-010). So nobody ever gets an expired
leaf, and leaves that nobody asks for cost nothing and are dropped once they have ended.

When the root was replaced, all leaves are renewed soon: spread over so much time that no more than
``csr_max_per_second`` of them come at once, and half a minute at most (MP-CA-008).
"""

from __future__ import annotations

import random
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from msgspec.structs import replace

from reference.catalog.index import IndexClock
from reference.catalog.watch import Watch
from reference.mesh.authority import Authority
from reference.mesh.certificates import certificate_pem, key_pem, new_key
from reference.mesh.clock import Clock, utc_now
from reference.mesh.mesh import LeafNameError
from reference.secretive import Secretive

#: While somebody waits, the wall clock is looked at this often (s): it may be set, or the machine may have slept.
_LONGEST_SLEEP = 60.0
#: Over how much time renewals after a rotation are spread at most (s).
_LONGEST_SPREAD = 30.0


class Leaf(Secretive, frozen=True, kw_only=True):
    """An issued certificate with its key. ``serial`` is colon-hex, ``index`` grows with each renewal.

    ``certificate`` is the chain that its owner presents: the leaf, then what links it to an older root.
    """

    UNSHOWN = frozenset({"private_key"})

    service: str
    uri: str
    serial: str
    certificate: str
    private_key: str
    valid_after: datetime
    valid_before: datetime
    renew_at: datetime
    created: int
    index: int


class LeafCache:
    """The leaves of this agent. Keys are made here and never leave it but to their owners."""

    def __init__(
        self,
        authority: Authority,
        *,
        index: IndexClock,
        watch: Watch,
        clock: Clock = utc_now,
    ) -> None:
        self._authority = authority
        self._index = index
        self._watch = watch
        self._clock = clock
        self._leaves: dict[str, Leaf] = {}
        #: How many leaves were signed so far.
        self.signed = 0

    @property
    def known(self) -> tuple[Leaf, ...]:
        """All that are there."""
        return tuple(self._leaves.values())

    def current(self, service: str) -> tuple[Leaf, bool]:
        """The leaf of ``service`` and whether it was there already. Raises :class:`LeafNameError`."""
        now = self._clock()
        leaf = self._leaves.get(service)
        if leaf is not None and now < leaf.renew_at:
            return leaf, True
        self._leaves = {name: kept for name, kept in self._leaves.items() if now < kept.valid_before}
        renewed = self._issue(service, created=None if leaf is None else leaf.created)
        self._leaves[service] = renewed
        self._watch.notify(f"leaf/{service}")
        return renewed, False

    def renew_soon(self) -> None:
        """Have every leaf renewed within half a minute: the root is another one."""
        now, rate = self._clock(), self._authority.config.csr_max_per_second
        spread = min(len(self._leaves) / rate, _LONGEST_SPREAD) if rate > 0 else 0.0
        self._leaves = {
            name: replace(
                leaf, renew_at=min(leaf.renew_at, now + timedelta(seconds=random.uniform(0, spread)))
            )
            for name, leaf in self._leaves.items()
        }
        # Who waits has to look again at how long.
        self._watch.notify(*(f"leaf/{name}" for name in self._leaves))

    async def wait_for_newer(self, service: str, *, seconds: float) -> None:
        """Return when the leaf may have changed: it was renewed, has to be, or ``seconds`` passed."""
        leaf, known = self.current(service)
        if not known:
            return  # renewed this moment: whoever waits has seen the old one
        until_renewal = (leaf.renew_at - self._clock()).total_seconds()
        await self._watch.wait(f"leaf/{service}", seconds=min(seconds, until_renewal, _LONGEST_SLEEP))

    def _issue(self, service: str, *, created: int | None) -> Leaf:
        if not service:
            raise LeafNameError("SPIFFE ID is not in the expected format")
        uri = self._authority.service_id(service).uri
        key = new_key()
        request = (
            x509.CertificateSigningRequestBuilder()
            .subject_name(x509.Name([]))
            .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]), critical=False)
            .sign(key, hashes.SHA256())
        )
        certificate = self._authority.sign(request)
        self.signed += 1
        index = self._index.advance()
        begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        serial = certificate.serial_number
        return Leaf(
            service=service,
            uri=uri,
            serial=serial.to_bytes((serial.bit_length() + 7) // 8, "big").hex(":"),
            certificate="".join((certificate_pem(certificate), *self._authority.intermediates)),
            private_key=key_pem(key),
            valid_after=begin,
            valid_before=end,
            renew_at=begin + random.uniform(0.6, 0.9) * (end - begin),
            created=index if created is None else created,
            index=index,
        )
