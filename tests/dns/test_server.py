"""DNS over real sockets: both transports, many queries, clients that come to nothing, and a port that is taken."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable

import dns.message
import pytest
import uvloop
from dns.message import Message

from reference.agent.sockets import StartError
from reference.catalog.model import Service
from reference.config.model import AgentConfig
from reference.config.network import TcpAddress
from reference.dns import server
from tests.dns.asking import records, responder
from tests.ports import free_port
from tests.waiting import DEADLINE

MESH = responder(*(Service(id=f"s{n}", name="web", port=1000 + n) for n in range(300)))


def query(kind: str = "A", name: str = "web.service.consul") -> Message:
    return dns.message.make_query(name, kind)


def framed(message: Message) -> bytes:
    data = message.to_wire()
    return struct.pack("!H", len(data)) + data


async def read(reader: asyncio.StreamReader) -> Message:
    (length,) = struct.unpack("!H", await reader.readexactly(2))
    return dns.message.from_wire(await reader.readexactly(length))


def on_a_server(scenario: Callable[[int], Awaitable[None]], address: str = "127.0.0.1") -> None:
    """Run ``scenario`` with the port of a server, on the event loop that the agent uses."""

    async def run() -> None:
        with contextlib.ExitStack() as claims:
            config = AgentConfig(node_name="n", dns_addrs=(TcpAddress(address, free_port()),))
            async with server.serving(MESH, server.listen(config, claims)), asyncio.timeout(DEADLINE):
                await scenario(config.dns_port)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


async def over_udp(port: int, *payloads: bytes, address: str = "127.0.0.1") -> Message:
    """Send all, and return the first answer."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[bytes] = loop.create_future()

    class Client(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: object) -> None:
            answer.set_result(data)

    transport, _ = await loop.create_datagram_endpoint(Client, remote_addr=(address, port))
    try:
        for payload in payloads:
            transport.sendto(payload)
        return dns.message.from_wire(await answer)
    finally:
        transport.close()


def test_udp_and_tcp_answer_on_one_port() -> None:
    async def scenario(port: int) -> None:
        answer = await over_udp(port, query().to_wire())
        assert records(answer.answer) == ["web.service.consul. 0 A 127.0.0.1"]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(framed(query("SRV")))
        assert len(records((await read(reader)).answer)) == 300
        writer.close()

    on_a_server(scenario)


def test_junk_over_udp_is_passed_over() -> None:
    async def scenario(port: int) -> None:
        asked = query()
        response = dns.message.make_response(query()).to_wire()
        answer = await over_udp(port, b"", b"junk", response, asked.to_wire())
        assert answer.id == asked.id

    on_a_server(scenario)


def test_queries_of_one_connection_are_answered_in_their_order() -> None:
    """However they are cut into pieces on their way."""

    async def scenario(port: int) -> None:
        asked = [query(kind) for kind in ("A", "SRV", "TXT", "ANY") * 5]
        stream = b"".join(map(framed, asked))
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for start in range(0, len(stream), 7):
            writer.write(stream[start : start + 7])
            await writer.drain()
        for message in asked:
            answer = await read(reader)
            assert (answer.id, answer.question) == (message.id, message.question)
        writer.close()

    on_a_server(scenario)


def test_a_client_that_does_not_read_is_not_served_without_end() -> None:
    """Its queries stay where they are, and others are answered."""

    async def scenario(port: int) -> None:
        client = socket.socket()
        # Little room for answers, so that few of them are enough.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(client, ("127.0.0.1", port))
        with client, contextlib.suppress(TimeoutError):
            while True:
                async with asyncio.timeout(2):
                    await loop.sock_sendall(client, framed(query("SRV")) * 1000)
        assert (await over_udp(port, query().to_wire())).answer

    on_a_server(scenario)


def test_what_is_no_query_ends_the_connection() -> None:
    async def scenario(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(struct.pack("!H", 4) + b"junk")
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()

    on_a_server(scenario)


def test_silent_clients_are_shown_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_IDLE", 0.05)

    async def scenario(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()

    on_a_server(scenario)


def test_an_open_connection_does_not_hold_up_the_end() -> None:
    with socket.socket() as client:
        client.setblocking(False)

        async def scenario(port: int) -> None:
            loop = asyncio.get_running_loop()
            await loop.sock_connect(client, ("127.0.0.1", port))
            await loop.sock_sendall(client, framed(query()))
            assert await loop.sock_recv(client, 65535)

        on_a_server(scenario)


def test_ipv6() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")

    async def scenario(port: int) -> None:
        assert (await over_udp(port, query().to_wire(), address="::1")).answer

    on_a_server(scenario, "::1")


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_a_taken_port_is_said_in_one_sentence(kind: socket.SocketKind) -> None:
    with socket.socket(socket.AF_INET, kind) as owner, contextlib.ExitStack() as claims:
        owner.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            owner.listen()
        port = owner.getsockname()[1]
        expected = (
            rf"^the DNS interface cannot listen on 127\.0\.0\.1:{port}: address already in use; "
            "stop the program that uses it, or choose another port with -dns-port$"
        )
        with pytest.raises(StartError, match=expected):
            server.listen(AgentConfig(node_name="n", dns_addrs=(TcpAddress("127.0.0.1", port),)), claims)


def test_it_can_be_off() -> None:
    async def scenario() -> None:
        with contextlib.ExitStack() as claims:
            sockets = server.listen(AgentConfig(node_name="n", dns_addrs=()), claims)
            assert sockets == ()
            async with server.serving(MESH, sockets):
                pass

    asyncio.run(scenario())


def test_several_addresses_are_all_answered_on() -> None:
    async def run() -> None:
        places = tuple(TcpAddress(host, free_port()) for host in ("127.0.0.1", "127.0.0.2"))
        with contextlib.ExitStack() as claims:
            sockets = server.listen(AgentConfig(node_name="n", dns_addrs=places), claims)
            async with server.serving(MESH, sockets), asyncio.timeout(DEADLINE):
                for place in places:
                    assert (await over_udp(place.port, query().to_wire(), address=place.host)).answer

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())
