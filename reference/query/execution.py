"""Execute a query: from its id or name to the instances that answer it, for HTTP and DNS alike."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Protocol

import msgspec
from msgspec.structs import replace

from reference.access.authorizer import Authorizer, Level, Resource
from reference.access.control import AccessControl, ProxyAuthorizer
from reference.catalog.model import Indexed, Node
from reference.catalog.store import Instance
from reference.query.model import Definition
from reference.query.register import QueryRegister
from reference.query.selection import Shuffle, select

#: Instead of a node's name: the agent that was asked, and the node with the address of who asked.
_NEAR_AGENT, _NEAR_ADDRESS = "_agent", "_ip"


class CatalogView(Protocol):
    """What is asked of the catalog."""

    def nodes(self) -> Sequence[Indexed[Node]]:
        """All nodes."""

    def instances(self, name: str) -> Sequence[Instance]:
        """The instances of a service."""

    def connect_instances(self, name: str) -> Sequence[Instance]:
        """Who speaks for a service in the mesh."""


class Asker(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks, and what they add: where answers should be ``near`` to, how many of them, and which.

    ``connect`` and ``passing`` add to what the query says, as if it said so itself.
    """

    token: str = ""
    address: str = ""
    near: str = ""
    connect: bool = False
    passing: bool = False
    limit: int = 0


class Execution(msgspec.Struct, frozen=True, kw_only=True):
    """The query as it was understood, and who answers it."""

    definition: Definition
    instances: Sequence[Instance]


class Executor:
    """Executes the queries of one agent; ``agent`` is the name of its node."""

    def __init__(
        self,
        queries: QueryRegister,
        catalog: CatalogView,
        *,
        access: AccessControl,
        agent: str,
        shuffle: Shuffle = random.shuffle,
    ) -> None:
        self._queries = queries
        self._catalog = catalog
        self._access = access
        self._agent = agent
        self._shuffle = shuffle

    def execute(self, name: str, asker: Asker) -> Execution:
        """Answer the query ``name``, an id or a name; the token of the query goes before that of the asker.

        A managed proxy sees what the queries among its upstreams find in the mesh. Raises
        :class:`~reference.query.model.QueryNotFound`, :class:`~reference.query.model.QueryError` and what
        :meth:`~reference.access.control.AccessControl.authorizer` raises.
        """
        definition = self._queries.resolve(name).definition
        wanted = definition.service
        find = self._catalog.connect_instances if wanted.connect or asker.connect else self._catalog.instances
        authorizer = self._access.authorizer(definition.token or asker.token)
        visible = (
            instance
            for instance in find(wanted.service)
            if _sees(authorizer, instance)
            or (_is_told(authorizer, name) and instance.service.value.connects_to)
        )
        chosen = select(
            visible,
            replace(wanted, only_passing=wanted.only_passing or asker.passing),
            node=self._node(asker.near or wanted.near, asker.address),
            limit=asker.limit,
            shuffle=self._shuffle,
        )
        return Execution(definition=definition, instances=chosen)

    def _node(self, near: str, address: str) -> str:
        if near == _NEAR_AGENT:
            return self._agent
        if near == _NEAR_ADDRESS:
            return next(
                (node.value.name for node in self._catalog.nodes() if node.value.address == address), ""
            )
        return near


def _sees(authorizer: Authorizer, instance: Instance) -> bool:
    return authorizer.allows(Resource.NODE, instance.node.value.name, Level.READ) and authorizer.allows(
        Resource.SERVICE, instance.service.value.name, Level.READ
    )


def _is_told(authorizer: Authorizer, name: str) -> bool:
    return isinstance(authorizer, ProxyAuthorizer) and authorizer.executes(name)
