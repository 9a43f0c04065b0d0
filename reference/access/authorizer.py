"""What may be done, as a question: a resource, the name of the thing, and the level that is wanted.

The resources and levels are those of the original's rule language. Everything that decides is an
:class:`Authorizer`; the three fixed ones are here.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

import msgspec


class Resource(StrEnum):
    """What rules are about. ``ACL``, ``KEYRING`` and ``OPERATOR`` have no name: there is one of each."""

    ACL = "acl"
    AGENT = "agent"
    EVENT = "event"
    INTENTION = "intention"
    KEY = "key"
    KEYRING = "keyring"
    NODE = "node"
    OPERATOR = "operator"
    QUERY = "query"
    SERVICE = "service"
    SESSION = "session"


class Level(StrEnum):
    """What a rule gives, and what an endpoint asks for (never ``DENY``); ``LIST`` is known to keys alone."""

    DENY = "deny"
    READ = "read"
    LIST = "list"
    WRITE = "write"


class Authorizer(Protocol):
    """Decides what one token may do."""

    def allows(self, resource: Resource, name: str, level: Level) -> bool:
        """Whether the thing of this name may be read, listed or written; ``name`` is empty where there is one."""

    @property
    def allows_by_default(self) -> bool:
        """What is decided about a connection that no intention is about."""


class Fixed(msgspec.Struct, frozen=True, kw_only=True):
    """The same answer to everything, and one to questions about access control itself."""

    allows_by_default: bool
    manages: bool

    def allows(self, resource: Resource, name: str, level: Level) -> bool:
        """See :class:`Authorizer`."""
        return self.manages if resource is Resource.ACL else self.allows_by_default


#: Everything but the management of access control: the default policy ``allow``.
ALLOW_ALL = Fixed(allows_by_default=True, manages=False)
#: Nothing: the default policy ``deny``.
DENY_ALL = Fixed(allows_by_default=False, manages=False)
#: Everything.
MANAGE_ALL = Fixed(allows_by_default=True, manages=True)
