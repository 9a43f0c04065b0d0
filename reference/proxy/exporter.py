"""The endpoint that Prometheus scrapes: ``GET /metrics``, and nothing else."""

from __future__ import annotations

import socket
from collections.abc import Callable

from reference.proxy.loop import READ, WRITE, Task, ready

#: How long a scraper may take, and how much it may say.
SECONDS = 5.0
LONGEST_REQUEST = 8_192
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Exporter:
    """Serves the connections of its listener; ``page`` makes the text."""

    def __init__(self, page: Callable[[], str]) -> None:
        self._page = page

    async def serve(self, task: Task, sock: socket.socket, _peer: str) -> None:
        """One connection, one request. Owns ``sock``."""
        task.deadline(SECONDS)
        fd = sock.fileno()
        try:
            rest = memoryview(self._answer(await self._request(sock)))
            while rest:
                try:
                    rest = rest[sock.send(rest) :]
                except BlockingIOError:
                    await ready(fd, WRITE)
            sock.shutdown(socket.SHUT_WR)
            await ready(fd, READ)  # its end: a close with unread data would take our last words with it
        except OSError:
            pass  # a scraper that went away, or is too slow, comes again
        task.loop.forget(fd)
        sock.close()

    async def _request(self, sock: socket.socket) -> bytes:
        request = b""
        while b"\r\n\r\n" not in request and len(request) < LONGEST_REQUEST:
            try:
                piece = sock.recv(LONGEST_REQUEST)
            except BlockingIOError:
                await ready(sock.fileno(), READ)
                continue
            if not piece:
                break
            request += piece
        return request

    def _answer(self, request: bytes) -> bytes:
        method, _, rest = request.partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0]
        if method not in (b"GET", b"HEAD"):
            return _response("405 Method Not Allowed", "text/plain", "only GET is served here\n")
        if path != b"/metrics":
            return _response("404 Not Found", "text/plain", "metrics are at /metrics\n")
        whole = _response("200 OK", CONTENT_TYPE, self._page())
        return whole if method == b"GET" else whole.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"


def _response(status: str, kind: str, body: str) -> bytes:
    content = body.encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(content)}\r\nConnection: close\r\n\r\n"
    return head.encode() + content
