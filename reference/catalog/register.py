"""What was registered in the catalog from outside: nodes without an agent, their services and checks.

Each change is stored before anybody sees it. The node of this agent is another matter: its record follows what runs
here, so a change of it from outside is seen at once, is not stored, and lasts until the agent looks after its record
(MP-CAT-011).
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Callable, Iterator, Sequence

import msgspec
from msgspec.structs import replace

from reference.catalog.documents import Change, Delete, Documents, Put
from reference.catalog.model import Check, Node, Service
from reference.catalog.store import Catalog
from reference.config.model import CONNECT_PROXY

_log = logging.getLogger("agent")

#: Under which nodes, services and checks are stored, in the order in which they are read again.
_NODE, _SERVICE, _CHECK = KINDS = ("catalog-node", "catalog-service", "catalog-check")


class CatalogError(ValueError):
    """What was asked for cannot be; the text is for the caller."""


class Registration(msgspec.Struct, frozen=True, kw_only=True):
    """A node, and what to add to it. With ``skip_node_update`` a node that is there stays as it is."""

    node: Node
    service: Service | None = None
    checks: tuple[Check, ...] = ()
    skip_node_update: bool = False


class _Stored(msgspec.Struct, kw_only=True):
    """A service or check with the name of its node."""

    node: str
    service: Service | None = None
    check: Check | None = None


class CatalogRegister:
    """All changes from outside go through here.

    Changes raise :class:`CatalogError` when they make no sense and
    :class:`~reference.catalog.documents.StorageError` when they cannot be stored, and then change nothing.
    """

    def __init__(
        self, catalog: Catalog, documents: Documents, *, on_local_change: Callable[[], None] = lambda: None
    ) -> None:
        """Read what is stored into the catalog. ``on_local_change`` hears of changes to the agent's own node.

        A record that cannot be understood is kept under another kind, and logged. Raises
        :class:`~reference.catalog.documents.StorageError`.
        """
        self._catalog = catalog
        self._documents = documents
        self._on_local_change = on_local_change
        for kind in KINDS:
            for record_id, content in documents.load(kind):
                try:
                    self._restore(kind, content)
                except msgspec.MsgspecError as error:
                    _log.error("%s %s cannot be understood (%s), it is set aside", kind, record_id, error)
                    aside = Put(kind=f"{kind}.corrupt", id=record_id, content=content)
                    documents.write([aside, Delete(kind=kind, id=record_id)])

    def register(self, given: Registration) -> None:
        """Add or replace a node, a service on it, and checks."""
        node = self._node_to_be(given)
        _check_service(given.service)
        service_ids = {service.value.id for service in self._catalog.services_on(node.name)}
        if given.service is not None:
            service_ids.add(given.service.id)
        for check in given.checks:
            if check.service_id and check.service_id not in service_ids:
                raise CatalogError(
                    f'failed inserting check: Missing service registration on node "{given.node.name}"'
                )
        checks = tuple(self._completed(check, given, node.name) for check in given.checks)
        former = self._former_name(node)
        if self._is_local(node.name):
            self._on_local_change()
        else:
            removals = self._deletions(former, "", "") if former else ()
            self._documents.write([*removals, *_puts(node, given.service, checks)])
        if former:
            self._catalog.remove_node(former)
        self._catalog.put_node(node)
        if given.service is not None:
            self._catalog.put_service(given.service, node=node.name)
        for check in checks:
            self._catalog.put_check(check, node=node.name)

    def deregister(self, node: str, *, service_id: str = "", check_id: str = "") -> None:
        """Remove a service with its checks, else a check, else the node with everything; unknown ones are fine."""
        if not node:
            raise CatalogError("Must provide node")
        catalog = self._catalog
        if self._is_local(node):
            self._on_local_change()
        elif catalog.node(node) is not None:
            self._documents.write(self._deletions(node, service_id, check_id))
        if service_id:
            catalog.remove_service(service_id, node=node)
        elif check_id:
            catalog.remove_check(check_id, node=node)
        else:
            catalog.remove_node(node)

    def _is_local(self, node: str) -> bool:
        return node.lower() == self._catalog.local.lower()

    def _node_to_be(self, given: Registration) -> Node:
        node = given.node
        if not node.name:
            raise CatalogError("Must provide node")
        if node.id:
            _check_id(node.id)
        if not node.address and not given.skip_node_update:
            raise CatalogError("Must provide address if SkipNodeUpdate is not set")
        known = self._catalog.node(node.name)
        if known is not None and known.value.name.lower() != node.name.lower():
            known = None
        if known is not None and given.skip_node_update:
            return known.value
        if known is not None and known.value.id and known.value.id != node.id and node.id:
            raise CatalogError(
                f"failed inserting node: Node name {node.name} is reserved by node {known.value.id} "
                f"with name {known.value.name}"
            )
        return node

    def _former_name(self, node: Node) -> str:
        """The name of the node with this id, when it had another one: a node takes its id along."""
        for other in self._catalog.nodes():
            if node.id and other.value.id == node.id and other.value.name.lower() != node.name.lower():
                if self._is_local(other.value.name):
                    raise CatalogError(f"failed inserting node: {node.id} is the ID of the agent's own node")
                return other.value.name
        return ""

    def _completed(self, check: Check, given: Registration, node: str) -> Check:
        """A check with the name and the tags of its service."""
        services = [service.value for service in self._catalog.services_on(node)]
        if given.service is not None:
            services.append(given.service)
        for service in reversed(services):
            if check.service_id and service.id == check.service_id:
                return replace(check, service_name=service.name, service_tags=service.tags)
        return check

    def _deletions(self, node: str, service_id: str, check_id: str) -> Iterator[Change]:
        checks = [found.check.value for found in self._catalog.checks_on(node)]
        if service_id:
            yield Delete(kind=_SERVICE, id=_id(node, service_id))
            checks = [check for check in checks if check.service_id == service_id]
        elif check_id:
            checks = [check for check in checks if check.id == check_id]
        else:
            yield Delete(kind=_NODE, id=_id(node))
            for service in self._catalog.services_on(node):
                yield Delete(kind=_SERVICE, id=_id(node, service.value.id))
        for check in checks:
            yield Delete(kind=_CHECK, id=_id(node, check.id))

    def _restore(self, kind: str, content: bytes) -> None:
        if kind == _NODE:
            node = msgspec.json.decode(content, type=Node)
            # An agent that was given the name of a node that somebody registered is that node now.
            if not self._is_local(node.name):
                self._catalog.put_node(node)
            return
        stored = msgspec.json.decode(content, type=_Stored)
        if self._is_local(stored.node):
            return
        if stored.service is not None:
            self._catalog.put_service(stored.service, node=stored.node)
        if stored.check is not None:
            self._catalog.put_check(stored.check, node=stored.node)


def _puts(node: Node, service: Service | None, checks: Sequence[Check]) -> Iterator[Change]:
    yield Put(kind=_NODE, id=_id(node.name), content=msgspec.json.encode(node))
    if service is not None:
        content = msgspec.json.encode(_Stored(node=node.name, service=service))
        yield Put(kind=_SERVICE, id=_id(node.name, service.id), content=content)
    for check in checks:
        content = msgspec.json.encode(_Stored(node=node.name, check=check))
        yield Put(kind=_CHECK, id=_id(node.name, check.id), content=content)


def _check_service(service: Service | None) -> None:
    if service is None:
        return
    if not service.name:
        raise CatalogError("Must provide service name with ID")
    if service.kind != CONNECT_PROXY:
        return
    problems = (
        (
            service.destination is None or not service.destination.service_name.strip(),
            "Proxy.DestinationServiceName must be non-empty for Connect proxy services",
        ),
        (service.port == 0, "Port must be set for a Connect proxy"),
        (service.native, "A Proxy cannot also be Connect Native, only typical services"),
    )
    found = [problem for wrong, problem in problems if wrong]
    if found:
        raise CatalogError(
            f"{len(found)} error(s) occurred:\n\n" + "\n".join(f"* {problem}" for problem in found)
        )


def _check_id(node_id: str) -> None:
    if len(node_id) != len(str(uuid.UUID(int=0))):
        raise CatalogError("Bad node ID: uuid string is wrong length")
    try:
        uuid.UUID(node_id)
    except ValueError:
        raise CatalogError("Bad node ID: invalid uuid") from None


def _id(node: str, inner: str = "") -> str:
    return json.dumps([node.lower(), inner])
