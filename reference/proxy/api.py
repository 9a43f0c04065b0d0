"""The agent's HTTP API, as little of it as a proxy needs: requests on kept-alive connections."""

from __future__ import annotations

import json
import socket
import ssl
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BufferedReader
from typing import Any

REQUEST_TIMEOUT = 10.0


class AgentError(Exception):
    """The agent cannot be reached, or refuses; the message says which."""


class Unreachable(AgentError):
    """The agent cannot be reached, or is not itself: it says nothing about what was asked."""


@dataclass(frozen=True, kw_only=True)
class Agent:
    """How to reach the agent: ``socket_path``, or ``host`` and ``port``; with ``tls`` when it speaks HTTPS."""

    host: str = "127.0.0.1"
    port: int = 8500
    socket_path: str = ""
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    server_name: str = ""
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    def connect(self) -> socket.socket:
        """A connected socket, after the TLS handshake where there is one. :class:`OSError` when it cannot be."""
        if self.socket_path:
            plain = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            plain.settimeout(REQUEST_TIMEOUT)
            plain.connect(self.socket_path)
            return plain
        plain = socket.create_connection((self.host, self.port), REQUEST_TIMEOUT)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if self.tls is None:
            return plain
        return self.tls.wrap_socket(plain, server_hostname=self.server_name or self.host)

    def __str__(self) -> str:
        if self.socket_path:
            return f"unix://{self.socket_path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"


@dataclass(frozen=True, kw_only=True)
class Reply:
    """Status, headers (lower-case names) and body of one answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def expect_success(self) -> None:
        """:class:`AgentError` unless the status is 200."""
        if self.status != 200:
            text = self.body[:500].decode("utf-8", "replace").strip()
            problem = f"Unexpected response code: {self.status} ({text})"
            # An agent that has just started may know neither leader nor authority: 500 is no answer to anything.
            raise Unreachable(problem) if self.status >= 500 else AgentError(problem)

    def json(self) -> Any:
        """The body of a 200 answer, decoded; :class:`AgentError` for any other answer."""
        self.expect_success()
        try:
            return json.loads(self.body)
        except ValueError:
            raise AgentError("the answer is not JSON") from None


class Connection:
    """One HTTP/1.1 connection, reopened when the agent has closed it. For one thread, but for :meth:`cut`."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._socket: socket.socket | None = None
        self._reader: BufferedReader | None = None

    def request(
        self, method: str, path: str, *, body: bytes = b"", timeout: float = REQUEST_TIMEOUT
    ) -> Reply:
        """Ask once; again on a new connection when a kept-alive one turns out to be dead.

        Raises :class:`Unreachable`.
        """
        reused = self._socket is not None
        try:
            return self._exchange(method, path, body, timeout)
        except (OSError, ValueError, EOFError) as problem:
            self.close()
            if not reused or isinstance(problem, TimeoutError):
                raise Unreachable(f"{method} {self._agent}{path.partition('?')[0]}: {problem}") from None
        return self.request(method, path, body=body, timeout=timeout)

    def cut(self) -> None:
        """Wake up a thread that waits for an answer; it gets an :class:`AgentError`."""
        connected = self._socket
        if connected is not None:
            try:
                socket.socket.shutdown(connected, socket.SHUT_RDWR)
            except OSError:
                return  # closed already

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
        if self._socket is not None:
            self._socket.close()
        self._socket = self._reader = None

    def _exchange(self, method: str, path: str, body: bytes, timeout: float) -> Reply:
        if self._socket is None or self._reader is None:
            self._socket = self._agent.connect()
            self._reader = self._socket.makefile("rb")
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self._agent.host}", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in self._agent.headers]
        self._socket.settimeout(timeout)
        self._socket.sendall("\r\n".join([*lines, "", ""]).encode() + body)
        return self._read_reply(self._reader)

    def _read_reply(self, reader: BufferedReader) -> Reply:
        version, status = _line(reader).split(" ", 2)[:2]
        headers: dict[str, str] = {}
        while line := _line(reader):
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        closes = headers.get("connection", "").lower() == "close" or version == "HTTP/1.0"
        if headers.get("transfer-encoding", "").lower() == "chunked":
            content = b"".join(_chunks(reader))
        elif "content-length" in headers:
            content = _exactly(reader, int(headers["content-length"]))
        else:
            content, closes = reader.read(), True
        if closes:
            self.close()
        return Reply(status=int(status), headers=headers, body=content)


class Client:
    """Requests from any thread, on as many kept-alive connections as are in use at once."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._idle: deque[Connection] = deque()

    def get(self, path: str, *, timeout: float = REQUEST_TIMEOUT) -> Any:
        """The decoded answer of a GET; :class:`AgentError` when there is none."""
        return self._ask("GET", path, b"", timeout).json()

    def post(self, path: str, body: Mapping[str, str], *, timeout: float = REQUEST_TIMEOUT) -> Any:
        """The decoded answer of a POST; :class:`AgentError` when there is none."""
        return self._ask("POST", path, json.dumps(body).encode(), timeout).json()

    def put(self, path: str, body: Mapping[str, Any] | None = None) -> None:
        """A PUT whose answer says no more than that it was done; :class:`AgentError` when it was not."""
        reply = self._ask("PUT", path, b"" if body is None else json.dumps(body).encode(), REQUEST_TIMEOUT)
        reply.expect_success()

    def close(self) -> None:
        """Close the connections that are idle."""
        while self._idle:
            self._idle.pop().close()

    def _ask(self, method: str, path: str, body: bytes, timeout: float) -> Reply:
        connection = self._idle.pop() if self._idle else Connection(self._agent)
        reply = connection.request(method, path, body=body, timeout=timeout)
        self._idle.append(connection)
        return reply


def _line(reader: BufferedReader) -> str:
    raw = reader.readline(65_536)
    if not raw.endswith(b"\n"):
        raise EOFError("the agent closed the connection")
    return raw.decode("latin-1").rstrip("\r\n")


def _exactly(reader: BufferedReader, length: int) -> bytes:
    content = reader.read(length)
    if len(content) != length:
        raise EOFError("the agent closed the connection")
    return content


def _chunks(reader: BufferedReader) -> list[bytes]:
    chunks = []
    while length := int(_line(reader).partition(";")[0], 16):
        chunks.append(_exactly(reader, length))
        _line(reader)
    while _line(reader):
        continue  # trailers say nothing that we ask for
    return chunks
