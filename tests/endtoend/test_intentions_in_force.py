"""An intention stops and readmits traffic between two built-in proxies, and outlives a killed agent."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agents import Agent, running_agent
from tests.ports import free_port
from tests.waiting import DEADLINE, eventually

pytestmark = pytest.mark.timeout(300)


@contextlib.contextmanager
def echo() -> Iterator[int]:
    """The port of an application that sends back the first bytes of each connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection, contextlib.suppress(OSError):
                        connection.settimeout(DEADLINE)
                        connection.sendall(connection.recv(64))

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(DEADLINE)


def answers(port: int) -> bool:
    """Whether something comes back on a new connection."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE) as connection:
            connection.sendall(b"hello")
            return connection.recv(64) == b"hello"
    except OSError:
        return False


def test_traffic_follows_the_intention(tmp_path: Path) -> None:
    upstream = free_port()
    with echo() as application, running_agent(tmp_path, *definitions(application, upstream)) as running:
        running.healthy("db")
        eventually(lambda: answers(upstream), "an answer through both proxies")
        intention = deny(running)
        eventually(lambda: not answers(upstream), "a refusal")
        running.kill()
        running.start()
        assert [each["ID"] for each in running.get("/v1/connect/intentions")] == [intention]
        assert not answers(upstream)
        running.client.delete(f"/v1/connect/intentions/{intention}").raise_for_status()
        eventually(lambda: answers(upstream), "an answer again")


def deny(running: Agent) -> str:
    body = {"SourceName": "web", "DestinationName": "db", "Action": "deny"}
    answer = running.client.post("/v1/connect/intentions", json=body)
    answer.raise_for_status()
    return str(answer.json()["ID"])


def definitions(application: int, upstream: int) -> list[dict[str, object]]:
    upstreams = [{"destination_name": "db", "local_bind_port": upstream}]
    return [
        {"name": "db", "port": application, "connect": {"proxy": {}}},
        {"name": "web", "port": free_port(), "connect": {"proxy": {"upstreams": upstreams}}},
    ]
