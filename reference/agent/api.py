"""The sockets and the servers under the HTTP API: plain HTTP, HTTPS, and sockets in the file system."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec
import uvicorn
from starlette.types import ASGIApp

from reference.agent.sockets import claim, claim_unix, shown
from reference.agent.tls import server_context
from reference.config.model import AgentConfig
from reference.config.network import Address, TcpAddress

_log = logging.getLogger("agent")

#: How long an answer that is being given may hold up the end of the agent (s).
_LAST_ANSWERS = 2
_IDLE_CONNECTIONS = 60


class Listeners(msgspec.Struct, frozen=True, kw_only=True):
    """The sockets of the API, claimed and listening, so that proxies may knock before the agent answers.

    ``tls`` is what HTTPS connections begin with from now on; its certificate may be replaced.
    """

    http: tuple[socket.socket, ...] = ()
    https: tuple[socket.socket, ...] = ()
    tls: ssl.SSLContext | None = None


def listen(config: AgentConfig, claims: contextlib.ExitStack) -> Listeners:
    """The sockets that ``config`` asks for, which are closed with ``claims``.

    Raises :class:`~reference.agent.sockets.StartError`.
    """

    def claimed(addresses: Iterable[Address], name: str) -> tuple[socket.socket, ...]:
        return tuple(claims.enter_context(_claimed(address, name)) for address in addresses)

    def _claimed(address: Address, name: str) -> socket.socket:
        what = f"the {name.upper()} API"
        if isinstance(address, TcpAddress):
            return claim(address, what=what, option=f"-{name}-port" if name == "http" else "ports.https")
        listener = claim_unix(address, config.unix_sockets, what=what)
        claims.callback(Path(address.path).unlink, missing_ok=True)
        return listener

    tls = server_context(config.tls) if config.https_port > 0 else None
    http, https = claimed(config.http_addrs, "http"), claimed(config.https_addrs, "https")
    # Only TCP is encrypted; who can open a socket in the file system is a matter of its permissions.
    return Listeners(
        http=(*http, *(listener for listener in https if listener.family == socket.AF_UNIX)),
        https=tuple(listener for listener in https if listener.family != socket.AF_UNIX),
        tls=tls,
    )


async def serve_until(
    end: asyncio.Event, app: ASGIApp, listeners: Listeners, *, ending: Callable[[], None]
) -> None:
    """Answer requests until ``end`` is set; ``ending`` then has readers who wait answered."""
    servings: list[asyncio.Future[object]] = []
    running: list[_Server] = []
    for name, sockets, tls in (("HTTP", listeners.http, None), ("HTTPS", listeners.https, listeners.tls)):
        if not sockets:
            continue
        server = _Server(_config(app, tls))
        running.append(server)
        servings.append(asyncio.ensure_future(server.serve(sockets=list(sockets))))
        for listener in sockets:
            _log.info("Started %s server on %s", name, shown(listener))
    waiting: asyncio.Future[object] = asyncio.ensure_future(end.wait())
    tasks: list[asyncio.Future[object]] = [waiting, *servings]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    ending()
    for server in running:
        server.should_exit = True
    await asyncio.gather(*servings)


def _config(app: ASGIApp, tls: ssl.SSLContext | None) -> uvicorn.Config:
    config = uvicorn.Config(
        app,
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=_LAST_ANSWERS,
        timeout_keep_alive=_IDLE_CONNECTIONS,
    )
    config.load()
    config.ssl = tls
    return config


class _Server(uvicorn.Server):
    """Leaves the signals to the agent."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Nothing to capture."""
        yield
