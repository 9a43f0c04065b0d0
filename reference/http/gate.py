"""What happens to every request before it is routed, whatever it is about: ``http_config``, and the measuring.

In this order, as in the original: paths with characters that nobody prints are refused, the configured headers go
onto each answer, closed paths are refused, and so are changes that come from networks which may only read.
"""

from __future__ import annotations

import ipaddress
import logging
import time

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reference.agent.metrics import Metrics
from reference.config.network import HttpOptions

_log = logging.getLogger("http")
_READING = frozenset({"GET", "HEAD", "OPTIONS"})


class Gate:
    """An ASGI application in front of another."""

    def __init__(self, app: ASGIApp, options: HttpOptions, metrics: Metrics) -> None:
        self._app = app
        self._options = options
        self._metrics = metrics
        self._writers = [ipaddress.ip_network(network) for network in options.allow_write_from]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request through, or refuse it."""
        began = time.monotonic()
        refusal = self._refusal(Request(scope))
        if self._options.response_headers:
            send = self._with_headers(send)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)
        # The table of routes says under which name; without one there is nothing to measure.
        parts = scope.get("measured_as")
        if parts:
            self._metrics.sample(*parts, milliseconds=(time.monotonic() - began) * 1000)

    def _refusal(self, request: Request) -> Response | None:
        path = request.url.path
        if not self._options.allow_unprintable_paths and not _printable(request):
            return Response(status_code=400)
        if any(path.startswith(prefix) for prefix in self._options.block_endpoints):
            _log.error("Request %s %s, error: the endpoint is blocked", request.method, path)
            return _text("Endpoint is blocked by agent configuration", 403)
        if self._writers and request.method not in _READING and not self._may_write(request):
            _log.error("Request %s %s, error: Access is restricted", request.method, path)
            return _text("Access is restricted", 403)
        return None

    def _may_write(self, request: Request) -> bool:
        """Whether the client is in one of the networks; one that comes through a socket has no address."""
        host = "" if request.client is None else request.client.host
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None) or address
        return any(mapped in network for network in self._writers)

    def _with_headers(self, send: Send) -> Send:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._options.response_headers.items():
                    headers[name] = value
            await send(message)

        return sending


def _printable(request: Request) -> bool:
    """Whether the path, decoded, has only characters that are printed; spaces are."""
    return all(character.isprintable() for character in request.scope["path"])


def _text(text: str, status: int) -> Response:
    return Response(text, status, media_type="text/plain")
