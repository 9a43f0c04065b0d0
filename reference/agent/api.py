"""The socket and the server under the HTTP API."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Iterator

import uvicorn
from starlette.applications import Starlette

from reference.agent.sockets import claim
from reference.config.model import AgentConfig

_log = logging.getLogger("agent")

#: How long an answer that is being given may hold up the end of the agent (s).
_LAST_ANSWERS = 2
_IDLE_CONNECTIONS = 60


def listen(config: AgentConfig) -> socket.socket | None:
    """The socket of the API, claimed and listening, so that proxies may knock before the agent answers.

    None when the API is off. Raises :class:`~reference.agent.sockets.StartError`.
    """
    if config.http_port < 0:
        return None
    address = config.client_addr, config.http_port
    return claim(address, what="the HTTP API", option="-http-port")


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
