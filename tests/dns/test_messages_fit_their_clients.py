"""The form of answers: sizes, EDNS, truncation, and queries that are none."""

from __future__ import annotations

import struct
from ipaddress import ip_address

import dns.flags
import dns.message
import dns.opcode
import pytest
from dns.rcode import Rcode
from hypothesis import given, settings
from hypothesis import strategies as st

from reference.catalog.model import Node, Service
from tests.dns.asking import ask, flags, records, responder

ADDRESSES = st.ip_addresses().map(str)
INSTANCES = st.lists(st.tuples(st.one_of(st.just(""), ADDRESSES), st.integers(0, 65535)), max_size=60)
PAYLOADS = st.sampled_from([0, 512, 600, 1232, 4096, 65535])
MESH = responder(Service(id="web", name="web", port=80))
MANY = tuple(
    Service(id=f"m{n}", name="many", port=9000 + n, address=f"10.0.{n // 250}.{n % 250}") for n in range(400)
)


def wire(name: str = "web.service.consul", kind: str = "A", **query: object) -> bytes:
    return dns.message.make_query(name, kind, **query).to_wire()  # type: ignore[arg-type]


@settings(deadline=None)
@given(instances=INSTANCES)
def test_what_is_registered_is_read_back(instances: list[tuple[str, int]]) -> None:
    """Encoding loses and adds nothing: all locations with all their addresses, over TCP."""
    mesh = responder(
        *(Service(id=f"s{n}", name="s", address=a, port=p) for n, (a, p) in enumerate(instances))
    )
    message = ask(mesh, "s.service.consul", "SRV", stream=True)
    addresses = {
        str(rrset.name): str(rrset[0]) for rrset in message.additional if not str(rrset[0]).startswith('"')
    }
    found = {
        (ip_address(addresses[str(each.target)]), each.port) for rrset in message.answer for each in rrset
    }
    assert found == {(ip_address(address or "127.0.0.1"), port) for address, port in instances}
    assert message.rcode() == (Rcode.NOERROR if instances else Rcode.NXDOMAIN)


@settings(deadline=None)
@given(instances=INSTANCES, payload=PAYLOADS, kind=st.sampled_from(["A", "AAAA", "SRV", "ANY", "TXT"]))
def test_an_answer_never_outgrows_its_client(
    instances: list[tuple[str, int]], payload: int, kind: str
) -> None:
    """What is cut off is a part of the whole answer, and a cut for size shows."""
    services = [Service(id=f"s{n}", name="s", address=a, port=p) for n, (a, p) in enumerate(instances)]
    mesh = responder(*services, udp_answer_limit=8)
    edns = {"use_edns": 0, "payload": payload} if payload else {}
    answer = mesh.respond(wire("s.service.consul", kind, **edns), stream=False)
    assert answer is not None
    assert len(answer) <= max(payload, 512)
    message = dns.message.from_wire(answer)
    whole = ask(mesh, "s.service.consul", kind, stream=True)
    given_, all_ = set(records(message.answer)), set(records(whole.answer))
    assert given_ <= all_
    assert message.rcode() == whole.rcode()
    if len(all_) <= 8 or payload > 512:
        assert ("TC" in flags(message)) == (given_ != all_)
    assert "TC" not in flags(whole)


@settings(deadline=None)
@given(data=st.binary(max_size=300))
def test_whatever_arrives_is_answered_or_not(data: bytes) -> None:
    answer = MESH.respond(data, stream=False)
    if len(data) < 12 or data[2] & 0x80:
        assert answer is None
    else:
        assert answer is not None
        assert answer[:2] == data[:2]
        assert flags(dns.message.from_wire(answer)) >= {"QR"}


@settings(deadline=None)
@given(at=st.integers(2, 200), byte=st.integers(0, 255), kind=st.sampled_from(["A", "SRV", "ANY"]))
def test_a_damaged_query_does_no_harm(at: int, byte: int, kind: str) -> None:
    damaged = bytearray(wire(kind=kind, use_edns=0, payload=1232))
    damaged[at % len(damaged)] = byte
    answer = MESH.respond(bytes(damaged), stream=True)
    assert answer is None or dns.message.from_wire(answer).id == int.from_bytes(damaged[:2], "big")


def test_what_cannot_be_read_is_a_format_error() -> None:
    broken = wire()[:-3]
    answer = dns.message.from_wire(MESH.respond(broken, stream=False) or b"")
    assert (answer.rcode(), answer.question) == (Rcode.FORMERR, [])


@pytest.mark.parametrize("questions", [0, 2])
def test_there_is_one_question(questions: int) -> None:
    header, question = wire()[:12], wire()[12:]
    asked = header[:4] + struct.pack("!H", questions) + header[6:] + question * questions
    answer = MESH.respond(asked, stream=False)
    assert answer is not None
    assert answer[3] & 0xF == Rcode.FORMERR


def test_other_operations_are_not_implemented() -> None:
    query = dns.message.make_query("consul", "SOA")
    query.set_opcode(dns.opcode.NOTIFY)
    answer = dns.message.from_wire(MESH.respond(query.to_wire(), stream=False) or b"")
    assert (answer.opcode(), answer.rcode()) == (dns.opcode.NOTIFY, Rcode.NOTIMP)


def test_there_is_one_class() -> None:
    assert ask(MESH, "web.service.consul", rdclass="CH").rcode() == Rcode.REFUSED
    assert ask(MESH, "web.service.consul", rdclass="ANY").rcode() == Rcode.NOERROR


def test_edns_is_answered_in_kind() -> None:
    assert ask(MESH, "web.service.consul").edns == -1
    message = ask(MESH, "web.service.consul", payload=1232)
    assert (message.edns, message.payload) == (0, 1232)
    later = dns.message.from_wire(MESH.respond(wire(use_edns=1), stream=False) or b"")
    assert (later.rcode(), later.edns, later.answer) == (Rcode.BADVERS, 0, [])


def test_a_client_without_edns_gets_a_few_of_many() -> None:
    """The original's way to spread clients; a client with EDNS, or TCP, gets all."""
    mesh = responder(*MANY[:20])
    few = ask(mesh, "many.service.consul")
    assert len(records(few.answer)) == 3
    assert flags(few) == {"QR", "AA", "RD"}
    assert len(records(ask(mesh, "many.service.consul", payload=1232).answer)) == 20
    assert len(records(ask(mesh, "many.service.consul", stream=True).answer)) == 20
    said = ask(responder(*MANY[:20], enable_truncate=True), "many.service.consul")
    assert "TC" in flags(said)


@pytest.mark.parametrize(("limit", "given_"), [(1, 1), (8, 8), (20, 8)])
def test_the_limit_of_udp_answers(limit: int, given_: int) -> None:
    mesh = responder(*MANY[:20], udp_answer_limit=limit)
    assert len(records(ask(mesh, "many.service.consul").answer)) == given_


def test_the_limit_of_addresses_holds_for_all_clients() -> None:
    mesh = responder(*MANY[:20], a_record_limit=5)
    assert len(records(ask(mesh, "many.service.consul", stream=True).answer)) == 5
    assert len(records(ask(mesh, "many.service.consul", "SRV", stream=True).answer)) == 20


def test_additional_records_go_before_answers() -> None:
    """With 1,232 bytes there is room for 30 locations, but not for their addresses."""
    mesh = responder(*MANY[:20])
    roomy, tight = (ask(mesh, "many.service.consul", "SRV", payload=size) for size in (4096, 1232))
    assert len(records(roomy.answer)) == len(records(tight.answer)) == 20
    assert (len(records(roomy.additional)), tight.additional) == (20, [])
    assert "TC" not in flags(tight)


def test_answers_that_do_not_fit_are_cut_and_said_to_be() -> None:
    mesh = responder(*MANY)
    message = ask(mesh, "many.service.consul", payload=1232)
    assert "TC" in flags(message)
    # Each record takes 16 bytes; one more would not have fitted.
    assert 1232 - 16 <= len(message.wire or b"") <= 1232
    whole = ask(mesh, "many.service.consul", stream=True)
    assert len(records(whole.answer)) == 400


def test_a_name_that_dns_cannot_say_fails_alone() -> None:
    mesh = responder(
        Service(id="bad", name="bad", address="x" * 64),
        Service(id="good", name="good"),
        node=Node(id="n", name="vm", address="127.0.0.1", datacenter="dc1"),
    )
    assert ask(mesh, "bad.service.consul").rcode() == Rcode.SERVFAIL
    assert ask(mesh, "good.service.consul").rcode() == Rcode.NOERROR
