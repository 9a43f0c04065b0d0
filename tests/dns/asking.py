"""A catalog with services, and a resolver's view of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import dns.flags
import dns.message
from dns.message import Message
from dns.rdatatype import RdataType

from reference.access.authorizer import ALLOW_ALL, Authorizer
from reference.access.control import AccessControl
from reference.access.visible import VisibleCatalog
from reference.catalog.documents import MemoryDocuments
from reference.catalog.index import IndexClock
from reference.catalog.model import Check, Node, Service, Status, agent_node
from reference.catalog.store import Catalog
from reference.catalog.watch import Watch
from reference.config.model import DnsOptions
from reference.dns.message import Responder
from reference.dns.zone import Zone
from reference.query.execution import Executor
from reference.query.model import Definition
from reference.query.register import QueryRegister

NODE = agent_node(id="n", name="vm", address="127.0.0.1", datacenter="dc1")


def responder(
    *services: Service,
    node: Node = NODE,
    statuses: Iterable[tuple[str, Status]] = (),
    queries: Iterable[Definition] = (),
    authorizer: Authorizer = ALLOW_ALL,
    others: Iterable[Node] = (),
    **options: Any,
) -> Responder:
    """Answers for these services in the order in which they are given; ``statuses`` by service id.

    ``others`` are nodes that somebody has registered. ``authorizer`` is what the token may do that stands for all
    who ask.
    """
    catalog = Catalog(node, clock=IndexClock(), watch=Watch())
    for other in others:
        catalog.put_node(other)
    for service in services:
        catalog.put_service(service)
    for number, (service_id, status) in enumerate(statuses):
        catalog.put_check(Check(id=f"c{number}", name="c", status=status, service_id=service_id))
    settings = DnsOptions(**options)
    register = QueryRegister(MemoryDocuments(), index=IndexClock(), watch=Watch())
    for definition in queries:
        register.create(definition)
    executor = Executor(register, catalog, access=AccessControl(), agent=node.name, shuffle=lambda each: None)
    zone = Zone(
        VisibleCatalog(catalog, lambda: authorizer),
        executor,
        settings,
        datacenter="dc1",
        node=NODE.name,
        clock=lambda: 1_795_400_361.0,
        shuffle=lambda each: None,
    )
    return Responder(zone, settings)


def ask(
    asked: Responder, name: str, kind: str = "A", *, stream: bool = False, payload: int = 0, **query: Any
) -> Message:
    """What comes back; ``payload`` is what the client takes with EDNS, 0 for a client without it."""
    if payload:
        query |= {"use_edns": 0, "payload": payload}
    wire = asked.respond(dns.message.make_query(name, kind, **query).to_wire(), stream=stream)
    assert wire is not None
    return dns.message.from_wire(wire)


def records(section: Iterable[Any]) -> list[str]:
    """The records of a section as text, sorted, without class."""
    return sorted(
        f"{rrset.name} {rrset.ttl} {RdataType.to_text(rrset.rdtype)} {data}"
        for rrset in section
        for data in rrset
    )


def flags(message: Message) -> set[str]:
    return set(dns.flags.to_text(message.flags).split())
