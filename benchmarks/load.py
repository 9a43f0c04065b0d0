"""The load and what it arrives at. As a module it is a process of the bench: ``python -m benchmarks.load ROLE PORT``.

Throughput is counted where the bytes arrive. All times are seconds, all rates per second.
"""

from __future__ import annotations

import asyncio
import socket
import statistics
import sys
import threading
import time
from dataclasses import dataclass

CHUNK = 1 << 20
RECEIPT = 1 << 25


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Round trips of 64 bytes, in microseconds."""

    p50: float
    p99: float


def throughput(port: int, *, streams: int, seconds: float) -> float:
    """Gbit/s that arrive at the sink behind ``port``, ``streams`` connections together."""
    data = memoryview(bytearray(CHUNK))
    ends = time.monotonic() + seconds

    def pour(results: list[tuple[int, float]]) -> None:
        with socket.create_connection(("127.0.0.1", port)) as sock:
            began, sent = time.monotonic(), 0
            while time.monotonic() < ends or sent % RECEIPT:
                sock.sendall(data)
                sent += len(data)
            receipts = [_exactly(sock, 8) for _ in range(sent // RECEIPT)]
            arrived = int.from_bytes(receipts[-1], "big")
            assert arrived == sent, f"{sent} bytes sent, {arrived} arrived"
            results.append((arrived, time.monotonic() - began))

    results: list[tuple[int, float]] = []
    pourers = [threading.Thread(target=pour, args=(results,)) for _ in range(streams)]
    for pourer in pourers:
        pourer.start()
    for pourer in pourers:
        pourer.join()
    assert len(results) == streams, "a stream broke"
    return sum(arrived for arrived, _ in results) * 8 / max(took for _, took in results) / 1e9


def latency(port: int, *, seconds: float) -> Latency:
    """Round trips on one connection that is already open."""
    message, taken = b"x" * 64, []
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(200):
            sock.sendall(message)
            _exactly(sock, 64)
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            began = time.perf_counter()
            sock.sendall(message)
            _exactly(sock, 64)
            taken.append((time.perf_counter() - began) * 1e6)
    cuts = statistics.quantiles(taken, n=100)
    return Latency(p50=cuts[49], p99=cuts[98])


def connections(port: int, *, clients: int, seconds: float) -> float:
    """Connections opened, used for one exchange of 64 bytes and closed, by ``clients`` threads."""
    message, counts = b"x" * 64, []
    ends = time.monotonic() + seconds

    def knock() -> None:
        count = 0
        while time.monotonic() < ends:
            with socket.create_connection(("127.0.0.1", port)) as sock:
                sock.sendall(message)
                _exactly(sock, 64)
            count += 1
        counts.append(count)

    knockers = [threading.Thread(target=knock) for _ in range(clients)]
    for knocker in knockers:
        knocker.start()
    for knocker in knockers:
        knocker.join()
    assert len(counts) == clients, "a client broke"
    return sum(counts) / seconds


def _exactly(sock: socket.socket, length: int) -> bytes:
    received = b""
    while len(received) < length:
        part = sock.recv(length - len(received))
        if not part:
            raise EOFError("the connection ended too early")
        received += part
    return received


def _sink(port: int) -> None:
    """Count what comes; say how much it was after each RECEIPT bytes (not all peers pass a half-close on)."""

    def swallow(sock: socket.socket) -> None:
        buffer, total = bytearray(CHUNK), 0
        with sock:
            while count := sock.recv_into(memoryview(buffer)[: RECEIPT - total % RECEIPT]):
                total += count
                if total % RECEIPT == 0:
                    sock.sendall(total.to_bytes(8, "big"))

    with socket.create_server(("127.0.0.1", port), backlog=256) as server:
        while True:
            threading.Thread(target=swallow, args=(server.accept()[0],), daemon=True).start()


class _Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(data)


async def _echo(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(_Echo, "127.0.0.1", port, backlog=256)
    await server.serve_forever()


if __name__ == "__main__":
    role, at = sys.argv[1], int(sys.argv[2])
    if role == "sink":
        _sink(at)
    else:
        asyncio.run(_echo(at))
