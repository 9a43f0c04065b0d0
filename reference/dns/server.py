"""The sockets under DNS: UDP and TCP on one port, claimed before anything starts."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from functools import cached_property
from typing import Protocol, cast

import msgspec

from reference.agent.sockets import claim, shown
from reference.config.model import AgentConfig
from reference.config.network import TcpAddress

_log = logging.getLogger("dns")

#: How long a TCP client may be silent (s).
_IDLE = 10.0
_LENGTH = 2


class Responder(Protocol):
    """Answers queries."""

    def respond(self, wire: bytes, *, stream: bool, client: str = "") -> bytes | None:
        """See :meth:`reference.dns.message.Responder.respond`."""


class AtFirstQuery:
    """A responder that is made when it is asked for the first time: few agents are, and each pays for the start."""

    def __init__(self, make: Callable[[], Responder]) -> None:
        self._make = make

    @cached_property
    def _made(self) -> Responder:
        return self._make()

    def respond(self, wire: bytes, *, stream: bool, client: str = "") -> bytes | None:
        """See :meth:`reference.dns.message.Responder.respond`."""
        return self._made.respond(wire, stream=stream, client=client)


class Sockets(msgspec.Struct, frozen=True, kw_only=True):
    """The two sockets of one server."""

    udp: socket.socket
    tcp: socket.socket


def listen(config: AgentConfig, claims: contextlib.ExitStack) -> tuple[Sockets, ...]:
    """The sockets of the DNS interface, which are closed with ``claims``; none when it is off.

    Raises :class:`~reference.agent.sockets.StartError`.
    """

    def claimed(address: TcpAddress, kind: socket.SocketKind) -> socket.socket:
        return claims.enter_context(claim(address, kind, what="the DNS interface", option="-dns-port"))

    return tuple(
        Sockets(udp=claimed(address, socket.SOCK_DGRAM), tcp=claimed(address, socket.SOCK_STREAM))
        for address in config.dns_addrs
    )


@contextlib.asynccontextmanager
async def serving(responder: Responder, interfaces: Iterable[Sockets]) -> AsyncIterator[None]:
    """Answer queries on all sockets for as long as the context lasts."""
    loop = asyncio.get_running_loop()
    connections: set[asyncio.Transport] = set()
    datagrams: list[asyncio.BaseTransport] = []
    servers: list[asyncio.Server] = []
    for sockets in interfaces:
        endpoint, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(responder), sock=sockets.udp)
        datagrams.append(endpoint)
        servers.append(await loop.create_server(lambda: _Stream(responder, connections), sock=sockets.tcp))
        for bound in (sockets.udp, sockets.tcp):
            _log.info("Started DNS server on %s", shown(bound))
    try:
        yield
    finally:
        for transport in datagrams:
            transport.close()
        for server in servers:
            server.close()
        for connection in tuple(connections):
            connection.abort()
        for server in servers:
            await server.wait_closed()


class _Datagrams(asyncio.DatagramProtocol):
    """A query and its answer are a datagram each."""

    def __init__(self, responder: Responder) -> None:
        self._responder = responder

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is ours."""
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer one query."""
        answer = self._responder.respond(data, stream=False, client=addr[0])
        if answer is not None:
            self._transport.sendto(answer, addr)


class _Stream(asyncio.Protocol):
    """Queries follow each other, each after its length in two bytes (RFC 1035, 4.2.2).

    They are answered one by one, and others have their turn in between; nothing more is read meanwhile, nor while
    the client does not read its answers.
    """

    def __init__(self, responder: Responder, connections: set[asyncio.Transport]) -> None:
        self._responder = responder
        self._connections = connections
        self._received = bytearray()
        self._congested = False
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is there."""
        self._transport = cast(asyncio.Transport, transport)
        self._connections.add(self._transport)
        peer = transport.get_extra_info("peername")
        self._client = str(peer[0]) if peer else ""
        self._silence = self._loop.call_later(_IDLE, self._transport.abort)
        self._turn = self._loop.call_soon(self._serve)

    def data_received(self, data: bytes) -> None:
        """Something has come, perhaps the rest of a query."""
        self._received += data
        self._transport.pause_reading()
        self._go_on()

    def pause_writing(self) -> None:
        """The client does not read its answers."""
        self._congested = True

    def resume_writing(self) -> None:
        """It has read them."""
        self._congested = False
        self._go_on()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone."""
        self._silence.cancel()
        self._turn.cancel()
        self._connections.discard(self._transport)

    def _go_on(self) -> None:
        """Take up the queries that have come, when it is this client's turn."""
        self._silence.cancel()
        self._silence = self._loop.call_later(_IDLE, self._transport.abort)
        self._turn.cancel()
        self._turn = self._loop.call_soon(self._serve)

    def _serve(self) -> None:
        """Answer the next query, if there is a whole one and the client takes answers."""
        if self._congested or self._transport.is_closing():
            return
        end = _LENGTH + int.from_bytes(self._received[:_LENGTH], "big")
        if len(self._received) < end:
            self._transport.resume_reading()
            return
        query = bytes(self._received[_LENGTH:end])
        answer = self._responder.respond(query, stream=True, client=self._client)
        del self._received[:end]
        if answer is None:
            self._transport.abort()
            return
        self._transport.write(len(answer).to_bytes(_LENGTH, "big") + answer)
        self._go_on()
