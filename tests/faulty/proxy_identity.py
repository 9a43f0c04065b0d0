"""The built-in proxy: whom it trusts and who may connect."""

from __future__ import annotations

import _ssl
import ctypes
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import reference.proxy.identity as identity
import reference.proxy.inbound as inbound
import reference.proxy.outbound as outbound
import reference.proxy.tls as tls
from reference.proxy.authorize import Authorizer, Intentions
from reference.proxy.spiffe import IdentityError, parse
from reference.proxy.tls import context
from tests.faulty import fault


@fault("intentions/deny/02", "proxy/intention/01", in_proxy=True)
def never_changes_its_mind() -> None:
    """Its proxies ask about a peer once, and believe the answer forever."""

    def deaf(self: Intentions, _answer: Any) -> None:
        self.number = 0

    Intentions._hear = deaf  # type: ignore[method-assign]
    Authorizer._holds = lambda self, known: True  # type: ignore[method-assign]


#: ``X509_V_FLAG_NO_CHECK_TIME`` of OpenSSL.
NO_CHECK_TIME = 0x200000


@fault(
    "proxy/identity/01",
    "proxy/identity/02",
    "proxy/identity/03",
    "proxy/identity/04",
    "proxy/identity/05",
    "proxy/identity/11",
    in_proxy=True,
)
def takes_any_date_and_name() -> None:
    """Its proxies take certificates that have expired, are not valid yet, or name several services."""

    def timeless(**options: Any) -> Any:
        made = context(**options)
        made.verify_flags |= NO_CHECK_TIME
        return made

    def first_uri(certificate: Mapping[str, Any] | None) -> str:
        names = (certificate or {}).get("subjectAltName", ())
        return next(str(value) for kind, value in names if kind == "URI")

    identity.context = timeless
    inbound.uri_of = outbound.uri_of = first_uri


@fault("proxy/identity/11", in_proxy=True)
def resumes_whatever_has_begun() -> None:
    """Its proxies go on with a TLS session of a certificate that has expired since."""
    honest = tls._Certificates.read

    def read(self: Any, peer: Any) -> tuple[Any, float]:
        return honest(self, peer)[0], math.inf

    tls._Certificates.read = read  # type: ignore[method-assign]


@fault("proxy/identity/06", in_proxy=True)
def authorizes_by_name_alone() -> None:
    """Its proxies take a service of another trust domain for the one of that name in their own."""
    honest = inbound.Inbound._authorize

    async def anywhere(self: inbound.Inbound, loop: Any, own: identity.Identity, certificate: Any) -> Any:
        domain = parse(inbound.uri_of(certificate)).trust_domain
        return await honest(self, loop, replace(own, trust_domain=domain), certificate)

    inbound.Inbound._authorize = anywhere  # type: ignore[method-assign]


@fault("authority/rotation/06", in_proxy=True)
def keeps_the_old_leaf() -> None:
    """Its proxies show the first leaf that they are given for as long as they run."""
    honest = identity.IdentityKeeper._take_leaf

    def first(self: identity.IdentityKeeper, answer: Any) -> None:
        if self._leaf is None:
            honest(self, answer)

    identity.IdentityKeeper._take_leaf = first  # type: ignore[method-assign]


@fault("proxy/identity/03", "proxy/identity/06", in_proxy=True)
def takes_strangers_for_web() -> None:
    """Its proxies take whoever has no name in their mesh for its service web."""
    honest, named = inbound.Inbound._authorize, inbound.uri_of

    async def authorize(self: Any, loop: Any, own: Any, certificate: Any) -> Any:
        try:
            known = parse(named(certificate)).trust_domain == own.trust_domain
        except IdentityError:
            known = False
        web = f"spiffe://{own.trust_domain}/ns/default/dc/dc1/svc/web"
        inbound.uri_of = named if known else lambda _: web
        return await honest(self, loop, own, certificate)

    inbound.Inbound._authorize = authorize  # type: ignore[method-assign]


@fault("authority/rotation/07", in_proxy=True)
def believes_the_first_roots() -> None:
    """Its proxies believe the roots that they were told of first, and no others."""
    honest = identity.IdentityKeeper._take_roots

    def first(self: identity.IdentityKeeper, answer: Any) -> None:
        if self._roots is None:
            honest(self, answer)

    identity.IdentityKeeper._take_roots = first  # type: ignore[method-assign]


#: ``X509_PURPOSE_ANY`` of OpenSSL.
ANY_PURPOSE = 7


@fault("proxy/identity/07", "proxy/identity/08", "proxy/listener/09", in_proxy=True)
def is_not_choosy() -> None:
    """Its proxies take certificates for whatever purpose, and every suite that OpenSSL knows."""
    openssl = ctypes.CDLL(_ssl.__file__)
    openssl.SSL_CTX_set_purpose.argtypes = [ctypes.c_void_p, ctypes.c_int]

    def lax(**options: Any) -> Any:
        made = context(**options)
        made.set_ciphers("ALL")
        # The ssl module has no way to say so; its object begins with the usual header and OpenSSL's own context.
        inner = ctypes.c_void_p.from_address(id(made) + object.__basicsize__).value
        assert openssl.SSL_CTX_set_purpose(inner, ANY_PURPOSE) == 1
        return made

    identity.context = lax
