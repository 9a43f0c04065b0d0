"""Where answers are near to: the node that is named, the agent that was asked, or the node of whoever asked."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from reference.access.control import AccessControl
from reference.catalog.documents import MemoryDocuments
from reference.catalog.index import IndexClock
from reference.catalog.model import Indexed, Node, Service
from reference.catalog.store import Instance
from reference.catalog.watch import Watch
from reference.query.execution import Asker, Executor
from reference.query.model import Definition, ServiceQuery
from reference.query.register import QueryRegister

NODES = {name: f"10.0.0.{number}" for number, name in enumerate(("agent", "two", "three"), start=1)}


class View:
    """A catalog with one instance of everything on each node."""

    def nodes(self) -> Sequence[Indexed[Node]]:
        return [
            Indexed(value=Node(id="", name=name, address=address, datacenter="dc1"), created=1, modified=1)
            for name, address in NODES.items()
        ]

    def instances(self, name: str) -> Sequence[Instance]:
        service = Indexed(value=Service(id=name, name=name), created=1, modified=1)
        return [Instance(node=node, service=service, checks=()) for node in self.nodes()]

    def connect_instances(self, name: str) -> Sequence[Instance]:
        return ()


@pytest.mark.parametrize(
    ("near", "asker", "first"),
    [
        ("two", Asker(), "two"),
        ("_agent", Asker(), "agent"),
        ("_ip", Asker(address="10.0.0.2"), "two"),
        ("_ip", Asker(address="192.0.2.1"), "three"),
        ("", Asker(), "three"),
        ("nobody", Asker(), "three"),
        ("two", Asker(near="_agent"), "agent"),
        ("", Asker(near="_ip", address="10.0.0.2"), "two"),
    ],
)
def test_the_first_instance(near: str, asker: Asker, first: str) -> None:
    queries = QueryRegister(MemoryDocuments(), index=IndexClock(), watch=Watch())
    queries.create(Definition(name="q", service=ServiceQuery(service="db", near=near)))
    executor = Executor(
        queries, View(), access=AccessControl(), agent="agent", shuffle=lambda found: found.reverse()
    )
    found = executor.execute("q", asker).instances
    assert found[0].node.value.name == first
    assert len(found) == 3
