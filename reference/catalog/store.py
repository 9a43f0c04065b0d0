"""The catalog: which services run on the node, where, and how they are.

One interface, held in memory and filled by the local state of the agent. Each answer comes with its index, the
index of the last change that could have altered it, and with the topic to wait for (:mod:`.watch`):

==================  ===========================================
topic               changes with
==================  ===========================================
``nodes``           the node
``services``        any instance
``service/name``    the instances of a service and their checks
``connect/name``    the instances that speak for it in the mesh
==================  ===========================================

Names are equal regardless of case, and stand in topics in lower case.

A topic without instances costs nothing: it takes the index of the last removal of anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reference.catalog.index import IndexClock
from reference.catalog.model import Check, Indexed, Node, Service, Status, worst
from reference.catalog.watch import Watch

#: The check that says that the node itself is there; this agent is the only member, so it always passes.
NODE_ALIVE = Check(
    id="serfHealth",
    name="Serf Health Status",
    status=Status.PASSING,
    output="Agent alive and reachable",
)


@dataclass(frozen=True, kw_only=True)
class Instance:
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


class Catalog:
    """The embedded store of one node. All methods are cheap and free of I/O."""

    def __init__(self, node: Node, *, clock: IndexClock, watch: Watch) -> None:
        self._clock = clock
        self._watch = watch
        index = clock.advance()
        self._node = Indexed(value=node, created=index, modified=index)
        self._alive = Indexed(value=NODE_ALIVE, created=index, modified=index)
        self._services: dict[str, Indexed[Service]] = {}
        #: The checks of each service, and the services of each topic, by id.
        self._checks: dict[str, dict[str, Indexed[Check]]] = {}
        self._members: dict[str, dict[str, None]] = {}
        self._changed = {"nodes": index, "services": index}
        self._last_removal = index

    def put_service(self, service: Service) -> None:
        """Add or replace an instance. An equal one is no change and wakes nobody."""
        old = self._services.get(service.id)
        if old is not None and old.value == service:
            return
        index = self._clock.advance()
        created = index if old is None else old.created
        if old is not None:
            self._leave_topics(index, old.value)
        self._services[service.id] = Indexed(value=service, created=created, modified=index)
        for topic in _topics(service):
            self._members.setdefault(topic, {})[service.id] = None
        self._touch(index, *_topics(service), "services")

    def remove_service(self, service_id: str) -> None:
        """Remove an instance and its checks; unknown ids are no error."""
        old = self._services.pop(service_id, None)
        if old is None:
            return
        self._checks.pop(service_id, None)
        index = self._clock.advance()
        self._leave_topics(index, old.value)
        self._touch(index, "services")

    def put_check(self, check: Check) -> None:
        """Add or replace a check; it is seen with the instance that it belongs to. An equal one is no change."""
        checks = self._checks.setdefault(check.service_id, {})
        old = checks.get(check.id)
        if old is not None and old.value == check:
            return
        index = self._clock.advance()
        created = index if old is None else old.created
        checks[check.id] = Indexed(value=check, created=created, modified=index)
        self._touch_service(index, check.service_id)

    def remove_check(self, check: Check) -> None:
        """Remove a check; an unknown one is no error."""
        if self._checks.get(check.service_id, {}).pop(check.id, None) is not None:
            self._touch_service(self._clock.advance(), check.service_id)

    def nodes(self) -> tuple[Indexed[Node], ...]:
        """All nodes: this one."""
        return (self._node,)

    def tags_by_name(self) -> Mapping[str, Sequence[str]]:
        """The name of each service with the tags of its instances, both sorted."""
        tags: dict[str, set[str]] = {}
        for service in self._services.values():
            tags.setdefault(service.value.name, set()).update(service.value.tags)
        return {name: sorted(tags[name]) for name in sorted(tags)}

    def instances(self, name: str) -> tuple[Instance, ...]:
        """The instances of the service ``name``."""
        return self._instances_of(f"service/{name.lower()}")

    def connect_instances(self, name: str) -> tuple[Instance, ...]:
        """The instances that speak for ``name`` in the mesh: its proxies and its native instances."""
        return self._instances_of(f"connect/{name.lower()}")

    def index_of(self, topic: str) -> int:
        """The index of the last change that could have altered an answer about ``topic``."""
        return self._changed.get(topic, self._last_removal)

    def _instances_of(self, topic: str) -> tuple[Instance, ...]:
        return tuple(
            Instance(
                node=self._node,
                service=self._services[service_id],
                checks=(self._alive, *self._checks.get(service_id, {}).values()),
            )
            for service_id in self._members.get(topic, ())
        )

    def _leave_topics(self, index: int, service: Service) -> None:
        for topic in _topics(service):
            members = self._members[topic]
            del members[service.id]
            self._touch(index, topic)
            if not members:
                del self._members[topic], self._changed[topic]
                self._last_removal = index

    def _touch_service(self, index: int, service_id: str) -> None:
        service = self._services.get(service_id)
        if service is not None:
            self._touch(index, *_topics(service.value))

    def _touch(self, index: int, *topics: str) -> None:
        self._changed.update(dict.fromkeys(topics, index))
        self._watch.notify(*topics)


def _topics(service: Service) -> tuple[str, ...]:
    own = f"service/{service.name.lower()}"
    return (own, f"connect/{service.connects_to.lower()}") if service.connects_to else (own,)
