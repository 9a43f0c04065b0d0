"""One relay on a loop of its own: any chunking both ways, ends, and the limit on half-closed connections."""

from __future__ import annotations

import array
import fcntl
import queue
import random
import select
import socket
import ssl
import termios
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference.proxy.buffers import (
    BIG_BUFFER,
    KEPT,
    PIECE,
    RECORD,
    STREAM_BUFFER,
    STREAM_PIECE,
    Buffers,
)
from reference.proxy.bulk import FAST, Bulk
from reference.proxy.loop import Loop, Timer
from reference.proxy.relay import STREAM_TURN, STREAM_TURNS, Relay
from reference.proxy.tls import Tls, reset
from tests.proxy.running import exactly
from tests.proxy.test_tls_corners import made, shake, sockets

SERVER, CLIENT = made(server=True), made(server=False)
SERVER.num_tickets = 0  # the first that it says is what a test has it say
#: How much longer a record of TLS 1.3 is than what it carries.
OVERHEAD = 22


class Bridge:
    """``plain`` and ``tls`` are the far ends of a relay; ``ends`` is what it said at its end.

    ``by_hand``: time passes for it only with :meth:`let_time_pass`. ``heard`` and ``said`` is what the TLS and the
    plain side have said before the relay starts.
    """

    def __init__(
        self, half_closed_idle: float, bulk: Bulk | None, by_hand: bool, *, heard: bytes, said: bytes
    ) -> None:
        self.ends: list[OSError | None] = []
        self.over = threading.Event()
        self.crashes: list[Exception] = []
        self._loop = Loop(on_crash=self.crashes.append)
        self._due: queue.Queue[tuple[float, Timer]] = queue.Queue()
        if by_hand:
            self._loop.later = self._later
        self._thread = threading.Thread(target=self._loop.run)
        self._thread.start()
        self.plain, near = socket.socketpair()
        self.plain.settimeout(30)
        here, there = sockets()
        self._near_tls = here.fileno()
        relayed = Tls(CLIENT, here, server=False)

        def greet() -> None:
            self.tls = SERVER.wrap_socket(there, server_side=True, suppress_ragged_eofs=False)

        greeter = threading.Thread(target=greet)
        greeter.start()
        shake(relayed)
        if heard:
            relayed.flush()
            greeter.join()
            self.tls.sendall(heard)
            relayed.hear(exactly(relayed.sock, len(heard) + OVERHEAD))
        self.plain.sendall(said)
        for sock in (near, here):
            sock.setblocking(False)

        def start() -> None:
            self.relay = Relay(
                self._loop,
                plain=near,
                tls=relayed,
                on_end=self._end,
                half_closed_idle=half_closed_idle,
                bulk=bulk,
            )
            self.relay.start()

        self._loop.post(start)
        greeter.join()

    def _later(self, seconds: float, call: Callable[[], None]) -> Timer:
        timer = Timer(call)
        self._due.put((seconds, timer))
        return timer

    def let_time_pass(self) -> float:
        """Make the next call that is due, whenever that is; in how many seconds it would have been."""
        seconds, timer = self._due.get(timeout=30)
        made = threading.Event()

        def call() -> None:
            if timer.call is not None:
                timer.call()
            made.set()

        self._loop.post(call)
        assert made.wait(30)
        return seconds

    @contextmanager
    def held(self) -> Iterator[None]:
        """Whatever is done meanwhile, the relay finds done, all at once."""
        stands, go_on = threading.Event(), threading.Event()

        def stand() -> None:
            stands.set()
            go_on.wait(30)

        self._loop.post(stand)
        assert stands.wait(30)
        try:
            yield
        finally:
            go_on.set()

    def arrived(self, size: int) -> None:
        """While it is held: wait until so many encrypted bytes are where the relay will find them.

        Sent is not yet there: a busy kernel may take its time between both ends of a connection on one machine.
        """
        waiting = array.array("i", [0])
        deadline = time.monotonic() + 30
        while waiting[0] < size:
            assert time.monotonic() < deadline, f"{waiting[0]} of {size} bytes are there"
            fcntl.ioctl(self._near_tls, termios.FIONREAD, waiting)

    def broken_off(self) -> None:
        """While it is held: wait until the reset is where the relay will find it."""
        poll = select.poll()
        poll.register(self._near_tls, 0)
        assert poll.poll(30_000)

    def break_off(self) -> None:
        """Reset the TLS connection, as a proxy does with a peer that it does not let in."""
        self.tls.setblocking(False)
        reset(self.tls)

    def close(self) -> None:
        self.plain.close()
        self.tls.close()
        assert self.over.wait(30)
        self._loop.post(self._loop.stop)
        self._thread.join()
        assert not self.crashes

    def _end(self, problem: OSError | None) -> None:
        self.ends.append(problem)
        self.over.set()


@contextmanager
def bridge(
    half_closed_idle: float = 60.0,
    bulk: Bulk | None = None,
    *,
    by_hand: bool = False,
    heard: bytes = b"",
    said: bytes = b"",
) -> Iterator[Bridge]:
    one = Bridge(half_closed_idle, bulk, by_hand, heard=heard, said=said)
    try:
        yield one
    finally:
        one.close()


sizes = st.lists(st.sampled_from([1, 2, 1023, 1024, 16_383, 16_384, 16_385, 65_537, 1_048_577]), max_size=5)


def converse(tls: ssl.SSLSocket, chunks: list[bytes], length: int) -> bytes:
    """Send the chunks one by one and read ``length`` bytes meanwhile, in one thread: a TLS socket bears no two."""
    tls.setblocking(False)
    received, waiting = bytearray(), deque(memoryview(chunk) for chunk in chunks)
    while waiting or len(received) < length:
        ready, _, _ = select.select([tls] if not tls.pending() else [], [tls] if waiting else [], [], 30)
        assert ready or waiting or tls.pending(), "nothing more comes"
        with suppress(ssl.SSLWantReadError):
            if len(received) < length:
                received += tls.recv(1 << 16)
        with suppress(ssl.SSLWantWriteError):
            while waiting:
                sent = tls.send(waiting[0])
                waiting[0] = waiting[0][sent:]
                if not waiting[0]:
                    waiting.popleft()
    tls.settimeout(30)
    return bytes(received)


@settings(max_examples=15, deadline=None)
@given(outward=sizes, inward=sizes)
def test_no_byte_is_lost_or_moved_at_any_chunking(outward: list[int], inward: list[int]) -> None:
    out = [bytes([number]) * size for number, size in enumerate(outward, 1)]
    back = [bytes([number]) * size for number, size in enumerate(inward, 101)]
    with bridge() as relayed:
        received: list[bytes] = []
        threads = [
            threading.Thread(target=lambda: received.append(exactly(relayed.plain, sum(inward)))),
            threading.Thread(target=relayed.plain.sendall, args=(b"".join(out),)),
        ]
        for thread in threads:
            thread.start()
        assert converse(relayed.tls, back, sum(outward)) == b"".join(out)
        for thread in threads:
            thread.join(60)
        assert received == [b"".join(back)]


@pytest.fixture
def bulk() -> Iterator[Bulk]:
    crashes: list[Exception] = []
    loops = Bulk(1, on_crash=crashes.append)
    yield loops
    loops.stop()
    assert not crashes


def pour(relayed: Bridge, size: int) -> bool:
    """Send a patterned stream from the TLS to the plain side; whether it arrives as it was."""
    data = random.Random(size).randbytes(1 << 16) * (size >> 16)
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(exactly(relayed.plain, len(data))))
    reader.start()
    relayed.tls.sendall(data)
    reader.join(60)
    return received == [data]


def test_a_stream_moves_to_a_loop_of_its_own_and_loses_nothing(bulk: Bulk) -> None:
    with bridge(bulk=bulk) as relayed:
        relayed.tls.sendall(b"ping")
        assert exactly(relayed.plain, 4) == b"ping"
        assert bulk.carried == []
        while not sum(bulk.carried):
            assert pour(relayed, 1 << 25)
        assert bulk.carried == [1]
        assert pour(relayed, 1 << 24)
        relayed.plain.sendall(b"pong")
        assert exactly(relayed.tls, 4) == b"pong"
    assert bulk.carried == [0]


def test_pieces_as_proxies_send_them_are_a_stream(bulk: Bulk) -> None:
    with bridge(bulk=bulk) as relayed:
        for _ in range(STREAM_TURNS):
            with relayed.held():
                relayed.tls.sendall(bytes(PIECE))
                relayed.arrived((STREAM_TURN // RECORD + 1) * (RECORD + OVERHEAD))
            assert exactly(relayed.plain, PIECE) == bytes(PIECE)
        relayed.plain.sendall(b"pong")
        assert exactly(relayed.tls, 4) == b"pong"
        assert bulk.carried == [1]


def test_a_stream_is_cut_wherever_it_is(bulk: Bulk) -> None:
    for already in (0, 1):
        with bridge(bulk=bulk) as relayed:
            relayed.tls.sendall(b"ping")
            assert exactly(relayed.plain, 4) == b"ping"
            while already and not sum(bulk.carried):
                assert pour(relayed, 1 << 25)
            reason = ConnectionAbortedError("enough")
            relayed.relay.cut(reason)
            assert relayed.over.wait(30)
            relayed.relay.cut(ConnectionAbortedError("too late"))
            assert relayed.ends == [reason]
    assert bulk.carried == [0]


@pytest.mark.parametrize("heard", [b"", b"early"])
@pytest.mark.parametrize("said", [b"", b"first words", b"a stream" * 10_000])
def test_what_was_said_before_the_start_is_passed_on(heard: bytes, said: bytes) -> None:
    with bridge(heard=heard, said=said) as relayed:
        assert exactly(relayed.plain, len(heard)) == heard
        assert exactly(relayed.tls, len(said)) == said


def test_ends_on_both_sides_are_a_clean_end() -> None:
    with bridge() as relayed:
        relayed.plain.sendall(b"bye")
        relayed.plain.shutdown(socket.SHUT_WR)
        assert exactly(relayed.tls, 10) == b"bye"
        relayed.tls.unwrap()
        assert relayed.plain.recv(1) == b""
        assert relayed.over.wait(30)
        assert relayed.ends == [None]


def test_a_half_closed_connection_is_left_alone_while_it_is_used_and_reset_when_it_is_not() -> None:
    with bridge(half_closed_idle=60.0, by_hand=True) as relayed:
        relayed.plain.shutdown(socket.SHUT_WR)
        for _ in range(3):
            relayed.tls.sendall(b"tick")
            assert exactly(relayed.plain, 4) == b"tick"
            assert relayed.let_time_pass() == 60.0
            assert not relayed.ends
        assert relayed.let_time_pass() == 60.0
        assert relayed.over.wait(30)
        (problem,) = relayed.ends
        assert isinstance(problem, TimeoutError)
        assert relayed.plain.recv(1) == b""  # a socket pair knows no reset


@pytest.mark.parametrize("peer_first", [False, True])
@pytest.mark.parametrize("last", [b"hello", b"hello" * 10_000, b""])
def test_a_peer_that_breaks_off_before_a_word_refuses_us_whatever_meets_it_first(
    peer_first: bool, last: bytes
) -> None:
    """A read, a write, or the end of what we have to say: all find the same reset, in any order."""
    with bridge() as relayed:

        def speak() -> None:
            relayed.plain.sendall(last) if last else relayed.plain.shutdown(socket.SHUT_WR)

        with relayed.held():
            for deed in (relayed.break_off, speak) if peer_first else (speak, relayed.break_off):
                deed()
            relayed.broken_off()
        assert relayed.over.wait(30)
        assert relayed.ends != [None]
        assert relayed.relay.refused


def test_a_peer_that_has_answered_does_not_refuse_us_when_it_breaks_off() -> None:
    with bridge() as relayed:
        relayed.tls.sendall(b"word")
        assert exactly(relayed.plain, 4) == b"word"
        with relayed.held():
            relayed.plain.sendall(b"hello")
            relayed.break_off()
            relayed.broken_off()
        assert relayed.over.wait(30)
        assert not relayed.relay.refused


def test_a_client_that_breaks_off_is_not_refused_by_the_peer() -> None:
    with bridge() as relayed:
        with relayed.held():
            relayed.tls.sendall(b"too late")
            relayed.arrived(len(b"too late") + OVERHEAD)
            relayed.plain.close()
        assert relayed.over.wait(30)
        assert not relayed.relay.refused


def test_slow_readers_do_not_hold_big_buffers_without_limit() -> None:
    buffers = Buffers()
    big = [buffers.keep() for _ in range(KEPT // BIG_BUFFER)]
    modest = buffers.keep()
    assert len(modest) < len(big[0])
    assert len(buffers.current) == len(modest)
    buffers.give(modest)
    buffers.give(big.pop())
    assert len(buffers.current) == len(big[0])


def test_stuck_streams_keep_as_little_as_stuck_conversations() -> None:
    buffers = Buffers(STREAM_BUFFER, STREAM_PIECE)
    kept = [len(buffers.keep()) for _ in range(KEPT // STREAM_BUFFER + 1)]
    assert kept[:-1] == [STREAM_BUFFER] * (KEPT // STREAM_BUFFER)
    assert STREAM_PIECE < kept[-1] < STREAM_BUFFER


def test_only_so_many_streams_keep_memory_for_large_pieces(bulk: Bulk) -> None:
    def one_more() -> tuple[Loop, int]:
        loop = bulk.take()
        assert loop is not None
        return loop, bulk.piece(loop)

    came = [one_more() for _ in range(FAST + 1)]
    assert [piece for _, piece in came] == [STREAM_PIECE] * FAST + [PIECE]
    for loop, _ in came[:2]:
        bulk.leave(loop)
    assert one_more()[1] == STREAM_PIECE


def test_no_two_hold_one_buffer() -> None:
    buffers = Buffers()
    held = [buffers.keep() for _ in range(3)]
    for buffer in held[:2]:
        buffers.give(buffer)
    held = [held[2], *(buffers.keep() for _ in range(KEPT // BIG_BUFFER + 2))]
    assert len({id(buffer.obj) for buffer in held}) == len(held)
