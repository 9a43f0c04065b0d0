"""The form of DNS: from the bytes of a query to the bytes of an answer that its client can take. Pure.

A client without EDNS takes 512 bytes over UDP, and is given a few of many records only (``udp_answer_limit``), so
that many clients spread over the instances. What does not fit is left out in this order: the additional records,
which a client can ask for; then answers, and then the reply says that it is truncated.
"""

from __future__ import annotations

import io
import logging
import struct
from collections.abc import Iterable, Sequence

import dns.exception
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rrset
from dns.message import Message
from dns.rcode import Rcode
from dns.rdataclass import RdataClass

from reference.config.model import DnsOptions
from reference.dns.records import Record
from reference.dns.zone import Reply, Zone

_log = logging.getLogger("dns")

_HEADER = 12
_PLAIN_UDP = 512
#: The most that fits into a datagram, and into a message.
_LARGEST_UDP = 65507
_LARGEST = 65535
#: More answers than this are never put into 512 bytes.
_MOST_PLAIN_ANSWERS = 8


class Responder:
    """Answers queries from a zone."""

    def __init__(self, zone: Zone, options: DnsOptions) -> None:
        self._zone = zone
        self._options = options

    def respond(self, wire: bytes, *, stream: bool, client: str = "") -> bytes | None:
        """The answer to the message ``wire``, which came from the address ``client``, by TCP if ``stream``.

        None for what deserves no answer.
        """
        # An answer to an answer could go on for ever.
        if len(wire) < _HEADER or wire[2] & 0x80:
            return None
        try:
            query = dns.message.from_wire(wire)
        except (dns.exception.DNSException, ValueError):
            return _format_error(wire)
        response = dns.message.make_response(query, our_payload=query.payload)
        reply = self._reply(query, client)
        response.set_rcode(reply.rcode)
        if reply.authoritative:
            response.flags |= dns.flags.AA
        return self._fit(response, reply, _limit(query, stream=stream))

    def _reply(self, query: Message, client: str) -> Reply:
        if query.opcode() != dns.opcode.QUERY:
            return _refusal(Rcode.NOTIMP)
        if len(query.question) != 1:
            return _refusal(Rcode.FORMERR)
        if query.edns > 0:
            return _refusal(Rcode.BADVERS)
        (question,) = query.question
        if question.rdclass not in (RdataClass.IN, RdataClass.ANY):
            return _refusal(Rcode.REFUSED)
        try:
            return self._zone.answer(question.name, question.rdtype, client=client)
        except dns.exception.DNSException as error:
            # A name or address of the catalog that DNS cannot say.
            _log.error("%s cannot be answered: %s", question.name, error)
            return _refusal(Rcode.SERVFAIL)

    def _fit(self, response: Message, reply: Reply, limit: int) -> bytes:
        answers = reply.answers
        if limit == _PLAIN_UDP and reply.interchangeable:
            most = min(self._options.udp_answer_limit, _MOST_PLAIN_ANSWERS)
            answers = answers[:most]
            if len(answers) < len(reply.answers) and self._options.enable_truncate:
                response.flags |= dns.flags.TC
        additional = _concerned(reply.additional, (*answers, *reply.authority))
        response.authority = _rrsets(reply.authority)
        for extra in (additional, ()):
            wire = self._render(response, answers, extra, limit)
            if wire is not None:
                return wire
        response.flags |= dns.flags.TC
        fits, too_many = 0, len(answers)
        best = b""
        while too_many - fits > 1:
            middle = (fits + too_many) // 2
            wire = self._render(response, answers[:middle], (), limit)
            if wire is None:
                too_many = middle
            else:
                fits, best = middle, wire
        return best or self._render(response, (), (), limit) or b""

    def _render(
        self, response: Message, answers: Sequence[Record], additional: Sequence[Record], limit: int
    ) -> bytes | None:
        """The message with these records, or None when it is longer than ``limit``."""
        response.answer, response.additional = _rrsets(answers), _rrsets(additional)
        try:
            if self._options.disable_compression:
                return _uncompressed(response, limit)
            return response.to_wire(max_size=limit)
        except dns.exception.TooBig:
            return None


def _refusal(rcode: Rcode) -> Reply:
    return Reply(rcode=rcode, authoritative=False)


def _limit(query: Message, *, stream: bool) -> int:
    """How many bytes the client takes."""
    if stream:
        return _LARGEST
    return min(max(query.payload if query.edns >= 0 else 0, _PLAIN_UDP), _LARGEST_UDP)


def _concerned(additional: Iterable[Record], given: Iterable[Record]) -> tuple[Record, ...]:
    """The additional records, without those that are about a target (SRV, NS) that is not given."""
    targets = {record.data.target for record in given if hasattr(record.data, "target")}
    return tuple(record for record in additional if not targets or record.name in targets)


def _uncompressed(response: Message, limit: int) -> bytes:
    """The message with every name in full, which the library only writes short. Raises dns.exception.TooBig."""
    file = io.BytesIO()
    for question in response.question:
        question.name.to_wire(file)
        file.write(struct.pack("!HH", question.rdtype, question.rdclass))
    extra = [] if response.opt is None else [response.opt]
    sections = response.answer, response.authority, [*response.additional, *extra]
    counts = [sum(rrset.to_wire(file) for rrset in section) for section in sections]
    header = response.id, response.flags, len(response.question), *counts
    wire = struct.pack("!6H", *header) + file.getvalue()
    if len(wire) > limit:
        raise dns.exception.TooBig
    return wire


def _rrsets(records: Iterable[Record]) -> list[dns.rrset.RRset]:
    """Records of one name and type together, in the order in which they come first."""
    sets: dict[object, dns.rrset.RRset] = {}
    for record in records:
        key = record.name, record.data.rdtype
        if key not in sets:
            sets[key] = dns.rrset.RRset(record.name, RdataClass.IN, record.data.rdtype)
        sets[key].add(record.data, record.ttl)
    return list(sets.values())


def _format_error(wire: bytes) -> bytes:
    """The header of an answer to what cannot be read beyond its own header."""
    response = Message(id=int.from_bytes(wire[:2], "big"))
    response.flags = dns.flags.QR | (int.from_bytes(wire[2:4], "big") & dns.flags.RD)
    response.set_opcode(dns.opcode.from_flags(int.from_bytes(wire[2:4], "big")))
    response.set_rcode(Rcode.FORMERR)
    return response.to_wire()
