"""Who is asking: the token of a request, and what the token of a managed proxy opens.

With ACLs off everybody may do everything, except that a managed proxy is held to its own service: a token that
belongs to one proxy does not fetch the leaf of another service (MP-TOK-004, MP-TOK-005). Tokens of proxies are
random, known to this agent alone, and compared in constant time.
"""

from __future__ import annotations

import hmac
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


class PermissionDenied(Exception):
    """The token does not open this."""

    def __init__(self) -> None:
        super().__init__("Permission denied")


@dataclass(frozen=True, kw_only=True)
class ProxyGrant:
    """The token of one managed proxy, and the name of the service that it speaks for."""

    token: str = field(repr=False)
    service: str


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


def check_leaf(token: str, *, service: str, grants: Iterable[ProxyGrant]) -> None:
    """Raise :class:`PermissionDenied` when ``token`` belongs to the proxy of another service."""
    for grant in grants:
        if same_token(token, grant.token):
            if grant.service != service:
                raise PermissionDenied
            return
