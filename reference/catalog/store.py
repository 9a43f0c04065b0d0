"""The catalog: the nodes of the mesh, which services run on them, where, and how they are.

One interface, held in memory: the node of this agent is filled by its local state, other nodes by whoever
registers them (:mod:`.register`). Each answer comes with its index, the index of the last change that could have
altered it, and with the topic to wait for (:mod:`.watch`):

==================  ==========================================================
topic               changes with
==================  ==========================================================
``nodes``           any node
``node/name``       a node and its services
``services``        any instance, and what is said of its node
``service/name``    the instances of a service, their nodes and their checks
``connect/name``    the same of the instances that speak for it in the mesh
``checks``          any check, and what is said of its node
==================  ==========================================================

Names of nodes and services are equal regardless of case, and stand in topics in lower case. Methods that change
something take the node of this agent when none is named, and do nothing for a node that is not there: the one of
this agent comes back with everything on it when the agent looks after its record. A topic without members costs
nothing: it takes the index of the last removal of anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from reference.catalog.index import IndexClock
from reference.catalog.model import Check, Indexed, Node, Service, Status, worst
from reference.catalog.watch import Watch

#: The check that says that the node itself is there; its agent answers, so it passes.
NODE_ALIVE = Check(
    id="serfHealth",
    name="Serf Health Status",
    status=Status.PASSING,
    output="Agent alive and reachable",
)

#: The shortest piece of an id by which a node is found.
_SHORTEST_ID = 2


class Instance(msgspec.Struct, frozen=True, kw_only=True):
    """One instance with everything that a reader wants to know of it."""

    node: Indexed[Node]
    service: Indexed[Service]
    checks: tuple[Indexed[Check], ...]

    @property
    def status(self) -> Status:
        """The worst that a check says: an instance without checks is healthy (MP-CAT-009)."""
        return worst({check.value.status for check in self.checks})

    @property
    def passing(self) -> bool:
        """Whether no check says otherwise."""
        return self.status is Status.PASSING


class NodeCheck(msgspec.Struct, frozen=True, kw_only=True):
    """A check with the node that it is about."""

    node: Node
    check: Indexed[Check]


class _Entry(msgspec.Struct, kw_only=True):
    """A node with what is on it; ``about`` has the ids of the checks of each service, of the node under ``""``."""

    node: Indexed[Node]
    services: dict[str, Indexed[Service]] = msgspec.field(default_factory=dict)
    checks: dict[str, Indexed[Check]] = msgspec.field(default_factory=dict)
    about: dict[str, set[str]] = msgspec.field(default_factory=dict)

    def checks_about(self, service_id: str) -> list[Indexed[Check]]:
        """The checks of one service, or with the empty id those of the node, by id."""
        return [self.checks[check_id] for check_id in sorted(self.about.get(service_id, ()))]

    def concerned(self, check: Check) -> Iterable[Indexed[Service]]:
        """The services that a check is about: a check of the node is about all of them."""
        if not check.service_id:
            return self.services.values()
        service = self.services.get(check.service_id)
        return () if service is None else (service,)

    def drop_check(self, check_id: str) -> Indexed[Check] | None:
        """Forget a check, if it is there."""
        check = self.checks.pop(check_id, None)
        if check is not None:
            about = self.about[check.value.service_id]
            about.discard(check_id)
            if not about:
                del self.about[check.value.service_id]
        return check


class Catalog:
    """The embedded store. All methods are cheap and free of I/O."""

    def __init__(self, node: Node, *, clock: IndexClock, watch: Watch) -> None:
        """A catalog of an agent that runs on ``node``."""
        self.local = node.name
        self._clock = clock
        self._watch = watch
        self._entries: dict[str, _Entry] = {}
        #: The instances of each topic: node and service id.
        self._members: dict[str, dict[tuple[str, str], None]] = {}
        self._last_removal = clock.advance()
        self._changed = dict.fromkeys(("nodes", "services", "checks"), self._last_removal)
        self.put_node(node)
        self.put_check(NODE_ALIVE)

    def put_node(self, node: Node) -> None:
        """Add a node or replace what is said of it. An equal one is no change and wakes nobody."""
        key = node.name.lower()
        entry = self._entries.get(key)
        if entry is not None and entry.node.value == node:
            return
        index = self._clock.advance()
        if entry is None:
            self._entries[key] = _Entry(node=Indexed(value=node, created=index, modified=index))
            self._touch(index, "nodes", f"node/{key}")
            return
        entry.node = Indexed(value=node, created=entry.node.created, modified=index)
        # Lists of services and checks can be restricted to nodes with certain metadata.
        self._touch(index, "nodes", "services", "checks", f"node/{key}", *_topics(*entry.services.values()))

    def remove_node(self, name: str) -> None:
        """Remove a node with everything on it; an unknown one is no error."""
        key = name.lower()
        entry = self._entries.get(key)
        if entry is None:
            return
        for service_id in list(entry.services):
            self.remove_service(service_id, node=key)
        for check_id in list(entry.checks):
            self.remove_check(check_id, node=key)
        del self._entries[key]
        index = self._clock.advance()
        self._touch(index, "nodes")
        self._drop_topic(index, f"node/{key}")

    def put_service(self, service: Service, *, node: str = "") -> None:
        """Add or replace an instance. An equal one is no change."""
        key = (node or self.local).lower()
        entry = self._entries.get(key)
        if entry is None:
            return
        old = entry.services.get(service.id)
        if old is not None and old.value == service:
            return
        index = self._clock.advance()
        created = index if old is None else old.created
        if old is not None:
            self._leave_topics(index, key, old)
        new = entry.services[service.id] = Indexed(value=service, created=created, modified=index)
        for topic in _topics(new):
            self._members.setdefault(topic, {})[key, service.id] = None
        self._touch(index, *_topics(new), "services", f"node/{key}")

    def remove_service(self, service_id: str, *, node: str = "") -> None:
        """Remove an instance and its checks; unknown ids are no error."""
        key = (node or self.local).lower()
        entry = self._entries.get(key)
        old = None if entry is None else entry.services.get(service_id)
        if entry is None or old is None:
            return
        for check in entry.checks_about(service_id):
            self.remove_check(check.value.id, node=key)
        del entry.services[service_id]
        index = self._clock.advance()
        self._leave_topics(index, key, old)
        self._touch(index, "services", f"node/{key}")

    def put_check(self, check: Check, *, node: str = "") -> None:
        """Add or replace a check; it is seen with the instances that it is about. An equal one is no change."""
        entry = self._entries.get((node or self.local).lower())
        old = None if entry is None else entry.checks.get(check.id)
        if entry is None or (old is not None and old.value == check):
            return
        if old is not None and old.value.service_id != check.service_id:
            self.remove_check(check.id, node=node)
        index = self._clock.advance()
        created = index if old is None else old.created
        entry.checks[check.id] = Indexed(value=check, created=created, modified=index)
        entry.about.setdefault(check.service_id, set()).add(check.id)
        self._touch(index, "checks", *_topics(*entry.concerned(check)))

    def remove_check(self, check_id: str, *, node: str = "") -> None:
        """Remove a check; an unknown one is no error."""
        entry = self._entries.get((node or self.local).lower())
        old = None if entry is None else entry.drop_check(check_id)
        if entry is not None and old is not None:
            self._touch(self._clock.advance(), "checks", *_topics(*entry.concerned(old.value)))

    def nodes(self) -> tuple[Indexed[Node], ...]:
        """All nodes, by name."""
        return tuple(entry.node for _, entry in sorted(self._entries.items()))

    def node(self, name_or_id: str) -> Indexed[Node] | None:
        """The node with this name, or else the only one whose id begins so."""
        entry = self._entries.get(name_or_id.lower())
        if entry is not None:
            return entry.node
        if len(name_or_id) < _SHORTEST_ID:
            return None
        found = [node for node in self.nodes() if node.value.id.startswith(name_or_id.lower())]
        return found[0] if len(found) == 1 else None

    def services_on(self, node: str) -> tuple[Indexed[Service], ...]:
        """The instances on one node, by id."""
        entry = self._entries.get(node.lower())
        return () if entry is None else tuple(service for _, service in sorted(entry.services.items()))

    def checks_on(self, node: str) -> tuple[NodeCheck, ...]:
        """The checks of one node and its services, by id."""
        entry = self._entries.get(node.lower())
        if entry is None:
            return ()
        return tuple(
            NodeCheck(node=entry.node.value, check=check) for _, check in sorted(entry.checks.items())
        )

    def checks(self) -> tuple[NodeCheck, ...]:
        """All checks, by node and id."""
        return tuple(check for key in sorted(self._entries) for check in self.checks_on(key))

    def checks_of(self, name: str) -> tuple[NodeCheck, ...]:
        """The checks of the instances of the service ``name``, without those of their nodes."""
        return tuple(
            NodeCheck(node=entry.node.value, check=check)
            for entry, service in self._members_of(f"service/{name.lower()}")
            for check in entry.checks_about(service.value.id)
        )

    def tags_by_name(self, meta: Mapping[str, str] | None = None) -> Mapping[str, Sequence[str]]:
        """The name of each service with the tags of its instances, both sorted; only of nodes with ``meta``."""
        tags: dict[str, set[str]] = {}
        for entry in self._entries.values():
            if entry.node.value.has_meta(meta or {}):
                for service in entry.services.values():
                    tags.setdefault(service.value.name, set()).update(service.value.tags)
        return {name: sorted(tags[name]) for name in sorted(tags)}

    def instances(self, name: str) -> tuple[Instance, ...]:
        """The instances of the service ``name``, by node and id."""
        return self._instances_of(f"service/{name.lower()}")

    def connect_instances(self, name: str) -> tuple[Instance, ...]:
        """The instances that speak for ``name`` in the mesh: its proxies and its native instances."""
        return self._instances_of(f"connect/{name.lower()}")

    def index_of(self, topic: str) -> int:
        """The index of the last change that could have altered an answer about ``topic``."""
        return self._changed.get(topic, self._last_removal)

    def _members_of(self, topic: str) -> Iterator[tuple[_Entry, Indexed[Service]]]:
        for key, service_id in sorted(self._members.get(topic, ())):
            entry = self._entries[key]
            yield entry, entry.services[service_id]

    def _instances_of(self, topic: str) -> tuple[Instance, ...]:
        return tuple(
            Instance(
                node=entry.node,
                service=service,
                checks=(*entry.checks_about(""), *entry.checks_about(service.value.id)),
            )
            for entry, service in self._members_of(topic)
        )

    def _leave_topics(self, index: int, key: str, service: Indexed[Service]) -> None:
        for topic in _topics(service):
            members = self._members[topic]
            del members[key, service.value.id]
            self._touch(index, topic)
            if not members:
                del self._members[topic]
                self._drop_topic(index, topic)

    def _drop_topic(self, index: int, topic: str) -> None:
        self._watch.notify(topic)
        self._changed.pop(topic, None)
        self._last_removal = index

    def _touch(self, index: int, *topics: str) -> None:
        self._changed.update(dict.fromkeys(topics, index))
        self._watch.notify(*topics)


def _topics(*services: Indexed[Service]) -> list[str]:
    topics = []
    for service in services:
        topics.append(f"service/{service.value.name.lower()}")
        if service.value.connects_to:
            topics.append(f"connect/{service.value.connects_to.lower()}")
    return topics
