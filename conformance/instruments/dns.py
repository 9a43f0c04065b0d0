"""A DNS client for one server: one question at a time, by UDP or TCP, everything recorded.

Answers that do not belong to the question (another id, another sender) are passed over, as a resolver does.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import dns.rrset
from dns.message import Message

from conformance.instruments.api import Unreachable
from conformance.instruments.history import History

Transport = Literal["udp", "tcp"]


@dataclass(frozen=True, kw_only=True)
class DnsRecord:
    """One resource record. ``data`` is as zone files write it, ``ttl`` in seconds."""

    name: str
    kind: str
    ttl: int
    data: str


@dataclass(frozen=True, kw_only=True)
class DnsAnswer:
    """What a server said. ``status`` is the name of its code: NOERROR, NXDOMAIN, REFUSED, …"""

    status: str
    answers: tuple[DnsRecord, ...]
    authority: tuple[DnsRecord, ...]
    additional: tuple[DnsRecord, ...]
    authoritative: bool
    truncated: bool

    def data(self, kind: str) -> list[str]:
        """The data of the answers of one kind."""
        return [record.data for record in self.answers if record.kind == kind]


@dataclass(frozen=True, kw_only=True)
class DnsClient:
    """Asks one server. ``timeout`` in seconds holds for each question."""

    port: int
    history: History
    host: str = "127.0.0.1"
    timeout: float = 10.0

    def ask(self, name: str, kind: str = "A", *, transport: Transport = "udp", payload: int = 0) -> DnsAnswer:
        """Ask for the records of ``kind``; ``payload`` is the size offered by EDNS, 0 for a client without it.

        Raises :class:`~conformance.instruments.api.Unreachable` when no answer comes, or none that can be read.
        """
        query = dns.message.make_query(name, kind, use_edns=0 if payload else -1, payload=payload)
        event = {"name": name, "type": kind, "transport": transport}
        began = time.monotonic()
        try:
            answer = self._exchange(query, transport)
        except (OSError, EOFError, dns.exception.DNSException) as error:
            self.history.record("dns", **event, error=str(error), took=round(time.monotonic() - began, 4))
            raise Unreachable(f"DNS {name} {kind}: {type(error).__name__}: {error}") from error
        self.history.record(
            "dns",
            **event,
            answer=sorted(answer.to_text().splitlines()[1:]),
            took=round(time.monotonic() - began, 4),
        )
        return DnsAnswer(
            status=dns.rcode.to_text(answer.rcode()),
            answers=_records(answer.answer),
            authority=_records(answer.authority),
            additional=_records(answer.additional),
            authoritative=bool(answer.flags & dns.flags.AA),
            truncated=bool(answer.flags & dns.flags.TC),
        )

    def _exchange(self, query: Message, transport: Transport) -> Message:
        if transport == "tcp":
            return dns.query.tcp(query, self.host, timeout=self.timeout, port=self.port)
        return dns.query.udp(
            query,
            self.host,
            timeout=self.timeout,
            port=self.port,
            ignore_unexpected=True,
            ignore_errors=True,
        )


def _records(section: Sequence[dns.rrset.RRset]) -> tuple[DnsRecord, ...]:
    return tuple(
        DnsRecord(
            name=str(records.name),
            kind=dns.rdatatype.to_text(records.rdtype),
            ttl=records.ttl,
            data=str(data),
        )
        for records in section
        for data in records
    )
