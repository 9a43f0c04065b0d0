"""The certificate authority: its roots, its leaves and its configuration."""

from __future__ import annotations

import os
import signal
import uuid
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from msgspec import structs
from msgspec.structs import replace

from reference.mesh import authority_config, certificates
from reference.mesh.authority import Authority
from reference.mesh.authority_config import AuthorityConfig
from reference.mesh.certificates import Issuer
from reference.mesh.mesh import Mesh
from reference.mesh.storage import SqliteStorage, StoredRoot
from reference.supervisor import linux
from tests.faulty import fault


@fault(
    "authority/configuration/01",
    "authority/configuration/02",
    "authority/configuration/03",
    "authority/configuration/04",
    "authority/configuration/05",
)
def believes_anything_about_its_authority() -> None:
    """Believes anything that it is told about its authority, makes a new root each time, and tells anybody its key."""
    read_key, issuer_of = certificates.read_key, Authority._issuer_of

    def quoting(pem: str) -> certificates.SigningKey:
        try:
            return read_key(pem)
        except certificates.PrivateKeyError:
            raise certificates.PrivateKeyError(f"error parsing private key {pem!r}") from None

    def any_root(pem: str, key: certificates.SigningKey, *, now: object) -> certificates.Issuer:
        return certificates.Issuer(certificate=x509.load_pem_x509_certificate(pem.encode()), key=key)

    def always_new(authority: Authority, wanted: AuthorityConfig) -> certificates.Issuer:
        issuer_of(authority, wanted)
        return certificates.new_root(
            certificates.new_key(),
            serial=authority._stored.serial + 1,
            trust_domain=authority.trust_domain,
            now=authority._clock(),
        )

    certificates.read_key = quoting
    certificates.read_root = any_root  # type: ignore[assignment]
    authority_config._SHORTEST_LEAF = timedelta(0)
    Authority._issuer_of = always_new  # type: ignore[method-assign]
    AuthorityConfig.pair = property(lambda _: (str(uuid.uuid4()), ""))  # type: ignore[assignment,method-assign]
    AuthorityConfig.shown = property(lambda config: config.options)  # type: ignore[assignment,method-assign]


@fault(
    "authority/lifetime/01",
    "authority/lifetime/02",
    "authority/root/01",
    "authority/root/02",
    "authority/rotation/05",
    "authority/rotation/07",
)
def goes_its_own_way_with_certificates() -> None:
    """Ignores what it is told about lifetimes and roots, and forgets its authority with every start."""
    AuthorityConfig.issuer = lambda config, *, now: None  # type: ignore[method-assign,assignment]
    SqliteStorage.load = lambda storage: None  # type: ignore[method-assign]
    honest = Authority._adopt

    def short_lived(authority: Authority, stored: object) -> None:
        honest(authority, stored)  # type: ignore[arg-type]
        life = timedelta(hours=24)
        authority.config = structs.replace(authority.config, leaf_life=life)

    Authority._adopt = short_lived  # type: ignore[method-assign,assignment]


def _own_proxies() -> list[int]:
    """The proxies that this process has started."""
    return [
        pid
        for pid in map(int, filter(str.isdecimal, os.listdir("/proc")))
        if _parent(pid) == os.getpid() and "CONNECT_PROXY_ID" in (linux.environment(pid) or {})
    ]


def _parent(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None


@fault("authority/rotation/01", "authority/rotation/02", "authority/rotation/03", "authority/rotation/04")
def replaces_its_root_carelessly() -> None:
    """Replaces its root as if nobody used it: the old one is gone, unlinked, and the proxies are restarted."""
    rotated, configure = Authority._rotated, Mesh.configure

    def without_the_old(
        authority: Authority, issuer: Issuer, wanted: AuthorityConfig
    ) -> tuple[StoredRoot, ...]:
        return tuple(
            replace(root, intermediates=())
            for root in rotated(authority, issuer, wanted)
            if root.rotated_out is None
        )

    def and_restart(mesh: Mesh, wanted: AuthorityConfig) -> None:
        configure(mesh, wanted)
        for pid in _own_proxies():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    Authority._rotated = without_the_old  # type: ignore[method-assign]
    Mesh.configure = and_restart  # type: ignore[method-assign]
