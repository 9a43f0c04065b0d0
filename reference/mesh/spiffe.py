"""SPIFFE ids of the mesh: who a certificate speaks for, as text and as a value. Pure.

Two forms exist (MP-CA-002, MP-CA-003, MP-CA-005)::

    spiffe://<trust domain>                                        a certificate authority
    spiffe://<trust domain>/ns/default/dc/<datacenter>/svc/<name>  a service
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote, urlsplit

import msgspec

_SERVICE_PATH = re.compile(r"/ns/([^/]+)/dc/([^/]+)/svc/([^/]+)")


class SpiffeError(ValueError):
    """The text is not a SPIFFE id of this mesh."""


class SigningId(msgspec.Struct, frozen=True, kw_only=True):
    """The identity of an authority."""

    trust_domain: str

    @property
    def uri(self) -> str:
        """The id as it stands in a certificate."""
        return f"spiffe://{self.trust_domain}"


class ServiceId(msgspec.Struct, frozen=True, kw_only=True):
    """The identity of a service; each instance of it has the same."""

    trust_domain: str
    datacenter: str
    service: str
    namespace: str = "default"

    @property
    def uri(self) -> str:
        """The id as it stands in a certificate."""
        namespace, datacenter, service = (
            quote(part, safe="") for part in (self.namespace, self.datacenter, self.service)
        )
        return f"spiffe://{self.trust_domain}/ns/{namespace}/dc/{datacenter}/svc/{service}"


def parse(text: str) -> SigningId | ServiceId:
    """Read a SPIFFE id. Raises :class:`SpiffeError` for anything else."""
    try:
        url = urlsplit(text)
    except ValueError as error:
        raise SpiffeError("SPIFFE ID is not a URI") from error
    if url.scheme != "spiffe":
        raise SpiffeError("SPIFFE ID must have 'spiffe' scheme")
    if url.query or url.fragment or "@" in url.netloc:
        raise SpiffeError("SPIFFE ID is not in the expected format")
    if match := _SERVICE_PATH.fullmatch(url.path):
        namespace, datacenter, service = (unquote(part) for part in match.groups())
        return ServiceId(trust_domain=url.netloc, namespace=namespace, datacenter=datacenter, service=service)
    if url.path == "" and url.netloc.find(".") > 0:
        return SigningId(trust_domain=url.netloc)
    raise SpiffeError("SPIFFE ID is not in the expected format")
