"""Which records a name of the domain has. Pure: a question and a view of the catalog give a reply.

Below the domain (MP-CAT-010), each with or without the datacenter in front of the domain::

    <service>.connect          the proxies and native instances that speak for a service in the mesh
    [<tag>.]<service>.service  the instances of a service, ``_<service>._<tag>`` too, and ``_<service>._tcp``
    <query>.query              what a prepared query finds, or what a template makes of the name
    <node>.node                a node
    <hexadecimal>.addr         an address, for services that have another one than their node

An instance with a critical check is not there; one with a warning is, unless only passing ones are wanted
(MP-CAT-007). A name that exists without records of the type is NOERROR, one that does not is NXDOMAIN, and both
come with the SOA of the domain.
"""

from __future__ import annotations

import ipaddress
import random
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import dns.name
import msgspec
from dns.name import Name
from dns.rcode import Rcode
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.CNAME import CNAME
from msgspec.structs import replace

from reference.access.control import RootToken
from reference.access.register import UnknownToken
from reference.catalog.model import Indexed, Node, Status
from reference.catalog.store import Instance
from reference.config.model import DnsOptions
from reference.dns.records import Record, host, node_texts, rdata
from reference.query.execution import Asker, Execution
from reference.query.model import QueryError, QueryNotFound

_LONGEST_TTL = 2**31 - 1
#: How often an alias is followed within the domain.
_LONGEST_CHAIN = 3
#: Names under which others stand: they exist, and have no records themselves.
_KINDS = frozenset({"addr", "connect", "node", "query", "service"})
_TRANSFERS = frozenset({RdataType.AXFR, RdataType.IXFR})
_TEXT_TYPES = frozenset({RdataType.TXT, RdataType.ANY})


class Queries(Protocol):
    """Answers prepared queries."""

    def execute(self, name: str, asker: Asker) -> Execution:
        """What the query finds, in the order in which it is offered.

        Raises :class:`~reference.query.model.QueryNotFound` and :class:`~reference.query.model.QueryError`.
        """


class CatalogView(Protocol):
    """What is asked of the catalog; names in any case."""

    def nodes(self) -> Sequence[Indexed[Node]]:
        """All nodes."""

    def instances(self, name: str) -> Sequence[Instance]:
        """The instances of a service."""

    def connect_instances(self, name: str) -> Sequence[Instance]:
        """Who speaks for a service in the mesh."""


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What there is to say about a question, before it is cut to size.

    ``interchangeable`` tells that one answer is as good as another, so that a client may be given a few of many.
    """

    rcode: Rcode = Rcode.NOERROR
    answers: tuple[Record, ...] = ()
    authority: tuple[Record, ...] = ()
    additional: tuple[Record, ...] = ()
    authoritative: bool = True
    interchangeable: bool = False


class Zone:
    """The names of one domain, for which ``node`` answers.

    ``shuffle`` puts a list in the order in which its items are offered, in place.
    """

    def __init__(
        self,
        catalog: CatalogView,
        queries: Queries,
        options: DnsOptions,
        *,
        datacenter: str,
        node: str,
        clock: Callable[[], float] = time.time,
        shuffle: Callable[[list[Instance]], None] = random.shuffle,
    ) -> None:
        self._catalog = catalog
        self._queries = queries
        self._options = options
        self._datacenter = datacenter
        self._server = node
        self._clock = clock
        self._shuffle = shuffle
        self._domain = dns.name.from_text(options.domain)

    def answer(self, name: Name, kind: RdataType, *, client: str = "") -> Reply:
        """The reply to a question of class IN about ``name``, which keeps its case in the answer."""
        if not name.is_subdomain(self._domain):
            return Reply(rcode=Rcode.REFUSED, authoritative=False)
        if kind in _TRANSFERS:
            return Reply(rcode=Rcode.NOTIMP)
        reply = self._find(name, kind, client, hops=_LONGEST_CHAIN)
        if reply.answers or reply.rcode not in (Rcode.NOERROR, Rcode.NXDOMAIN):
            return reply
        return replace(reply, authority=(self._soa(),))

    def _find(self, name: Name, kind: RdataType, client: str, *, hops: int) -> Reply:
        labels = [label.decode("utf-8", "replace").lower() for label in name.relativize(self._domain).labels]
        if not labels:
            return self._apex(kind)
        datacenter = self._datacenter
        if not _ends_in_kind(labels, kind):
            datacenter = labels.pop()
        if kind == RdataType.SRV and labels and labels[-1].startswith("_"):
            labels.append("service")
        here = datacenter == self._datacenter
        if labels and labels[-1] not in _KINDS:
            return Reply(rcode=Rcode.NXDOMAIN)
        if len(labels) < 2:
            return Reply(rcode=Rcode.NOERROR if here else Rcode.NXDOMAIN)
        if not here:
            # There may be such a datacenter somewhere; nothing is known of it here.
            return Reply(rcode=Rcode.SERVFAIL)
        *rest, branch = labels
        match branch:
            case "connect":
                return self._service(
                    name, kind, self._catalog.connect_instances(rest[-1]), rest[-1], hops=hops
                )
            case "service":
                service, tag = _service_and_tag(rest)
                instances = [
                    instance
                    for instance in self._catalog.instances(service)
                    if not tag or tag in map(str.lower, instance.service.value.tags)
                ]
                return self._service(name, kind, instances, service, hops=hops)
            case "query":
                return self._query(name, kind, ".".join(rest), client, hops=hops)
            case "node":
                return self._node(name, kind, ".".join(rest), hops=hops)
            case _:
                return _encoded_address(name, kind, rest, ttl=self._options.node_ttl)

    def _apex(self, kind: RdataType) -> Reply:
        """The domain itself: who answers for it, which is this agent alone, whatever nodes there are."""
        servers = [
            (self._node_name(node.value), node.value.address)
            for node in self._catalog.nodes()
            if node.value.name == self._server
        ]
        records = tuple(
            Record(self._domain, self._options.node_ttl, rdata(RdataType.NS, server)) for server, _ in servers
        )
        glue = tuple(host(server, address, self._options.node_ttl) for server, address in servers)
        if kind == RdataType.NS:
            return Reply(answers=records, additional=glue)
        if kind == RdataType.SOA:
            return Reply(answers=(self._soa(),), authority=records, additional=glue)
        return Reply()

    def _service(
        self, name: Name, kind: RdataType, found: Iterable[Instance], service: str, *, hops: int
    ) -> Reply:
        wanted = {Status.PASSING} if self._options.only_passing else {Status.PASSING, Status.WARNING}
        instances = [instance for instance in found if instance.status in wanted]
        if not instances:
            return Reply(rcode=Rcode.NXDOMAIN)
        self._shuffle(instances)
        return self._offer(name, kind, instances, self._service_ttl(service), hops=hops)

    def _query(self, name: Name, kind: RdataType, query: str, client: str, *, hops: int) -> Reply:
        """What a prepared query finds; it has its own idea of what is healthy, and maybe of the TTL (MP-PQ-002)."""
        try:
            found = self._queries.execute(query, Asker(address=client))
        except QueryNotFound:
            return Reply(rcode=Rcode.NXDOMAIN)
        except (QueryError, UnknownToken, RootToken):
            return Reply(rcode=Rcode.SERVFAIL)
        if not found.instances:
            return Reply(rcode=Rcode.NXDOMAIN)
        ttl = found.definition.ttl
        if ttl is None:
            ttl = self._service_ttl(found.definition.service.service.lower())
        return self._offer(name, kind, found.instances, ttl, hops=hops)

    def _offer(
        self, name: Name, kind: RdataType, instances: Sequence[Instance], ttl: int, *, hops: int
    ) -> Reply:
        if kind == RdataType.SRV:
            return replace(self._locations(name, instances, ttl), interchangeable=True)
        addresses = []
        for instance in instances:
            node_address = instance.node.value.address
            own = instance.service.value.address or node_address
            # A service that names itself as its address would be an alias of itself.
            itself = own.rstrip(".").lower() == name.to_text(omit_final_dot=True).lower()
            addresses.append(node_address if itself else own)
        texts = node_texts(name, (instance.node.value for instance in instances), ttl)
        reply = self._addresses(name, kind, addresses, ttl, texts, hops=hops)
        return replace(reply, interchangeable=True)

    def _locations(self, name: Name, instances: Sequence[Instance], ttl: int) -> Reply:
        """SRV records, with the addresses that their targets have."""
        answers: dict[tuple[str, str, int], Record] = {}
        #: What there is at each address of a node: a target, and what is said of it.
        places: dict[tuple[str, str], tuple[Name, tuple[Record, ...]]] = {}
        for instance in instances:
            node, service = instance.node.value, instance.service.value
            place = node.name, service.address or node.address
            if (*place, service.port) in answers:
                continue
            if place not in places:
                places[place] = self._place(node, place[1], ttl)
            data = rdata(RdataType.SRV, 1, _weight(instance), service.port, places[place][0])
            answers[(*place, service.port)] = Record(name, ttl, data)
        additional = (record for _, said in places.values() for record in said)
        return Reply(answers=tuple(answers.values()), additional=tuple(additional))

    def _place(self, node: Node, address: str, ttl: int) -> tuple[Name, tuple[Record, ...]]:
        """The target of SRV records for an address on a node, with the records that it has."""
        if address == node.address:
            target = self._node_name(node)
            texts = node_texts(target, [node], ttl) if self._options.node_meta_txt else ()
            return target, (host(target, address, ttl), *texts)
        try:
            target = self._below(ipaddress.ip_address(address).packed.hex(), "addr")
        except ValueError:
            # The name of a host is its own target, and others know where it is.
            return dns.name.from_text(address), ()
        return target, (host(target, address, ttl),)

    def _node(self, name: Name, kind: RdataType, wanted: str, *, hops: int) -> Reply:
        for node in self._catalog.nodes():
            if node.value.name.lower() == wanted:
                texts = node_texts(name, [node.value], self._options.node_ttl)
                addresses = [node.value.address]
                return self._addresses(name, kind, addresses, self._options.node_ttl, texts, hops=hops)
        return Reply(rcode=Rcode.NXDOMAIN)

    def _addresses(
        self,
        name: Name,
        kind: RdataType,
        addresses: Iterable[str],
        ttl: int,
        texts: tuple[Record, ...],
        *,
        hops: int,
    ) -> Reply:
        """The records of a name that stands for hosts: their addresses, else an alias, and what their nodes say."""
        hosts = [host(name, address, ttl) for address in dict.fromkeys(addresses)]
        direct = [each for each in hosts if each.data.rdtype != RdataType.CNAME]
        if not direct and kind != RdataType.TXT:
            # An alias stands alone (RFC 1034, 3.6.2).
            return self._alias(hosts[0], kind, hops=hops)
        chosen = [each for each in direct if kind in (each.data.rdtype, RdataType.ANY)]
        if self._options.a_record_limit:
            chosen = chosen[: self._options.a_record_limit]
        if kind in _TEXT_TYPES:
            return Reply(answers=(*chosen, *texts))
        return Reply(answers=tuple(chosen), additional=texts if self._options.node_meta_txt else ())

    def _alias(self, alias: Record, kind: RdataType, *, hops: int) -> Reply:
        """An alias, followed as far as it stays within the domain."""
        assert isinstance(alias.data, CNAME)
        target = alias.data.target
        if kind == RdataType.CNAME or not hops or not target.is_subdomain(self._domain):
            return Reply(answers=(alias,))
        # Who asks for an alias does not ask for what it leads to.
        followed = self._find(target, kind, "", hops=hops - 1)
        return replace(followed, rcode=Rcode.NOERROR, answers=(alias, *followed.answers))

    def _service_ttl(self, service: str) -> int:
        """The most exact of the TTLs that were set: for this name, else for its longest prefix with ``*``."""
        ttls = self._options.service_ttl
        if service in ttls:
            return ttls[service]
        prefixes = [key for key in ttls if key.endswith("*") and service.startswith(key[:-1])]
        return ttls[max(prefixes, key=len)] if prefixes else 0

    def _node_name(self, node: Node) -> Name:
        return self._below(*node.name.split("."), "node")

    def _below(self, *labels: str) -> Name:
        return Name([*(label.encode() for label in (*labels, self._datacenter)), *self._domain.labels])

    def _soa(self) -> Record:
        server, mailbox = (Name([label, *self._domain.labels]) for label in (b"ns", b"hostmaster"))
        serial = int(self._clock()) & 0xFFFFFFFF
        soa = self._options.soa
        times = (soa.refresh, soa.retry, soa.expire, soa.min_ttl)
        data = rdata(RdataType.SOA, server, mailbox, serial, *times)
        # How long a negative answer may be kept: not at all, unless that was asked for (RFC 2308).
        return Record(self._domain, min(soa.min_ttl, _LONGEST_TTL), data)


def _weight(instance: Instance) -> int:
    weights = instance.service.value.weights
    return weights.warning if instance.status is Status.WARNING else weights.passing


def _ends_in_kind(labels: Sequence[str], kind: RdataType) -> bool:
    """Whether no datacenter stands at the end. ``_service._tag`` may stand without ``service`` in SRV questions."""
    return labels[-1] in _KINDS or (kind == RdataType.SRV and labels[-1].startswith("_"))


def _service_and_tag(labels: Sequence[str]) -> tuple[str, str]:
    """What ``service`` follows: ``_name._tag`` (RFC 2782), or ``tag.name``, where the tag may hold dots."""
    if len(labels) == 2 and all(label.startswith("_") for label in labels):
        name, tag = (label[1:] for label in labels)
        return name, "" if tag == "tcp" else tag
    return labels[-1], ".".join(labels[:-1])


def _encoded_address(name: Name, kind: RdataType, labels: Sequence[str], *, ttl: int) -> Reply:
    try:
        (digits,) = labels
        packed = bytes.fromhex(digits)
        address = str(ipaddress.ip_address(packed))
    except ValueError:
        return Reply(rcode=Rcode.NXDOMAIN)
    record = host(name, address, ttl)
    return Reply(answers=(record,) if kind in (record.data.rdtype, RdataType.ANY) else ())
