"""Who is asking: the token of a request, and what the token of a managed proxy is about.

A managed proxy is held to its own service even where access control is off: a token that belongs to one proxy does
not fetch the leaf of another service (MP-TOK-004, MP-TOK-005). Tokens of proxies are random, and known to this agent
alone.
"""

from __future__ import annotations

import hmac
import uuid
from collections.abc import Mapping

from reference.secretive import Secretive


class PermissionDenied(Exception):
    """The token does not open this."""

    def __init__(self) -> None:
        super().__init__("Permission denied")


class ProxyGrant(Secretive, frozen=True, kw_only=True):
    """The token of one managed proxy, and whom it speaks for.

    ``service`` is the name of its service, ``proxy`` that of its own record, ``upstreams`` are the names of the
    services and ``queries`` those of the prepared queries that it was told to reach, in lower case;
    ``service_token`` is the token that its service was registered with, or empty.
    """

    UNSHOWN = frozenset({"service_token", "token"})

    token: str
    service: str
    proxy: str
    service_token: str
    upstreams: frozenset[str] = frozenset()
    queries: frozenset[str] = frozenset()


def new_token() -> str:
    """A token for a new proxy: a random UUID (MP-TOK-001)."""
    return str(uuid.uuid4())


def presented(query: Mapping[str, str], headers: Mapping[str, str]) -> str:
    """The token of a request, or the empty string. The carriers in their order are those of MP-TOK-010."""
    if token := query.get("token"):
        return token
    if token := headers.get("x-consul-token"):
        return token
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    return credentials.strip() if scheme.lower() == "bearer" else ""


def same_token(one: str, other: str) -> bool:
    """Whether two tokens are equal; an empty one equals nothing."""
    return bool(one) and hmac.compare_digest(one.encode(), other.encode())
