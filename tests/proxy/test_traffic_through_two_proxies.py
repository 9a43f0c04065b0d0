"""Bytes through two proxies: whole, in order, in both directions, and what happens at the end of a stream."""

from __future__ import annotations

import hashlib
import random
import socket
import struct
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.proxy.running import Household, exactly, is_idle
from tests.proxy.standin import StandIn
from tests.proxy.worlds import World
from tests.waiting import eventually

MEGABYTES = 64


def test_echo(household: Household) -> None:
    with household.client() as sock:
        for message in (b"a", b"hello", b"x" * 100_000):
            sock.sendall(message)
            assert exactly(sock, len(message)) == message


def test_a_stream_of_64_mib_arrives_whole_in_both_directions_at_once(household: Household) -> None:
    block = random.Random(1).randbytes(1 << 20)
    with household.client() as sock:
        sender = threading.Thread(target=sock.sendall, args=(block * MEGABYTES,))
        sender.start()
        received = hashlib.sha256()
        for _ in range(MEGABYTES):
            received.update(exactly(sock, len(block)))
        sender.join()
    assert received.hexdigest() == hashlib.sha256(block * MEGABYTES).hexdigest()


def test_no_byte_is_lost_or_moved_however_it_is_cut(standin: StandIn) -> None:
    """Chunks of any size, sent one by one, while the echo is read in chunks of any size."""
    with Household(standin) as household, household.client() as sock:

        @settings(max_examples=25, deadline=None)
        @given(
            sent=st.lists(
                st.sampled_from([1, 5, 1_460, 16_383, 16_384, 16_385, 70_000]), min_size=1, max_size=8
            ),
            read=st.sampled_from([1_000, 16_384, 65_536, 1 << 20]),
            seed=st.integers(0, 1 << 30),
        )
        def exchange(sent: list[int], read: int, seed: int) -> None:
            data = random.Random(seed).randbytes(sum(sent))
            pieces, start = [], 0
            for size in sent:
                pieces.append(data[start : start + size])
                start += size
            sender = threading.Thread(target=lambda: [sock.sendall(piece) for piece in pieces])
            sender.start()
            received = bytearray()
            while len(received) < len(data):
                received += sock.recv(min(read, len(data) - len(received)))
            sender.join()
            assert bytes(received) == data

        exchange()


def test_a_slow_reader_loses_nothing(household: Household) -> None:
    """The sender runs into back-pressure of every buffer on the way before the reader begins."""
    block = random.Random(2).randbytes(1 << 20)
    sent = 0
    with household.client() as sock:
        sock.setblocking(False)
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline:
            try:
                sent += sock.send(block[sent % len(block) :])
            except BlockingIOError:
                if sent > 4 << 20:
                    break
        sock.settimeout(45)
        sock.shutdown(socket.SHUT_WR)
        expected = (block * (sent // len(block) + 1))[:sent] + b"that was all"
        assert exactly(sock, len(expected) + 1) == expected


def test_an_end_of_the_request_reaches_the_application_and_its_late_answer_the_client(
    household: Household,
) -> None:
    with household.client() as sock:
        sock.sendall(b"question")
        sock.shutdown(socket.SHUT_WR)
        assert exactly(sock, 100) == b"questionthat was all"


def test_an_end_of_the_answer_reaches_the_client_and_its_late_request_the_application(world: World) -> None:
    late = threading.Event()
    heard: list[bytes] = []

    def end_first(connection: socket.socket) -> None:
        connection.sendall(b"hi")
        connection.shutdown(socket.SHUT_WR)
        heard.append(exactly(connection, 1 << 20))
        late.set()

    with Household(world, serve=end_first) as household, household.client() as sock:
        assert exactly(sock, 100) == b"hi"
        request = b"late" * 50_000
        sock.sendall(request)
        sock.shutdown(socket.SHUT_WR)
        assert late.wait(45)
        assert heard == [request]


def test_half_closes_while_the_other_direction_is_busy_break_nothing(household: Household) -> None:
    """A close_notify goes out in the middle of a stream that comes in: the case in which ssl's unwrap() fails."""
    data = random.Random(3).randbytes(3 << 20)

    def talk() -> None:
        with household.client() as sock:
            reader: list[bytes] = []
            thread = threading.Thread(target=lambda: reader.append(exactly(sock, len(data) + 100)))
            thread.start()
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            thread.join()
            results.append(reader == [data + b"that was all"])

    results: list[bool] = []
    talkers = [threading.Thread(target=talk) for _ in range(8)]
    for talker in talkers:
        talker.start()
    for talker in talkers:
        talker.join()
    assert results == [True] * 8


def test_a_reset_of_the_client_reaches_the_application(world: World) -> None:
    ends: list[str] = []

    def until_it_ends(connection: socket.socket) -> None:
        try:
            while connection.recv(1000):
                continue
            ends.append("EOF")
        except ConnectionResetError:
            ends.append("reset")

    with Household(world, serve=until_it_ends) as household:
        sock = household.client()
        sock.sendall(b"hello")
        eventually(lambda: household.application.connections, "a connection to the application")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
        eventually(lambda: ends, "the end of the connection")
        assert ends == ["reset"]


def test_a_reset_of_the_application_reaches_the_client(world: World) -> None:
    def reset(connection: socket.socket) -> None:
        connection.recv(10)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with Household(world, serve=reset) as household, household.client() as sock:
        sock.sendall(b"hello")
        with pytest.raises(ConnectionResetError):
            sock.recv(10)


def test_a_cut_tls_stream_is_a_reset_for_the_application_not_an_end(world: World) -> None:
    """A FIN without close_notify may be forged: the application must not take what it has for the whole."""
    ends: list[str] = []

    def until_it_ends(connection: socket.socket) -> None:
        try:
            while connection.recv(1000):
                continue
            ends.append("EOF")
        except ConnectionResetError:
            ends.append("reset")

    with Household(world, serve=until_it_ends) as household:
        with household.peer(household.context_of("web")) as peer:
            peer.sendall(b"half of a mess")
            eventually(lambda: household.application.connections, "a connection to the application")
            socket.socket.shutdown(peer, socket.SHUT_WR)
            eventually(lambda: ends, "the end of the connection")
        assert ends == ["reset"]


def test_many_connections_at_once(household: Household) -> None:
    socks = [household.client() for _ in range(100)]
    for number, sock in enumerate(socks):
        sock.sendall(b"%05d" % number)
    assert [exactly(sock, 5) for sock in socks] == [b"%05d" % number for number in range(100)]
    for sock in socks:
        sock.close()


def test_an_idle_proxy_uses_no_cpu(standin: StandIn) -> None:
    with Household(standin) as household, household.client() as sock:
        sock.sendall(b"x")
        assert exactly(sock, 1) == b"x"
        sock.shutdown(socket.SHUT_WR)  # a hung-up direction must not keep the loop awake
        for proxy in (household.web_proxy, household.echo_proxy):
            pid = proxy.process.pid
            # Once it is: there is some work left of the beginning, and every wake-up costs more on a busy machine.
            eventually(lambda pid=pid: is_idle(pid, 0.01, during=1.0), "a second without work")
