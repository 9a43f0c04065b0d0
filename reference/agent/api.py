"""The socket and the server under the HTTP API."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
from collections.abc import Callable, Iterator

import uvicorn
from starlette.applications import Starlette

from reference.config.model import AgentConfig

_log = logging.getLogger("agent")

#: How long an answer that is being given may hold up the end of the agent (s).
_LAST_ANSWERS = 2
_IDLE_CONNECTIONS = 60
_BACKLOG = 1024
_REMEDIES = {
    errno.EADDRINUSE: "stop the program that uses it, or choose another port with -http-port",
    errno.EADDRNOTAVAIL: "name an address of this machine with -client",
    errno.EACCES: "choose a port above 1023 with -http-port",
}


class StartError(Exception):
    """The agent cannot start; the text says what, where, and what to do."""


def listen(config: AgentConfig) -> socket.socket | None:
    """The socket of the API, claimed and listening, so that proxies may knock before the agent answers.

    None when the API is off. Raises :class:`StartError`.
    """
    if config.http_port < 0:
        return None
    family = socket.AF_INET6 if ":" in config.client_addr else socket.AF_INET
    address = (config.client_addr, config.http_port)
    try:
        return socket.create_server(address, family=family, backlog=_BACKLOG)
    except OSError as error:
        number = error.errno or 0
        remedy = _REMEDIES.get(number, "choose another address with -client and -http-port")
        raise StartError(
            f"the HTTP API cannot listen on {config.client_addr}:{config.http_port}: "
            f"{os.strerror(number).lower()}; {remedy}"
        ) from error


async def serve_until(
    end: asyncio.Event, app: Starlette, listener: socket.socket | None, *, ending: Callable[[], None]
) -> None:
    """Answer requests until ``end`` is set; ``ending`` then has readers who wait answered."""
    if listener is None:
        await end.wait()
        return
    server = _Server(
        uvicorn.Config(
            app,
            http="httptools",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            timeout_graceful_shutdown=_LAST_ANSWERS,
            timeout_keep_alive=_IDLE_CONNECTIONS,
        )
    )
    serving = asyncio.ensure_future(server.serve(sockets=[listener]))
    _log.info("Started HTTP server on %s:%s (tcp)", *listener.getsockname()[:2])
    waiting = asyncio.ensure_future(end.wait())
    await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    ending()
    server.should_exit = True
    await serving


class _Server(uvicorn.Server):
    """Leaves the signals to the agent."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Nothing to capture."""
        yield
