"""A real redis-server as the service, reached through the upstream port of ``web``: the document's own example."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import redis

from tests.agents import Agent, connect, running_agent
from tests.ports import free_port
from tests.waiting import DEADLINE, eventually

REDIS = shutil.which("redis-server")
pytestmark = [
    pytest.mark.skipif(REDIS is None, reason="redis-server is not installed (Debian's package redis-server)"),
    pytest.mark.timeout(300),
]

KEYS = 1_000_000
BATCH = 20_000
MIB = 1 << 20


@contextlib.contextmanager
def redis_server(folder: Path) -> Iterator[int]:
    port = free_port()
    assert REDIS is not None
    arguments = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    with (folder / "redis.log").open("wb") as log:
        process = subprocess.Popen([REDIS, *arguments], stdout=log, stderr=log)
    try:
        yield port
    finally:
        process.kill()
        process.wait()


class Mesh:
    """redis behind its proxy, and the port on which web's proxy offers it."""

    def __init__(self, running: Agent, redis_port: int, upstream_port: int) -> None:
        self.agent, self.redis_port, self.upstream_port = running, redis_port, upstream_port


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    folder = tmp_path_factory.mktemp("mesh")
    upstream = free_port()
    with redis_server(folder) as port:
        service = {"name": "redis", "port": port, "connect": {"proxy": {}}}
        upstreams = [{"destination_name": "redis", "local_bind_port": upstream}]
        web = {"name": "web", "port": free_port(), "connect": {"proxy": {"upstreams": upstreams}}}
        with running_agent(folder, service, web) as running:
            running.healthy("redis")
            mesh = Mesh(running, port, upstream)
            eventually(lambda: answers(upstream), "an answer of redis through the upstream port")
            yield mesh


def answers(port: int) -> bool:
    try:
        with redis.Redis(port=port, socket_timeout=DEADLINE) as client:
            return bool(client.ping())
    except redis.ConnectionError:
        return False


def exchange(connection: socket.socket, request: bytes, expected: bytes) -> None:
    """Send all and read all at once, as neither side may wait for the other; compare to the byte."""
    writer = threading.Thread(target=connection.sendall, args=(request,))
    writer.start()
    received = bytearray(len(expected))
    view = memoryview(received)
    while view:
        count = connection.recv_into(view)
        assert count, f"the connection ended {len(view)} bytes early"
        view = view[count:]
    writer.join()
    assert received == expected


def commands(requests: Iterable[tuple[bytes, ...]]) -> bytes:
    return b"".join(
        b"*%d\r\n%b" % (len(words), b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words))
        for words in requests
    )


def bulk(value: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(value), value)


def test_a_million_keys_set_and_read_back_in_pipelines(mesh: Mesh) -> None:
    with connect(mesh.upstream_port) as connection:
        for first in range(0, KEYS, BATCH):
            numbers = range(first, first + BATCH)
            pairs = [(b"key:%d" % n, b"value:%d" % (n * 7919)) for n in numbers]
            exchange(connection, commands((b"SET", *pair) for pair in pairs), b"+OK\r\n" * BATCH)
            exchange(
                connection, commands((b"GET", key) for key, _ in pairs), b"".join(bulk(v) for _, v in pairs)
            )
    with redis.Redis(port=mesh.redis_port) as direct:
        assert direct.dbsize() >= KEYS


def test_a_value_of_512_mib_streams_in_and_out_unchanged(mesh: Mesh) -> None:
    block, blocks = os.urandom(MIB), 512
    sent, received = hashlib.sha256(), hashlib.sha256()
    with connect(mesh.upstream_port) as connection:
        connection.sendall(b"*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n$%d\r\n" % (blocks * MIB))
        for number in range(blocks):
            # Each block differs, so that one that is lost, doubled or swapped shows.
            piece = number.to_bytes(4, "big") + block[4:]
            sent.update(piece)
            connection.sendall(piece)
        connection.sendall(b"\r\n")
        with connection.makefile("rb", buffering=MIB) as stream:
            assert stream.readline() == b"+OK\r\n"
            connection.sendall(commands([(b"GET", b"big")]))
            assert stream.readline() == b"$%d\r\n" % (blocks * MIB)
            for _ in range(blocks):
                received.update(stream.read(MIB))
            assert stream.read(2) == b"\r\n"
    with redis.Redis(port=mesh.redis_port) as direct:
        direct.delete("big")
    assert received.digest() == sent.digest()


def test_a_blocked_client_and_a_busy_one_outlive_a_killed_agent(mesh: Mesh) -> None:
    """Kill -9 and restart in the middle: the proxies keep their pids, the connections lose no byte."""
    before = mesh.agent.running()
    assert set(before) == {"redis-proxy", "web-proxy"}
    payload = os.urandom(8 * MIB)
    popped: list[object] = []
    under_way, enough = threading.Event(), threading.Event()
    echoed = [0]

    def wait_for_payload() -> None:
        with redis.Redis(port=mesh.upstream_port, socket_timeout=DEADLINE) as client:
            popped.append(client.blpop(["parcel"], timeout=int(DEADLINE)))

    def chatter() -> None:
        with connect(mesh.upstream_port) as connection:
            while not enough.is_set():
                words = [b"%d:%b" % (echoed[0] + n, payload[: 100 * n]) for n in range(50)]
                exchange(connection, commands((b"ECHO", word) for word in words), b"".join(map(bulk, words)))
                echoed[0] += len(words)
                under_way.set()

    threads = [threading.Thread(target=wait_for_payload), threading.Thread(target=chatter)]
    for thread in threads:
        thread.start()
    with redis.Redis(port=mesh.redis_port) as direct:
        eventually(lambda: direct.info("clients")["blocked_clients"], "the blocked client")
        assert under_way.wait(DEADLINE)
        mesh.agent.kill()
        at_death = echoed[0]
        eventually(lambda: echoed[0] > at_death + 500, "traffic without an agent")
        mesh.agent.start()
        assert mesh.agent.running() == before
        at_return = echoed[0]
        eventually(lambda: echoed[0] > at_return + 500, "traffic under the new agent")
        direct.rpush("parcel", payload)
    enough.set()
    for thread in threads:
        thread.join(DEADLINE)
        assert not thread.is_alive()
    assert popped == [(b"parcel", payload)]
    assert mesh.agent.running() == before
