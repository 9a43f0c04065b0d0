"""One request and its answer: what every endpoint shares, whatever it is about.

An endpoint is a coroutine from :class:`Call` to :class:`Answer`; :class:`Endpoint` makes it an ASGI application
that knows the original's rules for methods, errors, JSON and the log, and lets nothing else out: an unforeseen
error becomes one sentence, never a traceback.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from typing import Any, TypeVar

import msgspec
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from reference.access.authorizer import Authorizer, Level, Resource
from reference.access.control import ProxyAuthorizer, RootToken
from reference.access.register import AccessError, Forbidden, UnknownToken
from reference.access.tokens import PermissionDenied, presented
from reference.agent.services import KeeperError
from reference.catalog.documents import StorageError
from reference.config.durations import parse_duration
from reference.http.backend import Backend

_log = logging.getLogger("http")
T = TypeVar("T")

#: How long a blocking read waits when it does not say, and at most (s) (MP-INT-004).
DEFAULT_WAIT = 300.0
LONGEST_WAIT = 600.0


#: An index is a number of 64 bits.
_LARGEST_INDEX = 2**64 - 1

#: Paths whose end is the secret of a token.
_SECRET_PATH = re.compile(r"^(/v1/acl/(?:info|destroy|clone)/).+")


#: What is at fault in itself, where the original says 500: no request is to look like a breakdown of the agent.
REFUSED = 400


class ApiError(Exception):
    """Answer with this status and text."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What goes back: ``body`` as JSON, ``text`` as it is, ``stream`` as it comes, or nothing."""

    body: object = None
    text: str | None = None
    stream: AsyncIterator[bytes] | None = None
    content_type: str = "text/plain"
    status: int = 200
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)


class Call(msgspec.Struct, frozen=True):
    """A request, and what it can be answered from."""

    backend: Backend
    request: Request

    @property
    def query(self) -> QueryParams:
        """The parameters after the question mark."""
        return self.request.query_params

    @property
    def token(self) -> str:
        """The token of the caller, or the empty string."""
        return presented(self.query, self.request.headers)

    @property
    def authorizer(self) -> Authorizer:
        """What the caller may do. Raises what :meth:`reference.access.control.AccessControl.authorizer` raises."""
        return self.backend.access.authorizer(self.token)

    def identify(self) -> None:
        """Raise what :attr:`authorizer` raises: who shows a token that there is not must not take an empty answer."""
        _ = self.authorizer

    def allowed(self, resource: Resource, name: str, level: Level) -> bool:
        """Whether the caller may do this; ``name`` is empty for a resource of which there is one."""
        return self.authorizer.allows(resource, name, level)

    def require(self, resource: Resource, name: str, level: Level) -> None:
        """Raise :class:`PermissionDenied`, which is answered with 403, when the caller may not do this."""
        if not self.allowed(resource, name, level):
            raise PermissionDenied

    def reaches(self, service: str) -> bool:
        """Whether the caller may ask who speaks for ``service`` in the mesh: a managed proxy may for its upstreams."""
        authorizer = self.authorizer
        if isinstance(authorizer, ProxyAuthorizer) and authorizer.reaches(service):
            return True
        return authorizer.allows(Resource.SERVICE, service, Level.READ)

    def sees(self, *, node: str, service: str, speaks_for: str) -> bool:
        """Whether the caller may see an instance of ``service`` on ``node``; a check of the node has no service.

        ``speaks_for`` is the service that it stands for in the mesh, or empty: a managed proxy sees those of its
        upstreams.
        """
        authorizer = self.authorizer
        if isinstance(authorizer, ProxyAuthorizer) and authorizer.reaches(speaks_for):
            return True
        return authorizer.allows(Resource.NODE, node, Level.READ) and (
            not service or authorizer.allows(Resource.SERVICE, service, Level.READ)
        )

    def path(self, name: str) -> str:
        """A variable part of the path."""
        return str(self.request.path_params[name])

    async def json(self) -> object:
        """The decoded body. Raises :class:`ValueError` with the original's text."""
        body = await self.request.body()
        if not body.strip():
            raise ValueError("EOF")
        try:
            return msgspec.json.decode(body)
        except msgspec.DecodeError as error:
            truncated = "truncated" in str(error)
            raise ValueError("unexpected EOF" if truncated else str(error)) from error
        except RecursionError as error:
            raise ValueError("it is nested too deeply") from error

    def check_datacenter(self) -> None:
        """There is one datacenter only."""
        if self.query.get("dc", self.backend.config.datacenter) not in ("", self.backend.config.datacenter):
            raise ApiError(REFUSED, "No path to datacenter")

    def wait(self) -> float:
        """How long a blocking read may take (s), a little more than asked for, so that readers spread out."""
        text = self.query.get("wait", "")
        try:
            wait = parse_duration(text) if text else 0.0
        except ValueError as error:
            raise ApiError(400, "Invalid wait time") from error
        wait = min(wait or DEFAULT_WAIT, LONGEST_WAIT)
        return max(0.0, wait + random.uniform(0, wait / 16))

    def index(self) -> int:
        """The index that the caller has seen; 0 means: do not block."""
        text = self.query.get("index", "") or "0"
        # More than twenty digits are too many in any case, and int() takes long for very many.
        if not (text.isascii() and text.isdecimal()) or len(text) > 20 or int(text) > _LARGEST_INDEX:
            raise ApiError(400, "Invalid index")
        return int(text)

    async def newer(
        self, read: Callable[[], tuple[int, T]], *, sleep: Callable[[float], Awaitable[object]]
    ) -> tuple[int, T]:
        """What ``read`` gives once its index has passed the one that the caller has seen, or the wait is over.

        ``sleep`` returns when there may be something new, at the latest after the given seconds. An index that
        was never handed out is answered at once: its owner has outlived another agent.
        """
        wait, seen = self.wait(), self.index()
        deadline = time.monotonic() + wait
        index, value = read()
        while index <= seen <= self.backend.index.current and not self.backend.watch.closed:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                break
            await sleep(remaining)
            index, value = read()
        return index, value


Handler = Callable[[Call], Coroutine[Any, Any, Answer]]


class Endpoint:
    """The ASGI application of one path, with a handler per method."""

    def __init__(self, backend: Backend, handlers: Mapping[str, Handler], *, path: str) -> None:
        self._backend = backend
        self._handlers = handlers
        self._allow = ",".join(("OPTIONS", *handlers))
        # As the original calls it: what varies in a path is one underscore.
        self._measured_as = tuple("_" if part.startswith("{") else part for part in path.split("/")[1:])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        scope["measured_as"] = ("http", request.method, *self._measured_as)
        began = time.monotonic()
        response = await self._respond(request)
        if response is not None:
            await response(scope, receive, send)
        if _log.isEnabledFor(logging.DEBUG):
            took = (time.monotonic() - began) * 1000
            _log.debug("Request %s (%.3fms) from=%s", _describe(request), took, _peer(request))

    async def _respond(self, request: Request) -> Response | None:
        if request.method == "OPTIONS":
            return Response(headers={"Allow": self._allow})
        handler = self._handlers.get(request.method)
        if handler is None:
            error = ApiError(405, f"method {request.method} not allowed")
            return self._refuse(request, error, headers={"Allow": self._allow})
        try:
            answer = await _unless_gone(request, handler(Call(self._backend, request)))
            return None if answer is None else self._render(request, answer)
        except ApiError as error:
            return self._refuse(request, error)
        except (PermissionDenied, UnknownToken, Forbidden) as error:
            return self._refuse(request, ApiError(403, str(error)))
        except (AccessError, RootToken) as error:
            return self._refuse(request, ApiError(REFUSED, str(error)))
        except (KeeperError, StorageError) as error:
            # Nothing was changed, and the caller must not believe that it was.
            return self._refuse(request, ApiError(500, str(error)))
        except Exception as error:
            _log.error("Request %s failed: %s: %s", _describe(request), type(error).__name__, error)
            _log.debug("where it failed", exc_info=True)
            return self._refuse(request, ApiError(500, "The agent failed to answer; its log says why."))

    def _render(self, request: Request, answer: Answer) -> Response:
        headers = {name: _header(value) for name, value in answer.headers.items()}
        if answer.stream is not None:
            return StreamingResponse(answer.stream, answer.status, headers, media_type=answer.content_type)
        if answer.text is not None:
            return Response(answer.text, answer.status, headers, media_type=answer.content_type)
        if answer.body is None:
            return Response(None, answer.status, headers)
        body = msgspec.json.encode(answer.body, order="deterministic")
        if self._backend.config.dev_mode or "pretty" in request.query_params:
            body = msgspec.json.format(body, indent=4) + b"\n"
        return Response(body, answer.status, headers, media_type="application/json")

    @staticmethod
    def _refuse(request: Request, error: ApiError, *, headers: Mapping[str, str] | None = None) -> Response:
        _log.error("Request %s, error: %s from=%s", _describe(request), error.text, _peer(request))
        return Response(error.text, error.status, headers, media_type="text/plain")


async def _unless_gone(request: Request, work: Coroutine[Any, Any, Answer]) -> Answer | None:
    """Do the work; a blocking read ends with its reader, and then there is nobody to answer (None)."""
    if not {"index", "hash"} & request.query_params.keys():
        return await work
    answering = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_hang_up(request))
    try:
        await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return await answering if answering.done() else None
    finally:
        answering.cancel()
        leaving.cancel()
        # A task that was told to end has not ended yet: what it holds is given back when it has.
        await asyncio.gather(answering, leaving, return_exceptions=True)


def _header(value: str) -> str:
    """The value of a header that quotes what somebody wrote: in UTF-8 as the original sends it, and on one line."""
    return " ".join(value.splitlines()).encode("utf-8", "replace").decode("latin-1")


async def _hang_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _describe(request: Request) -> str:
    """Method, path and query for the log, without the token (MP-TOK-001)."""
    shown = "&".join(
        f"{key}=<hidden>" if key == "token" else f"{key}={value}"
        for key, value in request.query_params.multi_items()
    )
    path = _SECRET_PATH.sub(r"\1<hidden>", request.url.path)
    return f"{request.method} {path}{'?' if shown else ''}{shown}"


def _peer(request: Request) -> str:
    return "" if request.client is None else f"{request.client.host}:{request.client.port}"
