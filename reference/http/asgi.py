"""A request and its answer, as ASGI carries them: what the endpoints need of it, and no more.

Starlette has all of this and much else, which was a tenth of what an agent imports before it answers anybody.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, MutableMapping
from functools import cached_property
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

#: Below this (bytes) an answer does not get shorter; above, the fastest level already brings most of what can be had.
_WORTH_COMPRESSING, _COMPRESSION = 1024, 1
#: With these bits zlib writes the header and the check sum of gzip.
_GZIP = 16 + zlib.MAX_WBITS

#: Answers that have no body, hence no length of it (RFC 9110, 8.6).
_NO_LENGTH = frozenset({204, 304})


class Gone(Exception):
    """The client hung up before its request was complete."""


class Client(NamedTuple):
    """Where a request comes from."""

    host: str
    port: int


class Headers(Mapping[str, str]):
    """The headers of a request, whatever their case; of several with one name the first."""

    def __init__(self, raw: list[tuple[bytes, bytes]]) -> None:
        self._raw = raw

    def __getitem__(self, name: str) -> str:
        wanted = name.lower().encode("latin-1")
        for header, value in self._raw:
            if header == wanted:
                return value.decode("latin-1")
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter({name.decode("latin-1") for name, _ in self._raw})

    def __len__(self) -> int:
        return len({name for name, _ in self._raw})


class QueryParams(Mapping[str, str]):
    """What stands after the question mark; of several with one name the last, and ``getlist`` gives all."""

    def __init__(self, query: bytes) -> None:
        self._pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
        self._last = dict(self._pairs)

    def __getitem__(self, name: str) -> str:
        return self._last[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._last)

    def __len__(self) -> int:
        return len(self._last)

    def getlist(self, name: str) -> list[str]:
        """Every value of one name, in order."""
        return [value for given, value in self._pairs if given == name]

    def pairs(self) -> list[tuple[str, str]]:
        """Names and values as they were given."""
        return list(self._pairs)


class Request:
    """One request; ``scope`` and ``receive`` are those of ASGI."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.scope = scope
        self.receive = receive
        self.method: str = scope["method"]
        #: Decoded, with whatever characters it holds.
        self.path: str = scope["path"]
        self._body: bytes | None = None

    @property
    def path_params(self) -> Mapping[str, str]:
        """What varies in the path; see :class:`reference.http.paths.Paths`."""
        params: Mapping[str, str] = self.scope["path_params"]
        return params

    @cached_property
    def query_params(self) -> QueryParams:
        """The parameters."""
        return QueryParams(self.scope["query_string"])

    @cached_property
    def headers(self) -> Headers:
        """The headers."""
        return Headers(self.scope["headers"])

    @property
    def client(self) -> Client | None:
        """Where it comes from; one that comes through a socket in the file system has no address."""
        client = self.scope.get("client")
        return None if client is None else Client(*client)

    async def body(self) -> bytes:
        """All of the body. Raises :class:`Gone`."""
        if self._body is None:
            pieces = []
            while True:
                message = await self.receive()
                if message["type"] == "http.disconnect":
                    raise Gone
                pieces.append(message.get("body", b""))
                if not message.get("more_body", False):
                    break
            self._body = b"".join(pieces)
        return self._body


class Response:
    """An answer that is there as a whole; a long one is compressed for whoever understands that."""

    def __init__(
        self,
        content: str | bytes | None = None,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        *,
        media_type: str | None = None,
    ) -> None:
        self._body = content.encode() if isinstance(content, str) else content or b""
        self._status = status
        self._headers = _encoded(headers, media_type)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        body, headers = self._body, self._headers
        if len(body) >= _WORTH_COMPRESSING:
            headers = [*headers, (b"vary", b"Accept-Encoding")]
            if "gzip" in Headers(scope["headers"]).get("accept-encoding", ""):
                packing = zlib.compressobj(_COMPRESSION, wbits=_GZIP)
                body = packing.compress(body) + packing.flush()
                headers.append((b"content-encoding", b"gzip"))
        if self._status not in _NO_LENGTH:
            headers = [*headers, (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": self._status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


class StreamingResponse:
    """An answer that comes piece by piece, until it ends or its reader hangs up."""

    def __init__(
        self, pieces: AsyncIterator[bytes], status: int, headers: Mapping[str, str], *, media_type: str
    ) -> None:
        self._pieces = pieces
        self._status = status
        self._headers = _encoded(headers, media_type)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        telling = asyncio.ensure_future(self._tell(send))
        leaving = asyncio.ensure_future(hang_up(receive))
        try:
            await asyncio.wait({telling, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if telling.done():
                telling.result()
        finally:
            telling.cancel()
            leaving.cancel()
            await asyncio.gather(telling, leaving, return_exceptions=True)

    async def _tell(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self._status, "headers": self._headers})
        async for piece in self._pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def hang_up(receive: Receive) -> None:
    """Return when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _encoded(headers: Mapping[str, str] | None, media_type: str | None) -> list[tuple[bytes, bytes]]:
    encoded = [
        (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in (headers or {}).items()
    ]
    if media_type is not None:
        charset = "; charset=utf-8" if media_type.startswith("text/") and "charset" not in media_type else ""
        encoded.append((b"content-type", f"{media_type}{charset}".encode("latin-1")))
    return encoded
