"""The agent's HTTP API, as little of it as a proxy needs: requests on kept-alive connections, and watches.

Deviation from the original (MP-BIP-019): it retried a watch after 5 s x failures^2, at most 180 s; here the first
retry comes after a quarter of a second and the pause doubles up to 30 s, with jitter, so that a restarted agent is
found at once and a missing one costs nothing.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from io import BufferedReader
from typing import Any

from reference.proxy.log import Log

REQUEST_TIMEOUT = 10.0
#: How long the agent may hold a blocking query; it adds up to a sixteenth.
BLOCK_SECONDS = 300

FIRST_PAUSE = 0.25
LONGEST_PAUSE = 30.0
#: An answer quicker than this that brought nothing new, not even an index, did not block: that is a failure.
UNBLOCKED_SECONDS = 0.05


class AgentError(Exception):
    """The agent cannot be reached, or refuses; the message says which."""


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

    def json(self) -> Any:
        """The body of a 200 answer, decoded; :class:`AgentError` for any other answer."""
        if self.status != 200:
            text = self.body[:500].decode("utf-8", "replace").strip()
            raise AgentError(f"Unexpected response code: {self.status} ({text})")
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

        Raises :class:`AgentError`.
        """
        reused = self._socket is not None
        try:
            return self._exchange(method, path, body, timeout)
        except (OSError, ValueError, EOFError) as problem:
            self.close()
            if not reused or isinstance(problem, TimeoutError):
                raise AgentError(f"{method} {self._agent}{path.partition('?')[0]}: {problem}") from None
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

    def get(self, path: str) -> Any:
        """The decoded answer of a GET; :class:`AgentError` when there is none."""
        return self._ask("GET", path, b"")

    def post(self, path: str, body: Mapping[str, str]) -> Any:
        """The decoded answer of a POST; :class:`AgentError` when there is none."""
        return self._ask("POST", path, json.dumps(body).encode())

    def _ask(self, method: str, path: str, body: bytes) -> Any:
        connection = self._idle.pop() if self._idle else Connection(self._agent)
        reply = connection.request(method, path, body=body)
        self._idle.append(connection)
        return reply.json()


def next_cursor(headers: Mapping[str, str], previous: str) -> str:
    """The query parameter that makes the next request wait for news, from the headers of the last answer.

    A content hash is opaque; an index that went backwards starts again from nothing, since it belongs to another
    life of the agent.
    """
    if content_hash := headers.get("x-consul-contenthash"):
        return f"hash={content_hash}"
    index = headers.get("x-consul-index", "")
    if not (index.isascii() and index.isdigit()) or int(index) < 1:
        return ""
    if previous.startswith("index=") and int(index) < int(previous.removeprefix("index=")):
        return ""
    return f"index={index}"


def pause_before(failures: int, chance: float) -> float:
    """Seconds before retry number ``failures`` (from 1); ``chance`` in [0, 1) spreads a crowd of proxies."""
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures - 1, 16)) * (0.75 + chance / 2)


class Watch:
    """Follows one path by blocking queries, on a thread of its own, until :meth:`stop`.

    ``on_change`` gets the decoded answer, on that thread, first of all and whenever its bytes have changed; what it
    raises counts as a failure of the watch. A failure is logged when its reason is a new one, and retried.
    """

    def __init__(
        self,
        agent: Agent,
        *,
        name: str,
        path: str,
        on_change: Callable[[Any], None],
        log: Log,
        block_seconds: int = BLOCK_SECONDS,
    ) -> None:
        self._connection = Connection(agent)
        self._name = name
        self._path = path
        self._on_change = on_change
        self._log = log
        self._block_seconds = block_seconds
        self._stopped = threading.Event()
        threading.Thread(target=self._follow, name=f"watch {name}", daemon=True).start()

    def stop(self) -> None:
        """End the watch; no change is told afterwards but one that is being told now."""
        self._stopped.set()
        self._connection.cut()

    def _follow(self) -> None:
        cursor, seen, reason, failures = "", b"", "", 0
        while not self._stopped.is_set():
            try:
                asked = time.monotonic()
                # Without a cursor the agent has nothing to wait for, though some wait ten minutes for a leaf.
                held = self._block_seconds * 17 / 16 if cursor else 0.0
                reply = self._connection.request("GET", self._url(cursor), timeout=held + REQUEST_TIMEOUT)
                if self._stopped.is_set():
                    break
                answer = reply.json()
                following = next_cursor(reply.headers, cursor)
                if reply.body != seen:
                    self._on_change(answer)
                elif cursor == following != "" and time.monotonic() - asked < UNBLOCKED_SECONDS:
                    raise AgentError("the agent answers blocking queries without blocking")
                cursor, seen, failures = following, reply.body, 0
                if reason:
                    self._log.info(f"consul.watch: Watch (type: {self._name}) works again")
                reason = ""
            except (AgentError, ValueError, OSError) as problem:
                failures += 1
                pause = pause_before(failures, os.urandom(1)[0] / 256)
                if str(problem) != reason and not self._stopped.is_set():
                    reason = str(problem)
                    self._log.err(
                        f"consul.watch: Watch (type: {self._name}) errored: {reason}, retry in {pause:.2g}s"
                    )
                # Another agent may answer next, with a smaller index: ask it without one, lest it makes us wait.
                cursor = ""
                self._stopped.wait(pause)
        self._connection.close()

    def _url(self, cursor: str) -> str:
        if not cursor:
            return self._path
        return f"{self._path}{'&' if '?' in self._path else '?'}{cursor}&wait={self._block_seconds}s"


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
