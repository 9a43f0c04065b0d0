"""Tokens and policies as the agent keeps them, and the two that are there from the beginning. Pure."""

from __future__ import annotations

import hashlib
from datetime import datetime

import msgspec

#: Gives everything; may be renamed, its rules stay.
GLOBAL_MANAGEMENT_ID = "00000000-0000-0000-0000-000000000001"
#: Who shows no token is the bearer of this one; may be changed, not removed.
ANONYMOUS_ID = "00000000-0000-0000-0000-000000000002"
ANONYMOUS_SECRET = "anonymous"  # noqa: S105 - its name is all there is to it
#: Shown instead of a secret to those who may read tokens, and not make them.
REDACTED = "<hidden>"
#: Of tokens made in the legacy way: all they may do is in their rules, or they may do everything.
CLIENT, MANAGEMENT = "client", "management"

GLOBAL_MANAGEMENT_RULES = """
acl = "write"
agent_prefix "" {
	policy = "write"
}
event_prefix "" {
	policy = "write"
}
key_prefix "" {
	policy = "write"
}
keyring = "write"
node_prefix "" {
	policy = "write"
}
operator = "write"
query_prefix "" {
	policy = "write"
}
service_prefix "" {
	policy = "write"
	intentions = "write"
}
session_prefix "" {
	policy = "write"
}"""


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """Named rules. ``datacenters`` are those where it counts, none means all."""

    id: str
    name: str
    description: str = ""
    rules: str = ""
    datacenters: tuple[str, ...] = ()
    created: int = 0
    modified: int = 0

    @property
    def hash(self) -> bytes:
        """Of what a user can set, as the original works it out."""
        return _hash(self.name, self.description, self.rules, *self.datacenters)


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """Who bears ``secret`` may do what ``policies`` (ids) give, and ``rules`` where it was made the legacy way.

    ``accessor`` names the token where the secret must not be shown. ``type`` is empty but for legacy tokens.
    """

    accessor: str
    secret: str
    created_at: datetime
    description: str = ""
    policies: tuple[str, ...] = ()
    type: str = ""
    rules: str = ""
    local: bool = False
    created: int = 0
    modified: int = 0

    def __repr__(self) -> str:
        """Without the secret, which must not reach a log."""
        return f"Token(accessor={self.accessor!r})"

    @property
    def hash(self) -> bytes:
        """Of what a user can set, as the original works it out."""
        reach = "local" if self.local else "global"
        return _hash(self.description, self.type, self.rules, reach, *self.policies)


def _hash(*fields: str) -> bytes:
    return hashlib.blake2b("".join(fields).encode(), digest_size=32).digest()
