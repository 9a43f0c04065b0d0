"""The HTTP client: every way to end a body, kept-alive connections, cursors, pauses, a unix socket."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference.proxy.api import Agent, AgentError, Connection
from reference.proxy.watch import LONGEST_PAUSE, next_cursor, pause_before


@contextmanager
def server(listener: socket.socket, *conversations: list[bytes]) -> Iterator[list[bytes]]:
    """Answers the requests of each connection with what its conversation says, then closes it."""
    heard: list[bytes] = []

    def serve() -> None:
        for conversation in conversations:
            connection, _ = listener.accept()
            with connection:
                for answer in conversation:
                    heard.append(connection.recv(65_536))
                    connection.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield heard
    finally:
        thread.join(30)
        listener.close()


def tcp() -> tuple[socket.socket, Agent]:
    listener = socket.create_server(("127.0.0.1", 0))
    return listener, Agent(port=listener.getsockname()[1], headers=(("X-Consul-Token", "t"),))


BODIES = {
    "with a length": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Consul-Index: 7\r\n\r\nhello",
    "in chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Consul-Index: 7\r\n\r\n"
    b"2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\nTrailer: z\r\n\r\n",
    "until the end": b"HTTP/1.1 200 OK\r\nX-Consul-Index: 7\r\n\r\nhello",
    "of HTTP/1.0": b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\nx-consul-index: 7\r\n\r\nhello",
}


@pytest.mark.parametrize("body", BODIES)
def test_bodies(body: str) -> None:
    listener, agent = tcp()
    connection = Connection(agent)
    with server(listener, [BODIES[body]]) as heard:
        reply = connection.request("GET", "/v1/x?y=z")
        connection.close()
    assert (reply.status, reply.body, reply.headers["x-consul-index"]) == (200, b"hello", "7")
    assert heard[0].startswith(b"GET /v1/x?y=z HTTP/1.1\r\n")
    assert b"\r\nX-Consul-Token: t\r\n" in heard[0]


def test_a_connection_is_kept_and_replaced_when_the_agent_has_closed_it() -> None:
    listener, agent = tcp()
    connection = Connection(agent)
    whole = BODIES["with a length"]
    with server(listener, [whole, whole], [whole]):
        for _ in range(3):
            assert connection.request("GET", "/").body == b"hello"
        connection.close()


@pytest.mark.parametrize(
    "answer",
    [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\n"],
)
def test_half_an_answer_is_an_error(answer: bytes) -> None:
    listener, agent = tcp()
    with (
        server(listener, [answer]),
        pytest.raises(AgentError, match=f"GET http://127.0.0.1:{agent.port}/v1/x: "),
    ):
        Connection(agent).request("GET", "/v1/x?secret")


def test_nobody_there_is_an_error() -> None:
    listener, agent = tcp()
    listener.close()
    with pytest.raises(AgentError, match="refused"):
        Connection(agent).request("GET", "/")


def test_a_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "agent.sock")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    connection = Connection(Agent(socket_path=path))
    with server(listener, [BODIES["with a length"]]):
        assert connection.request("GET", "/").body == b"hello"
        connection.close()


def test_a_waiting_request_can_be_cut() -> None:
    listener, agent = tcp()
    connection = Connection(agent)
    problems: list[AgentError] = []

    def ask() -> None:
        try:
            connection.request("GET", "/", timeout=60)
        except AgentError as problem:
            problems.append(problem)

    asker = threading.Thread(target=ask)
    asker.start()
    accepted, _ = listener.accept()
    with accepted:
        assert accepted.recv(1000)
        connection.cut()
        asker.join(30)
    listener.close()
    assert len(problems) == 1


@pytest.mark.parametrize(
    ("headers", "previous", "cursor"),
    [
        ({"x-consul-index": "7"}, "", "index=7"),
        ({"x-consul-index": "7"}, "index=6", "index=7"),
        ({"x-consul-index": "6"}, "index=7", ""),
        ({"x-consul-index": "0"}, "", ""),
        ({"x-consul-index": "-1"}, "", ""),
        ({}, "index=7", ""),
        ({"x-consul-contenthash": "a1"}, "hash=b2", "hash=a1"),
    ],
)
def test_cursors(headers: dict[str, str], previous: str, cursor: str) -> None:
    assert next_cursor(headers, previous) == cursor


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_pauses_grow_to_a_limit(failures: int, chance: float) -> None:
    pause = pause_before(failures, chance)
    assert 0 < pause <= LONGEST_PAUSE * 1.25
    assert pause <= pause_before(failures + 1, chance)
