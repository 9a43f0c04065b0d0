"""May this peer talk to that service? The decision behind ``POST /v1/agent/connect/authorize``. Pure."""

from __future__ import annotations

from typing import Protocol

import msgspec

from reference.mesh import spiffe
from reference.mesh.intentions import Intentions, Party


class AuthorizeInputError(ValueError):
    """The question itself is wrong (MP-INT-018); the text is for the caller."""


class DefaultAccess(Protocol):
    """What is needed of access control."""

    @property
    def enabled(self) -> bool:
        """Whether it is switched on."""

    @property
    def allows_by_default(self) -> bool:
        """What its default policy says."""


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """The answer, with the reason that the original gives (MP-INT-020, MP-INT-021)."""

    authorized: bool
    reason: str


def authorize(*, target: str, client_uri: str, intentions: Intentions, access: DefaultAccess) -> Decision:
    """Decide whether the holder of a verified certificate for ``client_uri`` may talk to ``target``.

    One of the intentions decides, and the default policy of access control where none concerns them.

    The trust domain is not compared: the caller has verified the certificate against the roots of this mesh,
    which sign for one trust domain only (MP-INT-022). Raises :class:`AuthorizeInputError`.
    """
    if not target:
        raise AuthorizeInputError("Target service must be specified")
    try:
        identity = spiffe.parse(client_uri)
    except spiffe.SpiffeError as error:
        raise AuthorizeInputError("ClientCertURI not a valid Connect identifier") from error
    if not isinstance(identity, spiffe.ServiceId):
        raise AuthorizeInputError("ClientCertURI not a valid Service identifier")
    source = Party(identity.service, identity.namespace)
    decisive = intentions.deciding(source=source, destination=Party(target))
    if decisive is not None:
        return Decision(authorized=decisive.allows, reason=f"Matched intention: {decisive}")
    if not access.enabled:
        return Decision(authorized=True, reason="ACLs disabled, access is allowed by default")
    return Decision(authorized=access.allows_by_default, reason="Default behavior configured by ACLs")
