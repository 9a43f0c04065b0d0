"""HTTP/1.1 on sockets that listen: requests are read by httptools and answered by an ASGI application.

One connection has one answer under way: what a client sends meanwhile waits, as bytes in the kernel where it is much.
uvicorn does the same and more; to import it took as long as a third of the agent's own modules.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import time
from collections import deque
from collections.abc import Sequence
from http import HTTPStatus
from typing import cast
from urllib.parse import unquote

import httptools

from reference.http.asgi import ASGIApp, Message, Scope

_log = logging.getLogger("http")

#: How much of a body is taken in before somebody asks for it (bytes).
_READ_AHEAD = 64 * 1024
#: How many connections may wait to be taken.
_BACKLOG = 2048
_INVALID = b"Invalid HTTP request received."


class Server:
    """Answers with ``app`` what comes to the sockets. ``idle`` is how long a connection may say nothing (s)."""

    def __init__(self, app: ASGIApp, *, idle: float) -> None:
        self.app = app
        self.idle = idle
        self.ending = False
        self.connections: set[_Connection] = set()
        self._listening: list[asyncio.Server] = []
        self._empty = asyncio.Event()

    async def start(self, sockets: Sequence[socket.socket], *, tls: ssl.SSLContext | None) -> None:
        """Take connections from now on."""
        loop = asyncio.get_running_loop()
        for listener in sockets:
            self._listening.append(
                await loop.create_server(lambda: _Connection(self), sock=listener, ssl=tls, backlog=_BACKLOG)
            )

    async def end(self, *, within: float) -> None:
        """Take no more connections or requests, and give answers that are under way so many seconds."""
        self.ending = True
        for listening in self._listening:
            listening.close()
        for connection in list(self.connections):
            connection.end()
        try:
            async with asyncio.timeout(within):
                await self._emptied()
        except TimeoutError:
            for connection in list(self.connections):
                connection.drop()
            await self._emptied()

    def left(self, connection: _Connection) -> None:
        """One connection less."""
        self.connections.discard(connection)
        self._empty.set()

    async def _emptied(self) -> None:
        while self.connections:
            self._empty.clear()
            await self._empty.wait()


class _Exchange:
    """One request and its answer: the ``receive`` and ``send`` of ASGI."""

    def __init__(self, connection: _Connection, scope: Scope, *, expects: bool, keep_alive: bool) -> None:
        self.scope = scope
        self.keep_alive = keep_alive
        self.complete = False
        self.answered = False
        self._connection = connection
        self._body = bytearray()
        self._news = asyncio.Event()
        self._expects = expects
        self._head = b""
        self._streams = self._chunked = False

    def take(self, piece: bytes) -> None:
        """More of the body."""
        if self.answered:
            return
        self._body += piece
        if len(self._body) > _READ_AHEAD:
            self._connection.pause()
        self._news.set()

    def finish(self) -> None:
        """The request has come in."""
        self.complete = True
        self._news.set()

    def wake(self) -> None:
        """Have whoever waits look again: the client has gone."""
        self._news.set()

    async def receive(self) -> Message:
        """What has come of the body; at its end, that the client has gone or has its answer."""
        if self._expects:
            self._expects = False
            if not self.complete:
                self._connection.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        while not (self._news.is_set() or self._connection.gone or self.answered):
            self._connection.resume()
            await self._news.wait()
        self._news.clear()
        if self._connection.gone or self.answered:
            return {"type": "http.disconnect"}
        body, self._body = bytes(self._body), bytearray()
        return {"type": "http.request", "body": body, "more_body": not self.complete}

    async def send(self, message: Message) -> None:
        """Write head and body; what is for somebody who has gone is dropped."""
        await self._connection.writable()
        if message["type"] == "http.response.start":
            self._head = self._headed(message["status"], message["headers"])
            if self._streams:  # its first piece may be long in coming
                self._connection.write(self._head)
                self._head = b""
            return
        assert not self.answered, "the answer was complete"
        more = message.get("more_body", False)
        piece = self._framed(message.get("body", b""), last=not more)
        self._connection.write(self._head + piece)
        self._head = b""
        if not more:
            self.answered = True
            self._news.set()

    def _headed(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> bytes:
        lines = [b"HTTP/1.1 %d %s" % (status, _phrase(status)), b"date: " + _date()]
        self._streams = status not in (204, 304)
        for name, value in headers:
            if any(forbidden in value for forbidden in b"\r\n\0"):
                raise ValueError(f"the value of the header {name.decode('latin-1')} is more than one line")
            self._streams = self._streams and name != b"content-length"
            lines.append(name + b": " + value)
        # To a client that knows nothing of pieces the end of the connection is the end of the answer.
        self._chunked = self._streams and self.scope["http_version"] != "1.0"
        if self._chunked:
            lines.append(b"transfer-encoding: chunked")
        if self._expects and not self.complete:
            self.keep_alive = (
                False  # nobody said whether the body comes, so what comes next is not to be told
            )
        if not self.keep_alive:
            lines.append(b"connection: close")
        return b"\r\n".join((*lines, b"", b""))

    def _framed(self, body: bytes, *, last: bool) -> bytes:
        if self.scope["method"] == "HEAD":
            return b""
        if not self._chunked:
            return body
        piece = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
        return piece + b"0\r\n\r\n" if last else piece


class _Connection(asyncio.Protocol):
    """One client, and the requests that it sends one after the other."""

    def __init__(self, server: Server) -> None:
        self.gone = False
        self.task: asyncio.Task[None] | None = None
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._exchange: _Exchange
        self._waiting: deque[_Exchange] = deque()
        self._idle: asyncio.TimerHandle | None = None
        self._paused = False
        self._writable = asyncio.Event()
        self._writable.set()

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._server.connections.add(self)
        self._peer, self._own = (_address(transport, name) for name in ("peername", "sockname"))
        self._scheme = "https" if transport.get_extra_info("sslcontext") else "http"
        self._rest()

    def data_received(self, data: bytes) -> None:
        self._stir()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # To go over to another protocol is an offer. It is not taken up: the request is answered, and what
            # comes after it is not understood.
            self._exchange.keep_alive = False
            self.pause()
        except httptools.HttpParserError:
            self._refuse()

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone = True
        self._server.left(self)
        self._stir()
        self._waiting.clear()
        self._writable.set()
        if self.task is not None:
            self._answering.wake()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # What the parser calls.

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._expects = False

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        self._expects = self._expects or (name == b"expect" and value.lower() == b"100-continue")
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        url = httptools.parse_url(self._url)
        scope: Scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": self._parser.get_http_version(),
            "method": self._parser.get_method().decode("ascii"),
            "scheme": self._scheme,
            "path": unquote(url.path.decode("ascii")),
            "raw_path": url.path,
            "query_string": url.query or b"",
            "root_path": "",
            "headers": self._headers,
            "client": self._peer,
            "server": self._own,
        }
        persistent = scope["http_version"] != "1.0" and self._parser.should_keep_alive()
        self._exchange = _Exchange(
            self, scope, expects=self._expects, keep_alive=persistent and not self._server.ending
        )
        if self.task is None:
            self._answer(self._exchange)
        else:
            self._waiting.append(self._exchange)
            self.pause()

    def on_body(self, body: bytes) -> None:
        self._exchange.take(body)

    def on_message_complete(self) -> None:
        self._exchange.finish()
        if self.task is None:  # it was answered before it was complete
            self._rest()

    # What exchanges call.

    def write(self, data: bytes) -> None:
        if not self.gone and not self._transport.is_closing():
            self._transport.write(data)

    async def writable(self) -> None:
        await self._writable.wait()

    def pause(self) -> None:
        if not self._paused and not self.gone:
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read on, unless requests wait already."""
        if self._paused and not self._waiting and not self.gone and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()

    # What the server calls.

    def end(self) -> None:
        """No more requests: a connection without an answer under way is closed."""
        self._waiting.clear()
        if self.task is None:
            self._transport.close()
        else:
            self._answering.keep_alive = False

    def drop(self) -> None:
        """Close without waiting for anything."""
        if self.task is not None:
            self.task.cancel()
        self._transport.abort()

    def _answer(self, exchange: _Exchange) -> None:
        self._answering = exchange
        self.task = self._loop.create_task(self._answered(exchange))

    async def _answered(self, exchange: _Exchange) -> None:
        try:
            await self._server.app(exchange.scope, exchange.receive, exchange.send)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            # Endpoints answer for their errors; this is one of ours.
            _log.error("an answer failed: %s: %s", type(error).__name__, error)
        finally:
            self.task = None
            if not exchange.answered or not exchange.keep_alive:
                self._transport.close()
            elif self._waiting:
                self._answer(self._waiting.popleft())
            elif not self.gone:
                self.resume()
                self._rest()

    def _refuse(self) -> None:
        """What is no request gets one answer; after a request that is, it is only the end of the connection."""
        if self.task is not None and self._exchange is self._answering and not self._exchange.complete:
            self._transport.close()
        elif self.task is None:
            head = b"\r\n".join(
                (
                    b"HTTP/1.1 400 Bad Request",
                    b"content-type: text/plain; charset=utf-8",
                    b"content-length: %d" % len(_INVALID),
                    b"connection: close",
                    b"",
                    b"",
                )
            )
            self.write(head + _INVALID)
            self._transport.close()
        else:
            self._waiting.clear()
            self._exchange.keep_alive = self._answering.keep_alive = False
            self.pause()

    def _rest(self) -> None:
        """Wait for a request, and not for ever."""
        self._stir()
        self._idle = self._loop.call_later(self._server.idle, self._transport.close)

    def _stir(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None


def _address(transport: asyncio.BaseTransport, name: str) -> tuple[str, int] | None:
    """Host and port; a socket in the file system has none."""
    address = transport.get_extra_info(name)
    return (str(address[0]), int(address[1])) if isinstance(address, tuple) else None


def _phrase(status: int) -> bytes:
    try:
        return HTTPStatus(status).phrase.encode()
    except ValueError:
        return b""


def _date() -> bytes:
    return time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime()).encode()
