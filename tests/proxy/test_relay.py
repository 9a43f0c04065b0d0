"""One relay on a loop of its own: any chunking both ways, ends, and the limit on half-closed connections."""

from __future__ import annotations

import select
import socket
import ssl
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from reference.proxy.buffers import BIG_BUFFERS, Buffers
from reference.proxy.loop import Loop
from reference.proxy.relay import Relay
from tests.proxy.running import exactly
from tests.proxy.test_tls_corners import joined, made

SERVER, CLIENT = made(server=True), made(server=False)


class Bridge:
    """``plain`` and ``tls`` are the far ends of a relay; ``ends`` is what it said at its end."""

    def __init__(self, half_closed_idle: float) -> None:
        self.ends: list[OSError | None] = []
        self.over = threading.Event()
        self.crashes: list[Exception] = []
        self._loop = Loop(on_crash=self.crashes.append)
        self._thread = threading.Thread(target=self._loop.run)
        self._thread.start()
        self.plain, near = socket.socketpair()
        self.plain.settimeout(30)
        relayed, self.tls = joined(SERVER, CLIENT)
        near.setblocking(False)
        relayed.setblocking(False)

        def start() -> None:
            Relay(self._loop, plain=near, tls=relayed, on_end=self._end, half_closed_idle=half_closed_idle)

        self._loop.post(start)

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
def bridge(half_closed_idle: float = 60.0) -> Iterator[Bridge]:
    one = Bridge(half_closed_idle)
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


def test_ends_on_both_sides_are_a_clean_end() -> None:
    with bridge() as relayed:
        relayed.plain.sendall(b"bye")
        relayed.plain.shutdown(socket.SHUT_WR)
        assert exactly(relayed.tls, 10) == b"bye"
        relayed.tls.unwrap()
        assert relayed.plain.recv(1) == b""
        assert relayed.over.wait(30)
        assert relayed.ends == [None]


def test_a_half_closed_connection_that_stays_idle_is_reset() -> None:
    with bridge(half_closed_idle=0.2) as relayed:
        relayed.plain.shutdown(socket.SHUT_WR)
        assert relayed.over.wait(30)
        (problem,) = relayed.ends
        assert isinstance(problem, TimeoutError)
        assert relayed.plain.recv(1) == b""  # a socket pair knows no reset


def test_a_half_closed_connection_that_is_used_is_left_alone() -> None:
    with bridge(half_closed_idle=0.5) as relayed:
        relayed.plain.shutdown(socket.SHUT_WR)
        for _ in range(12):
            relayed.tls.sendall(b"tick")
            assert exactly(relayed.plain, 4) == b"tick"
            assert not relayed.over.wait(0.1)


def test_slow_readers_do_not_hold_big_buffers_without_limit() -> None:
    buffers = Buffers()
    big = [buffers.take() for _ in range(BIG_BUFFERS)]
    modest = buffers.take()
    assert len(modest) < len(big[0])
    buffers.give(modest)
    buffers.give(big.pop())
    assert len(buffers.take()) == len(big[0])
