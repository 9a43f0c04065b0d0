"""The clients. All seconds are of the monotonic clock; a connection that breaks raises :class:`LoadError`.

As a module it is a process of the bench: ``python -m conformance.bench.load PORT GBIT_PER_SECOND`` uploads at that pace
until it is ended, so that its work does not delay the round trips that are timed meanwhile.
"""

from __future__ import annotations

import itertools
import socket
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from conformance.bench.applications import BOTH, CHUNK, COUNTS, DOWNLOAD, QUESTION, UPLOAD
from conformance.instruments.echo import reset

HOST = "127.0.0.1"
MESSAGE = b"x" * 64
#: Transfers run this long before they are measured: windows grow, pools fill.
WARM_UP_SECONDS = 0.3
#: How long a connection may take for anything.
PATIENCE = 30.0
#: Connections that carry a paced load.
PACED_STREAMS = 4


class LoadError(Exception):
    """A proxy did not carry the load; the message says what happened."""


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """Bytes that arrived (in both directions together) within ``seconds``."""

    arrived: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Trips:
    """Quantiles of round trips of 64 bytes, in microseconds."""

    p50: float
    p99: float
    p999: float


def connect(port: int) -> socket.socket:
    """A connection that is given up when it takes too long."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.settimeout(PATIENCE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.connect((HOST, port))
    except OSError:
        sock.close()
        raise
    return sock


def exchange(sock: socket.socket) -> None:
    """One round trip of 64 bytes; :class:`OSError` when it does not come back."""
    sock.sendall(MESSAGE)
    _exactly(sock, len(MESSAGE))


def _exactly(sock: socket.socket, length: int) -> bytes:
    received = sock.recv(length)
    while len(received) < length:
        part = sock.recv(length - len(received))
        if not part:
            raise ConnectionResetError("the connection ended too early")
        received += part
    return received


class Streams:
    """Transfers through ``port``, all of one kind; the application is asked at its own port, ``application``."""

    def __init__(self, port: int, application: int, *, kind: bytes, count: int) -> None:
        self._application = application
        self._kind = kind
        self._received = [0] * count
        self._broken: list[str] = []
        self._closing = False
        self._socks = [connect(port) for _ in range(count)]
        parts: dict[bytes, list[Callable[[socket.socket, int], None]]] = {
            UPLOAD: [self._send],
            DOWNLOAD: [self._receive],
            BOTH: [self._send, self._receive],
        }
        self._threads = [
            threading.Thread(target=self._run, args=(part, number), daemon=True)
            for number in range(count)
            for part in parts[kind]
        ]
        for sock in self._socks:
            sock.sendall(kind)
            sock.settimeout(None)
        for thread in self._threads:
            thread.start()

    def arrived(self) -> int:
        """Bytes that have come to either end so far."""
        if self._broken:
            raise LoadError(f"a stream broke: {self._broken[0]}")
        return sum(self._received) + (0 if self._kind == DOWNLOAD else ask(self._application)[0])

    def close(self) -> None:
        """End all transfers, and wait until the proxies have let go of them."""
        self._closing = True
        for sock in self._socks:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        # A close alone says nothing more after a shutdown, and a receiver that has shut down announces no more room:
        # who was told that there is none would go on asking, for a minute or more.
        for sock in self._socks:
            reset(sock)
        deadline = time.monotonic() + PATIENCE
        while ask(self._application)[1]:
            if time.monotonic() > deadline:
                raise LoadError("a transfer goes on after its client has gone")
            time.sleep(0.01)

    def _run(self, part: Callable[[socket.socket, int], None], number: int) -> None:
        try:
            part(self._socks[number], number)
        except OSError as problem:
            reason = str(problem)
        else:
            reason = "the other end closed it"
        if not self._closing:
            self._broken.append(reason)

    def _send(self, sock: socket.socket, _number: int) -> None:
        data = bytes(CHUNK)
        while True:
            sock.sendall(data)

    def _receive(self, sock: socket.socket, number: int) -> None:
        buffer = bytearray(CHUNK)
        while count := sock.recv_into(buffer):
            self._received[number] += count


def ask(application: int) -> tuple[int, int]:
    """Bytes that the application has swallowed, and transfers that it knows of."""
    with connect(application) as sock:
        sock.sendall(QUESTION)
        swallowed, under_way = COUNTS.unpack(_exactly(sock, COUNTS.size))
        return swallowed, under_way


@contextmanager
def streams(
    port: int, application: int, *, kind: bytes, count: int, warm_up: float = WARM_UP_SECONDS
) -> Iterator[Streams]:
    """Transfers that have warmed up, and end with the block."""
    running = Streams(port, application, kind=kind, count=count)
    try:
        time.sleep(warm_up)
        yield running
    finally:
        running.close()


def transfer(running: Streams, *, seconds: float) -> Transfer:
    """What arrives within ``seconds``, or a little more: something has to."""
    began, before = time.monotonic(), running.arrived()
    while True:
        time.sleep(seconds)
        arrived, took = running.arrived() - before, time.monotonic() - began
        if arrived:
            return Transfer(arrived=arrived, seconds=took)
        if took > PATIENCE:
            raise LoadError(f"nothing arrived within {took:.0f} s")


def trips(port: int, *, seconds: float) -> list[float]:
    """Times of round trips on one connection, in microseconds, after some that warm the path up."""
    taken: list[float] = []
    with connect(port) as sock:
        warm = time.monotonic() + seconds
        for _ in range(100):
            exchange(sock)
            if time.monotonic() > warm:
                break
        ends = time.monotonic() + seconds
        while time.monotonic() < ends or len(taken) < 10:
            began = time.perf_counter()
            exchange(sock)
            taken.append((time.perf_counter() - began) * 1e6)
    return taken


def quantiles(taken: list[float]) -> Trips:
    """The quantiles of at least two times."""
    cuts = statistics.quantiles(taken, n=1000)
    return Trips(p50=cuts[499], p99=cuts[989], p999=cuts[998])


def knock(port: int, *, clients: int, enough: Callable[[int, float], bool]) -> tuple[int, float]:
    """Open a connection, exchange 64 bytes, close it, again and again, by ``clients`` threads.

    ``enough`` is told how many connections there were and how many seconds it took. Both are returned.
    """
    counter, opened = itertools.count(1), [0]
    broken: list[OSError] = []
    began = time.monotonic()

    def run() -> None:
        try:
            while not broken and not enough(opened[0], time.monotonic() - began):
                with connect(port) as sock:
                    exchange(sock)
                opened[0] = next(counter)
        except OSError as problem:
            broken.append(problem)

    _together(run, clients)
    if broken:
        raise LoadError(f"connection {opened[0] + 1} failed: {broken[0]}")
    return next(counter) - 1, time.monotonic() - began


def hold(port: int, *, count: int, clients: int = 4) -> list[socket.socket]:
    """``count`` connections, each used once; the caller closes them."""
    held: list[socket.socket] = []
    broken: list[OSError] = []
    numbers = itertools.count()

    def run() -> None:
        try:
            while not broken and next(numbers) < count:
                sock = connect(port)
                held.append(sock)
                exchange(sock)
        except OSError as problem:
            broken.append(problem)

    _together(run, clients)
    if broken:
        for sock in held:
            sock.close()
        raise LoadError(f"connection {len(held)} of {count} failed: {broken[0]}")
    return held


def _together(run: Callable[[], None], count: int) -> None:
    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def pace(port: int, *, gbit_per_second: float) -> None:
    """Upload at a steady pace until the connections break."""
    data = bytes(CHUNK)
    socks = [connect(port) for _ in range(PACED_STREAMS)]
    for sock in socks:
        sock.sendall(UPLOAD)
    due = time.monotonic()
    for sock in itertools.cycle(socks):
        sock.sendall(data)
        due += CHUNK * 8 / gbit_per_second / 1e9
        time.sleep(max(0.0, due - time.monotonic()))


if __name__ == "__main__":
    with suppress(OSError, KeyboardInterrupt):
        pace(int(sys.argv[1]), gbit_per_second=float(sys.argv[2]))
