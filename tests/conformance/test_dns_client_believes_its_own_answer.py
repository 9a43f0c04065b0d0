"""The suite's DNS client: what it reads, what it passes over, and how it says that nobody answered."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import dns.message
import dns.rrset
import pytest

from conformance.instruments.api import Unreachable
from conformance.instruments.dns import DnsClient, DnsRecord
from conformance.instruments.history import History
from tests.waiting import DEADLINE


def client(port: int, timeout: float = DEADLINE) -> DnsClient:
    return DnsClient(port=port, history=History(), timeout=timeout)


@contextmanager
def server(answer: Callable[[bytes], list[bytes]]) -> Iterator[int]:
    """A server for one question by UDP, which sends all that ``answer`` makes of it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(DEADLINE)

        def serve() -> None:
            question, sender = listener.recvfrom(65535)
            for datagram in answer(question):
                listener.sendto(datagram, sender)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(DEADLINE)


def located(question: bytes, port: int) -> bytes:
    response = dns.message.make_response(dns.message.from_wire(question))
    name = response.question[0].name
    response.answer = [dns.rrset.from_text(name, 5, "IN", "SRV", f"1 1 {port} here.node.dc1.consul.")]
    return response.to_wire()


def test_an_answer_is_taken_apart() -> None:
    with server(lambda question: [located(question, 7)]) as port:
        answer = client(port).ask("web.connect.consul", "SRV")
    record = DnsRecord(name="web.connect.consul.", kind="SRV", ttl=5, data="1 1 7 here.node.dc1.consul.")
    assert (answer.status, answer.answers) == ("NOERROR", (record,))
    assert answer.data("SRV") == [record.data]
    assert answer.data("A") == []
    assert not answer.authoritative
    assert not answer.truncated


def test_answers_to_other_questions_are_passed_over() -> None:
    def answers(question: bytes) -> list[bytes]:
        forged = bytes([question[0] ^ 1]) + located(question, 1)[1:]
        return [b"junk", forged, located(question, 2)]

    with server(answers) as port:
        assert client(port).ask("web.connect.consul", "SRV").data("SRV") == ["1 1 2 here.node.dc1.consul."]


def test_silence_is_no_answer() -> None:
    with server(lambda question: []) as port, pytest.raises(Unreachable, match=r"DNS web\.connect\.consul A"):
        client(port, timeout=0.1).ask("web.connect.consul")


def test_nobody_there_by_tcp() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        with pytest.raises(Unreachable):
            client(reserved.getsockname()[1]).ask("web.connect.consul", transport="tcp")
