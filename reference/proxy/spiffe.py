"""SPIFFE identities of services: ``spiffe://<trust domain>/ns/<ns>/dc/<dc>/svc/<service>``. Pure (MP-CA-003)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any
from urllib.parse import quote, unquote


class IdentityError(ValueError):
    """A certificate or URI that names no service of this mesh; the message says what it has instead."""


@dataclass(frozen=True, kw_only=True)
class ServiceId:
    """Who a service is. Two identities that differ in case only are the same service, as in the catalog."""

    trust_domain: str
    datacenter: str
    service: str
    namespace: str = "default"

    def __str__(self) -> str:
        return (
            f"spiffe://{self.trust_domain}/ns/{quote(self.namespace, safe='')}"
            f"/dc/{quote(self.datacenter, safe='')}/svc/{quote(self.service, safe='')}"
        )

    def matches(self, other: ServiceId) -> bool:
        """Whether both name one service of one trust domain."""
        return self._folded == other._folded

    @cached_property
    def _folded(self) -> tuple[str, ...]:
        return tuple(
            part.lower() for part in (self.trust_domain, self.namespace, self.datacenter, self.service)
        )


@lru_cache(maxsize=256)  # the same few peers, again and again
def parse(uri: str) -> ServiceId:
    """Read a service URI; :class:`IdentityError` when it is anything else."""
    head, _, rest = uri.partition("://")
    parts = rest.split("/")
    match parts:
        case [domain, "ns", namespace, "dc", datacenter, "svc", service] if head.lower() == "spiffe":
            named = [unquote(part) for part in (namespace, datacenter, service)]
            if domain and all(named) and not set(uri) & set("?#@ "):
                return ServiceId(
                    trust_domain=domain, namespace=named[0], datacenter=named[1], service=named[2]
                )
    raise IdentityError(f"{uri!r} is not the identity of a service")


def uri_of(certificate: Mapping[str, Any] | None) -> str:
    """The one URI of a peer certificate in the form of :meth:`ssl.SSLSocket.getpeercert`.

    :class:`IdentityError` without a certificate, without a URI, and with more than one: an identity must not be
    a matter of choice (SPIFFE X.509-SVID, section 2).
    """
    if not certificate:
        raise IdentityError("peer sent no certificate")
    uris = [value for kind, value in certificate.get("subjectAltName", ()) if kind == "URI"]
    if len(uris) != 1:
        raise IdentityError(f"peer certificate has {len(uris)} URIs, an identity is exactly one")
    return str(uris[0])


def serial_of(certificate: Mapping[str, Any]) -> str:
    """The serial number as colon-separated lower-case hex, the form that ``authorize`` is asked with."""
    digits = str(certificate.get("serialNumber", "")).lower()
    digits = "0" * (len(digits) % 2) + digits
    return ":".join(digits[i : i + 2] for i in range(0, len(digits), 2))
