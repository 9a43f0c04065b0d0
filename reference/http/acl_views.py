"""Tokens and policies as the API shows them, with the original's field names, order and empty values."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from msgspec import UNSET, UnsetType

from reference.access.model import Policy, Token
from reference.access.register import AccessRegister
from reference.agent.records import Record


class LinkView(Record, kw_only=True):
    id: str
    name: str


class TokenView(Record, kw_only=True):
    accessor_id: str
    secret_id: str
    description: str
    policies: Sequence[LinkView] | None
    rules: str | UnsetType = UNSET
    local: bool
    create_time: datetime
    hash: bytes
    create_index: int
    modify_index: int


class BootstrapView(TokenView, kw_only=True):
    id: str


class TokenStub(Record, kw_only=True):
    """A token in a list: without its secret."""

    accessor_id: str
    description: str
    policies: Sequence[LinkView] | None
    local: bool
    create_time: datetime
    hash: bytes
    create_index: int
    modify_index: int
    legacy: bool | UnsetType = UNSET


class PolicyView(Record, kw_only=True):
    id: str
    name: str
    description: str
    rules: str
    datacenters: Sequence[str] | UnsetType = UNSET
    hash: bytes
    create_index: int
    modify_index: int


class PolicyStub(Record, kw_only=True):
    """A policy in a list: without its rules."""

    id: str
    name: str
    description: str
    datacenters: Sequence[str] | None
    hash: bytes
    create_index: int
    modify_index: int


def _links(token: Token, register: AccessRegister) -> list[LinkView] | None:
    known = [register.policies[policy_id] for policy_id in token.policies if policy_id in register.policies]
    return [LinkView(id=policy.id, name=policy.name) for policy in known] if token.policies else None


def token_view(token: Token, register: AccessRegister, *, secret: str) -> TokenView:
    """A token, with what is shown for its secret."""
    return TokenView(
        accessor_id=token.accessor,
        secret_id=secret,
        description=token.description,
        policies=_links(token, register),
        rules=token.rules or UNSET,
        local=token.local,
        create_time=token.created_at,
        hash=token.hash,
        create_index=token.created,
        modify_index=token.modified,
    )


def token_stub(token: Token, register: AccessRegister) -> TokenStub:
    """A token as lists show it."""
    return TokenStub(
        accessor_id=token.accessor,
        description=token.description,
        policies=_links(token, register),
        local=token.local,
        create_time=token.created_at,
        hash=token.hash,
        create_index=token.created,
        modify_index=token.modified,
        legacy=bool(token.rules) or UNSET,
    )


def policy_view(policy: Policy) -> PolicyView:
    """A policy."""
    return PolicyView(
        id=policy.id,
        name=policy.name,
        description=policy.description,
        rules=policy.rules,
        datacenters=policy.datacenters or UNSET,
        hash=policy.hash,
        create_index=policy.created,
        modify_index=policy.modified,
    )


def policy_stub(policy: Policy) -> PolicyStub:
    """A policy as lists show it."""
    return PolicyStub(
        id=policy.id,
        name=policy.name,
        description=policy.description,
        datacenters=policy.datacenters or None,
        hash=policy.hash,
        create_index=policy.created,
        modify_index=policy.modified,
    )
