"""The tokens and policies of an agent: made, changed and removed one by one, each change stored before it counts.

The texts of the errors are the original's. Everything is kept in memory, too: a decision reads no file.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TypeVar

import msgspec

from reference.access import rules
from reference.access.authorizer import ALLOW_ALL, DENY_ALL, MANAGE_ALL
from reference.access.model import (
    ANONYMOUS_ID,
    ANONYMOUS_SECRET,
    GLOBAL_MANAGEMENT_ID,
    GLOBAL_MANAGEMENT_RULES,
    MANAGEMENT,
    Policy,
    Token,
)
from reference.catalog.documents import Change, Documents, Put, StorageError
from reference.catalog.index import IndexClock
from reference.catalog.watch import Watch

T = TypeVar("T")

#: What readers of tokens and policies wait for.
TOKENS_TOPIC, POLICIES_TOPIC = "acl/tokens", "acl/policies"
#: Words that would be taken for a policy where a secret is meant.
ROOTS: Mapping[str, object] = {"allow": ALLOW_ALL, "deny": DENY_ALL, "manage": MANAGE_ALL}

_TOKEN, _POLICY, _BOOTSTRAP = "acl-token", "acl-policy", "acl-bootstrap"
_POLICY_NAME = re.compile(r"[A-Za-z0-9_-]{1,128}")


class AccessError(ValueError):
    """The change makes no sense; the text is for the user."""


class UnknownToken(Exception):
    """There is no such token, or no such policy."""

    def __init__(self) -> None:
        super().__init__("ACL not found")


class Forbidden(Exception):
    """Nobody may do this, whatever his token; the text is for the user."""

    def __init__(self, cause: str) -> None:
        super().__init__(f"Permission denied: {cause}")


class PolicyDraft(msgspec.Struct, frozen=True, kw_only=True):
    """What a user says about a policy."""

    name: str = ""
    description: str = ""
    rules: str = ""
    datacenters: tuple[str, ...] = ()


class PolicyLink(msgspec.Struct, frozen=True, kw_only=True):
    """How a user names a policy: by id, or else by name."""

    id: str = ""
    name: str = ""


class TokenDraft(msgspec.Struct, frozen=True, kw_only=True):
    """What a user says about a token. ``secret`` can only repeat what it is."""

    secret: str = ""
    description: str = ""
    policies: tuple[PolicyLink, ...] = ()
    local: bool = False


class AccessRegister:
    """All changes go through here.

    They raise :class:`AccessError` when they make no sense, :class:`UnknownToken`, :class:`Forbidden`, and
    :class:`~reference.catalog.documents.StorageError` when they cannot be stored, and then change nothing.
    """

    def __init__(
        self,
        documents: Documents,
        *,
        index: IndexClock,
        watch: Watch,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Read what is stored. Raises :class:`~reference.catalog.documents.StorageError`."""
        self._documents = documents
        self._index = index
        self._watch = watch
        self._clock = clock
        self._listeners: list[Callable[[], None]] = []
        self._policies = {policy.id: policy for policy in _load(documents, _POLICY, Policy)}
        self._tokens = {token.accessor: token for token in _load(documents, _TOKEN, Token)}
        self._by_secret = {token.secret: token for token in self._tokens.values()}
        self._reset_index = next(iter(_load(documents, _BOOTSTRAP, int)), 0)
        #: Of the last change to tokens, and to policies.
        self.tokens_index = self.policies_index = index.advance()

    @property
    def policies(self) -> Mapping[str, Policy]:
        """All policies, by id."""
        return MappingProxyType(self._policies)

    @property
    def tokens(self) -> Mapping[str, Token]:
        """All tokens, by accessor."""
        return MappingProxyType(self._tokens)

    def bearer(self, secret: str) -> Token | None:
        """The token with this secret."""
        return self._by_secret.get(secret)

    def policy_named(self, name: str) -> Policy | None:
        """The policy of this name, regardless of case."""
        wanted = name.lower()
        return next((policy for policy in self._policies.values() if policy.name.lower() == wanted), None)

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` after each change."""
        self._listeners.append(listener)

    def begin(self, *, master: str) -> None:
        """Make what is there from the beginning, and a token with the secret ``master`` unless that is empty."""
        if GLOBAL_MANAGEMENT_ID not in self._policies:
            self._put_policy(
                GLOBAL_MANAGEMENT_ID,
                PolicyDraft(
                    name="global-management",
                    description="Builtin Policy that grants unlimited access",
                    rules=GLOBAL_MANAGEMENT_RULES,
                ),
            )
        if master and self.bearer(master) is None:
            token = self._management(master, description="Master Token")
            put = self.put_token if self._reset_index else self._bootstrap_with
            put(token)
        if ANONYMOUS_ID not in self._tokens:
            self.put_token(
                Token(
                    accessor=ANONYMOUS_ID,
                    secret=ANONYMOUS_SECRET,
                    description="Anonymous Token",
                    created_at=self._clock(),
                )
            )

    @property
    def reset_index(self) -> int:
        """What has to be known to make a first management token once more; 0 as long as there was none."""
        return self._reset_index

    def bootstrap(self, *, reset: int | None) -> Token:
        """Make the first management token; ``reset`` is the index that the administrator has put down."""
        if self._reset_index and not reset:
            raise Forbidden(f"ACL bootstrap no longer allowed (reset index: {self._reset_index})")
        if self._reset_index and reset != self._reset_index:
            raise AccessError(
                f"Invalid bootstrap reset index (specified {reset}, reset index: {self._reset_index})"
            )
        return self._bootstrap_with(
            self._management(str(uuid.uuid4()), description="Bootstrap Token (Global Management)")
        )

    def create_policy(self, draft: PolicyDraft) -> Policy:
        """Make a policy."""
        _check_name(draft)
        if self.policy_named(draft.name) is not None:
            raise AccessError(f'Invalid Policy: A Policy with Name "{draft.name}" already exists')
        return self._put_policy(str(uuid.uuid4()), draft)

    def update_policy(self, policy_id: str, draft: PolicyDraft) -> Policy:
        """Put ``draft`` in the place of what the policy says."""
        _check_name(draft)
        check_uuid(policy_id, "Policy ID invalid UUID")
        old = self._policies.get(policy_id)
        if old is None:
            raise AccessError(f"cannot find policy {policy_id}")
        other = self.policy_named(draft.name)
        if other is not None and other.id != policy_id:
            raise AccessError(f'Invalid Policy: A policy with name "{draft.name}" already exists')
        if policy_id == GLOBAL_MANAGEMENT_ID:
            problem = "Changing the {} of the builtin global-management policy is not permitted"
            if draft.datacenters:
                raise AccessError(problem.format("Datacenters"))
            if draft.rules != old.rules:
                raise AccessError(problem.format("Rules").replace(" of ", " for "))
        return self._put_policy(policy_id, draft)

    def delete_policy(self, policy_id: str) -> None:
        """Remove a policy, from the tokens that have it, too; an unknown one is no error."""
        if policy_id == GLOBAL_MANAGEMENT_ID:
            raise AccessError("Delete operation not permitted on the builtin global-management policy")
        if policy_id not in self._policies:
            return
        self._documents.delete(_POLICY, policy_id)
        del self._policies[policy_id]
        self._changed(POLICIES_TOPIC)

    def create_token(self, draft: TokenDraft) -> Token:
        """Make a token with a secret that nobody can guess; the draft's is not used."""
        return self.put_token(
            Token(
                accessor=str(uuid.uuid4()),
                secret=str(uuid.uuid4()),
                description=draft.description,
                policies=self._linked(draft.policies),
                local=draft.local,
                created_at=self._clock(),
            )
        )

    def update_token(self, accessor: str, draft: TokenDraft) -> Token:
        """Put ``draft`` in the place of what the token says."""
        check_uuid(accessor, "AccessorID is not a valid UUID")
        old = self._tokens.get(accessor)
        if old is None:
            raise AccessError(f'Cannot find token "{accessor}"')
        if draft.secret not in ("", old.secret):
            raise AccessError("Changing a tokens SecretID is not permitted")
        if draft.local != old.local:
            raise AccessError(f"cannot toggle local mode of {accessor}")
        policies = self._linked(draft.policies)
        # As in the original, what a legacy token may do is from now on in its policies.
        return self.put_token(
            msgspec.structs.replace(old, description=draft.description, policies=policies, type="", rules="")
        )

    def clone_token(self, accessor: str, *, description: str) -> Token:
        """Make a token that may do the same; ``description`` is that of the old one where empty."""
        old = self._tokens.get(accessor)
        if old is None:
            raise UnknownToken
        if old.rules:
            raise AccessError("Cannot clone a legacy ACL with this endpoint")
        links = tuple(PolicyLink(id=policy_id) for policy_id in old.policies)
        return self.create_token(
            TokenDraft(description=description or old.description, policies=links, local=old.local)
        )

    def delete_token(self, accessor: str, *, asker: str) -> None:
        """Remove a token; an unknown one is no error. ``asker`` is the secret of whoever asks for it."""
        check_uuid(accessor, "Accessor ID is missing or an invalid UUID")
        if accessor == ANONYMOUS_ID:
            raise AccessError("Delete operation not permitted on the anonymous token")
        token = self._tokens.get(accessor)
        if token is None:
            return
        if token.secret == asker:
            raise AccessError("Deletion of the request's authorization token is not permitted")
        self.remove_token(token)

    def put_token(self, token: Token) -> Token:
        """Store a token as it is, but for the indexes; returns it with them."""
        return self._put_token(token, self._index.advance())

    def remove_token(self, token: Token) -> None:
        """Forget a token."""
        self._documents.delete(_TOKEN, token.accessor)
        del self._tokens[token.accessor]
        del self._by_secret[token.secret]
        self._changed(TOKENS_TOPIC)

    def _management(self, secret: str, *, description: str) -> Token:
        return Token(
            accessor=str(uuid.uuid4()),
            secret=secret,
            description=description,
            policies=(GLOBAL_MANAGEMENT_ID,),
            type=MANAGEMENT,
            created_at=self._clock(),
        )

    def _bootstrap_with(self, token: Token) -> Token:
        index = self._index.advance()
        stored = self._put_token(token, index, _record(_BOOTSTRAP, "index", index))
        self._reset_index = index
        return stored

    def _put_token(self, token: Token, index: int, *others: Change) -> Token:
        old = self._tokens.get(token.accessor)
        stored = msgspec.structs.replace(token, created=index if old is None else old.created, modified=index)
        self._documents.write([_record(_TOKEN, stored.accessor, stored), *others])
        self._tokens[stored.accessor] = stored
        self._by_secret[stored.secret] = stored
        self._changed(TOKENS_TOPIC)
        return stored

    def _put_policy(self, policy_id: str, draft: PolicyDraft) -> Policy:
        try:
            rules.parse(draft.rules)
        except rules.RulesError as error:
            raise AccessError(str(error)) from error
        index, old = self._index.advance(), self._policies.get(policy_id)
        policy = Policy(
            id=policy_id,
            name=draft.name,
            description=draft.description,
            rules=draft.rules,
            datacenters=draft.datacenters,
            created=index if old is None else old.created,
            modified=index,
        )
        self._documents.write([_record(_POLICY, policy_id, policy)])
        self._policies[policy_id] = policy
        self._changed(POLICIES_TOPIC)
        return policy

    def _linked(self, links: Iterable[PolicyLink]) -> tuple[str, ...]:
        """The ids of policies, each once."""
        ids: dict[str, None] = {}
        for link in links:
            ids[self._policy_id(link)] = None
        return tuple(ids)

    def _policy_id(self, link: PolicyLink) -> str:
        if link.id:
            check_uuid(link.id, "failed acl policy lookup: index error: UUID must be 36 characters")
            return link.id
        policy = self.policy_named(link.name)
        if policy is None:
            raise AccessError(f'No such ACL policy with name "{link.name}"')
        return policy.id

    def _changed(self, topic: str) -> None:
        index = self._index.current
        if topic == TOKENS_TOPIC:
            self.tokens_index = index
        else:
            self.policies_index = self.tokens_index = index
        for listener in self._listeners:
            listener()
        self._watch.notify(TOKENS_TOPIC, topic)


def check_uuid(text: str, problem: str) -> None:
    """Raise :class:`AccessError` for what is no UUID in its usual form."""
    try:
        usual = str(uuid.UUID(text)) == text.lower()
    except ValueError:
        usual = False
    if not usual:
        raise AccessError(problem)


def _check_name(draft: PolicyDraft) -> None:
    if not draft.name:
        raise AccessError("Invalid Policy: no Name is set")
    if not _POLICY_NAME.fullmatch(draft.name):
        raise AccessError(
            "Invalid Policy: invalid Name. Only alphanumeric characters, '-' and '_' are allowed"
        )


def _record(kind: str, record_id: str, value: object) -> Put:
    return Put(kind=kind, id=record_id, content=msgspec.json.encode(value))


def _load(documents: Documents, kind: str, of: type[T]) -> list[T]:
    records = []
    for record_id, content in documents.load(kind):
        try:
            records.append(msgspec.json.decode(content, type=of))
        except msgspec.MsgspecError as error:
            raise StorageError(
                f"the {kind} {record_id} in the store of the agent cannot be understood: {error}. "
                "Restore rules.sqlite3 from a backup, or move it away to start without rules."
            ) from error
    return records
