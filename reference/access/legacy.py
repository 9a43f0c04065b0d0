"""Tokens as they were before version 1.4: a secret with rules of its own, or one that may do everything.

They are tokens like others, with a type; these operations make, change and show those that have one.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from reference.access import rules
from reference.access.model import ANONYMOUS_SECRET, CLIENT, GLOBAL_MANAGEMENT_ID, MANAGEMENT, Token
from reference.access.register import ROOTS, AccessError, AccessRegister, Forbidden


class LegacyDraft(msgspec.Struct, frozen=True, kw_only=True):
    """What a user says about a legacy token; ``id`` is its secret, empty for one that is to be made up."""

    id: str = ""
    name: str = ""
    type: str = CLIENT
    rules: str = ""


def put(
    register: AccessRegister, draft: LegacyDraft, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> Token:
    """Make a legacy token, or change the one with this secret.

    Raises :class:`AccessError`, :class:`Forbidden` and :class:`~reference.catalog.documents.StorageError`.
    """
    if draft.type not in (CLIENT, MANAGEMENT):
        raise AccessError("Invalid ACL Type")
    if draft.id in ROOTS:
        raise Forbidden("Cannot modify root ACL")
    old = register.bearer(draft.id) if draft.id else None
    if old is not None and (old.policies or not is_legacy(old)):
        raise AccessError(
            "failed inserting acl token: cannot use legacy endpoint to modify a non-legacy token"
        )
    try:
        rules.parse(draft.rules, rules.Syntax.LEGACY)
    except rules.RulesError as error:
        raise AccessError(f"ACL rule compilation failed: {error}") from error
    return register.put_token(
        Token(
            accessor=str(uuid.uuid4()) if old is None else old.accessor,
            secret=draft.id or str(uuid.uuid4()),
            description=draft.name,
            policies=(GLOBAL_MANAGEMENT_ID,) if draft.type == MANAGEMENT else (),
            type=draft.type,
            rules=draft.rules,
            created_at=clock() if old is None else old.created_at,
        )
    )


def is_legacy(token: Token) -> bool:
    """Whether the token has its place in the legacy lists."""
    return bool(token.type)


def destroy(register: AccessRegister, secret: str) -> None:
    """Remove the token with this secret; an unknown one is no error."""
    if secret == ANONYMOUS_SECRET:
        raise Forbidden("Cannot delete anonymous token")
    token = register.bearer(secret)
    if token is not None:
        register.remove_token(token)
