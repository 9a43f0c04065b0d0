"""Tokens and policies are stored before they count, and what was refused or could not be stored changes nothing."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from reference.access import legacy
from reference.access.authorizer import Level, Resource
from reference.access.control import Enforced
from reference.access.model import ANONYMOUS_ID, GLOBAL_MANAGEMENT_ID
from reference.access.register import (
    AccessError,
    AccessRegister,
    Forbidden,
    PolicyDraft,
    PolicyLink,
    TokenDraft,
)
from reference.catalog.documents import Change, Documents, MemoryDocuments, SqliteDocuments, StorageError
from reference.catalog.index import IndexClock
from reference.catalog.watch import Watch
from reference.config.model import AgentTokens

WRITER = PolicyDraft(name="writer", rules='service "web" { policy = "write" }')


class FullDisk(MemoryDocuments):
    """Has room until it is full."""

    full = False

    def write(self, changes: Iterable[Change]) -> None:
        if self.full:
            raise StorageError("no room")
        super().write(changes)


def register(documents: Documents | None = None, *, master: str = "") -> AccessRegister:
    made = AccessRegister(documents or MemoryDocuments(), index=IndexClock(), watch=Watch())
    made.begin(master=master)
    return made


def control(access: AccessRegister, *, default: bool = False, datacenter: str = "dc1") -> Enforced:
    return Enforced(
        access,
        allows_by_default=default,
        node="vm",
        datacenter=datacenter,
        tokens=AgentTokens,
        grant=lambda token: None,
    )


def test_what_was_made_is_there_after_a_start(tmp_path: Path) -> None:
    path = tmp_path / "rules.sqlite3"
    documents = SqliteDocuments(path, holds="the rules")
    first = register(documents, master="master")
    policy = first.create_policy(WRITER)
    token = first.create_token(TokenDraft(policies=(PolicyLink(name="WRITER"),)))
    old = legacy.put(first, legacy.LegacyDraft(id="old", rules='node "" { policy = "read" }'))
    gone = first.create_token(TokenDraft())
    first.delete_token(gone.accessor, asker="master")
    # As after kill -9: nothing is closed.
    reopened = SqliteDocuments(path, holds="the rules")
    second = register(reopened, master="master")
    assert dict(second.policies) == dict(first.policies)
    assert dict(second.tokens) == dict(first.tokens)
    assert second.bearer(token.secret) == token
    assert second.bearer("old") == old
    assert second.bearer(gone.secret) is None
    assert second.reset_index == first.reset_index != 0
    assert control(second).authorizer(token.secret).allows(Resource.SERVICE, "web", Level.WRITE)
    assert path.stat().st_mode & 0o077 == 0
    assert policy.id in token.policies
    for each in (documents, reopened):
        each.close()


def test_a_full_disk_changes_nothing() -> None:
    disk = FullDisk()
    access = register(disk, master="master")
    policy = access.create_policy(WRITER)
    token = access.create_token(TokenDraft(policies=(PolicyLink(id=policy.id),)))
    before = dict(access.tokens), dict(access.policies), access.tokens_index, access.policies_index
    disk.full = True
    attempts = (
        lambda: access.create_token(TokenDraft()),
        lambda: access.update_token(token.accessor, TokenDraft(description="x")),
        lambda: access.delete_token(token.accessor, asker=""),
        lambda: access.create_policy(PolicyDraft(name="other")),
        lambda: access.update_policy(policy.id, PolicyDraft(name="other")),
        lambda: access.delete_policy(policy.id),
        lambda: legacy.put(access, legacy.LegacyDraft(id="old")),
    )
    for attempt in attempts:
        with pytest.raises(StorageError):
            attempt()
    assert (dict(access.tokens), dict(access.policies), access.tokens_index, access.policies_index) == before
    assert control(access).authorizer(token.secret).allows(Resource.SERVICE, "web", Level.WRITE)


def test_bootstrap_is_for_the_first_and_for_who_knows_the_reset_index() -> None:
    access = register()
    assert access.reset_index == 0
    token = access.bootstrap(reset=None)
    assert token.policies == (GLOBAL_MANAGEMENT_ID,)
    with pytest.raises(Forbidden, match=rf"no longer allowed \(reset index: {access.reset_index}\)"):
        access.bootstrap(reset=None)
    with pytest.raises(AccessError, match="Invalid bootstrap reset index"):
        access.bootstrap(reset=1)
    known = access.reset_index
    again = access.bootstrap(reset=known)
    assert again.secret != token.secret
    assert access.reset_index != known, "the index is good for one more token only"


def test_a_configured_master_token_is_the_first() -> None:
    access = register(master="master")
    assert control(access).authorizer("master").allows(Resource.ACL, "", Level.WRITE)
    with pytest.raises(Forbidden):
        access.bootstrap(reset=None)


def test_a_change_counts_at_once() -> None:
    access = register(master="master")
    decides = control(access)
    policy = access.create_policy(WRITER)
    token = access.create_token(TokenDraft(policies=(PolicyLink(id=policy.id),)))

    def writes() -> bool:
        return decides.authorizer(token.secret).allows(Resource.SERVICE, "web", Level.WRITE)

    assert writes()
    access.update_policy(policy.id, PolicyDraft(name="writer", rules='service "web" { policy = "read" }'))
    assert not writes()
    access.update_policy(policy.id, WRITER)
    assert writes()
    access.delete_policy(policy.id)
    assert not writes()


def test_the_anonymous_token_can_be_given_rights() -> None:
    access = register()
    decides = control(access)
    assert not decides.authorizer("").allows(Resource.SERVICE, "web", Level.WRITE)
    policy = access.create_policy(WRITER)
    access.update_token(ANONYMOUS_ID, TokenDraft(policies=(PolicyLink(id=policy.id),)))
    assert decides.authorizer("").allows(Resource.SERVICE, "web", Level.WRITE)


def test_a_policy_of_another_datacenter_does_not_count() -> None:
    access = register()
    policy = access.create_policy(PolicyDraft(name="there", rules=WRITER.rules, datacenters=("dc9",)))
    token = access.create_token(TokenDraft(policies=(PolicyLink(id=policy.id),)))
    for datacenter, counts in (("dc1", False), ("dc9", True)):
        authorizer = control(access, datacenter=datacenter).authorizer(token.secret)
        assert authorizer.allows(Resource.SERVICE, "web", Level.WRITE) is counts


def test_secrets_are_not_shown() -> None:
    access = register(master="very-secret")
    assert "very-secret" not in repr(access.bearer("very-secret"))
    assert "very-secret" not in repr(dict(access.tokens))
