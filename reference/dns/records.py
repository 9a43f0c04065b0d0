"""Resource records: for addresses, and for what nodes say of themselves. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping

import dns.name
import msgspec
from dns.name import Name
from dns.rdata import Rdata
from dns.rdataclass import RdataClass
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.CNAME import CNAME
from dns.rdtypes.ANY.NS import NS
from dns.rdtypes.ANY.SOA import SOA
from dns.rdtypes.ANY.TXT import TXT
from dns.rdtypes.IN.A import A
from dns.rdtypes.IN.AAAA import AAAA
from dns.rdtypes.IN.SRV import SRV

from reference.catalog.model import Node

#: What one string of a text record may hold (bytes).
_LONGEST_STRING = 255
#: Metadata under such a key is text for DNS as it stands.
_PLAIN_TEXT = "rfc1035-"
_FORMS: Mapping[RdataType, Callable[..., Rdata]] = {
    RdataType.A: A,
    RdataType.AAAA: AAAA,
    RdataType.CNAME: CNAME,
    RdataType.NS: NS,
    RdataType.SOA: SOA,
    RdataType.SRV: SRV,
    RdataType.TXT: TXT,
}


class Record(msgspec.Struct, frozen=True):
    """One resource record; ``ttl`` in seconds."""

    name: Name
    ttl: int
    data: Rdata


def host(name: Name, address: str, ttl: int) -> Record:
    """The record for one address, which may be the name of a host."""
    try:
        version = ipaddress.ip_address(address).version
    except ValueError:
        return Record(name, ttl, rdata(RdataType.CNAME, dns.name.from_text(address)))
    if version == 4:
        return Record(name, ttl, rdata(RdataType.A, address))
    return Record(name, ttl, rdata(RdataType.AAAA, address))


def rdata(kind: RdataType, *fields: object) -> Rdata:
    """The data of a record of class IN; fields as dnspython has them."""
    return _FORMS[kind](RdataClass.IN, kind, *fields)


def node_texts(name: Name, nodes: Iterable[Node], ttl: int) -> tuple[Record, ...]:
    """The metadata of nodes as text under ``name`` (RFC 1464); what several of them say is said once."""
    pairs = (pair for node in nodes for pair in (node.meta or {}).items())
    texts = dict.fromkeys(_text(key, value) for key, value in pairs)
    return tuple(Record(name, ttl, rdata(RdataType.TXT, _strings(text))) for text in texts)


def _text(key: str, value: str) -> str:
    if key.lower().startswith(_PLAIN_TEXT):
        return value
    return f"{key}={value.replace('`', '``')}"


def _strings(text: str) -> tuple[bytes, ...]:
    encoded = text.encode()
    return tuple(
        encoded[start : start + _LONGEST_STRING] for start in range(0, len(encoded) or 1, _LONGEST_STRING)
    )
