"""The catalog as the bearer of one token sees it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from reference.access.authorizer import Authorizer, Level, Resource
from reference.catalog.model import Indexed, Node
from reference.catalog.store import Instance


class _Catalog(Protocol):
    def nodes(self) -> Sequence[Indexed[Node]]: ...

    def instances(self, name: str) -> Sequence[Instance]: ...

    def connect_instances(self, name: str) -> Sequence[Instance]: ...


class VisibleCatalog:
    """What is asked of the catalog for DNS, which knows no tokens: everybody who asks is the agent's default token.

    ``authorizer`` gives what that token may do at the moment of the question.
    """

    def __init__(self, catalog: _Catalog, authorizer: Callable[[], Authorizer]) -> None:
        self._catalog = catalog
        self._authorizer = authorizer

    def nodes(self) -> Sequence[Indexed[Node]]:
        """The nodes that may be seen."""
        authorizer = self._authorizer()
        return [
            node
            for node in self._catalog.nodes()
            if authorizer.allows(Resource.NODE, node.value.name, Level.READ)
        ]

    def instances(self, name: str) -> Sequence[Instance]:
        """The instances of a service that may be seen."""
        return self._visible(self._catalog.instances(name))

    def connect_instances(self, name: str) -> Sequence[Instance]:
        """Who speaks for a service in the mesh, for those who may see that service."""
        if not self._authorizer().allows(Resource.SERVICE, name, Level.READ):
            return []
        return self._visible(self._catalog.connect_instances(name))

    def _visible(self, found: Sequence[Instance]) -> Sequence[Instance]:
        authorizer = self._authorizer()
        return [
            instance
            for instance in found
            if authorizer.allows(Resource.NODE, instance.node.value.name, Level.READ)
            and authorizer.allows(Resource.SERVICE, instance.service.value.name, Level.READ)
        ]
