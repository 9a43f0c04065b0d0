"""The server under the API, on the wire: requests one after the other, bodies, errors, and its end."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import uvloop

from reference.http.asgi import ASGIApp, Gone, Receive, Request, Response, Scope, Send, StreamingResponse
from reference.http.server import Server
from tests.waiting import DEADLINE

Story = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Says what it was asked: method, path, query, and the body."""
    request = Request(scope, receive)
    said = f"{request.method} {request.path} {dict(request.query_params)} ".encode() + await request.body()
    await Response(said)(scope, receive, send)


async def deaf(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers without having listened."""
    await Response(f"no {scope['path']}", 405)(scope, receive, send)


async def streaming(scope: Scope, receive: Receive, send: Send) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"one "
        yield b""
        yield b"two"

    await StreamingResponse(pieces(), 200, {}, media_type="text/plain")(scope, receive, send)


@asynccontextmanager
async def serving(app: ASGIApp, *, idle: float = DEADLINE) -> AsyncIterator[tuple[Server, int]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Server(app, idle=idle)
        await server.start([listener], tls=None)
        try:
            yield server, listener.getsockname()[1]
        finally:
            await server.end(within=0.0)


def run(story: Awaitable[None]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(DEADLINE):
            await story

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(limited())


def talk(app: ASGIApp, story: Story, *, idle: float = DEADLINE) -> None:
    """Have one connection go as the story tells."""

    async def scenario() -> None:
        async with serving(app, idle=idle) as (_, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                await story(reader, writer)
            finally:
                writer.close()

    run(scenario())


async def head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    """Status and headers of one answer."""
    status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    assert headers.pop("date", "").endswith(" GMT") or status.endswith(("Bad Request", "Continue"))
    return int(status.split()[1]), headers


async def answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Status and body of one answer that has a length."""
    status, headers = await head(reader)
    return status, await reader.readexactly(int(headers["content-length"]))


def test_requests_follow_each_other_on_one_connection() -> None:
    async def story(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for number in range(3):
            writer.write(
                b"POST /a%%20b/%d?x=1&x=2&y HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n" % number
            )
            writer.write(b"body")
            expected = f"POST /a b/{number} {{'x': '2', 'y': ''}} body".encode()
            assert await answer(reader) == (200, expected)

    talk(echo, story)


def test_requests_that_come_at_once_are_answered_in_order() -> None:
    async def story(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"".join(b"GET /%d HTTP/1.1\r\n\r\n" % number for number in range(50)))
        for number in range(50):
            assert await answer(reader) == (200, f"GET /{number} {{}} ".encode())

    talk(echo, story)


def test_bodies_come_in_pieces_and_may_be_long() -> None:
    async def story(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(
            b"POST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        )
        assert await answer(reader) == (200, b"POST /c {} abcde")
        long = b"0123456789abcdef" * (1 << 16)
        writer.write(b"POST /l HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(long) + long)
        assert await answer(reader) == (200, b"POST /l {} " + long)

    talk(echo, story)


def test_who_asks_first_is_told_to_go_on() -> None:
    async def story(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"PUT / HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"ok")
        assert await answer(reader) == (200, b"PUT / {} ok")

    talk(echo, story)


def test_who_asks_first_and_is_refused_begins_anew() -> None:
    """Whether the body comes all the same is not known: another request could not be told from it."""

    async def story(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"PUT / HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        status, headers = await head(reader)
        assert (status, headers["connection"]) == (405, "close")
        assert await reader.read() == b"no /"

    talk(deaf, story)


def test_a_body_that_nobody_wants_is_passed_over() -> None:
    async def story(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        body = b"GET /smuggled HTTP/1.1\r\n\r\n" * 10_000
        writer.write(b"PUT /first HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body))
        assert await answer(reader) == (405, b"no /first")
        writer.write(body + b"GET /second HTTP/1.1\r\n\r\n")
        assert await answer(reader) == (405, b"no /second")

    talk(deaf, story)


def test_streams_come_in_pieces() -> None:
    async def story(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            status, headers = await head(reader)
            assert (status, headers["transfer-encoding"]) == (200, "chunked")
            assert await reader.readuntil(b"0\r\n\r\n") == b"4\r\none \r\n3\r\ntwo\r\n0\r\n\r\n"

    talk(streaming, story)


@pytest.mark.parametrize(
    ("app", "body"), [(echo, b"GET / {} "), (streaming, b"one two")], ids=["whole", "stream"]
)
def test_an_old_client_gets_all_until_the_end_of_the_connection(app: ASGIApp, body: bytes) -> None:
    async def story(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        status, headers = await head(reader)
        assert (status, headers["connection"]) == (200, "close")
        assert "transfer-encoding" not in headers
        assert await reader.read() == body

    talk(app, story)


def test_a_head_has_no_body() -> None:
    async def story(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HEAD / HTTP/1.1\r\n\r\nGET /next HTTP/1.1\r\n\r\n")
        assert (await head(reader))[1]["content-length"] == str(len(b"HEAD / {} "))
        assert await answer(reader) == (200, b"GET /next {} ")

    talk(echo, story)


@pytest.mark.parametrize("closing", [b"Connection: close", b"Connection: upgrade\r\nUpgrade: websocket"])
def test_the_connection_is_closed_after_the_answer(closing: bytes) -> None:
    async def story(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"GET / HTTP/1.1\r\n" + closing + b"\r\n\r\nGET /again HTTP/1.1\r\n\r\n")
        status, headers = await head(reader)
        assert (status, headers["connection"]) == (200, "close")
        assert await reader.read() == b"GET / {} "

    talk(echo, story)


@pytest.mark.parametrize(
    "nonsense",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
        b"GET http:// HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nA\x00b: c\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_no_request_is_refused(nonsense: bytes) -> None:
    async def story(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"GET /good HTTP/1.1\r\n\r\n")
        assert await answer(reader) == (200, b"GET /good {} ")
        writer.write(nonsense)
        status, headers = await head(reader)
        assert (status, headers["connection"]) == (400, "close")
        assert await reader.read() == b"Invalid HTTP request received."

    talk(echo, story)


def test_a_request_before_nonsense_is_answered() -> None:
    async def story(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"GET /good HTTP/1.1\r\n\r\nnonsense\r\n\r\n")
        assert await answer(reader) == (200, b"GET /good {} ")
        assert await reader.read() == b""

    talk(echo, story)


@pytest.mark.parametrize("rest", [b"zz\r\n", None], ids=["nonsense", "nothing"])
def test_a_body_that_breaks_off_is_none(rest: bytes | None) -> None:
    async def scenario() -> None:
        outcome: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            try:
                outcome.set_result((await Request(scope, receive).body()).decode())
            except Gone:
                outcome.set_result("gone")

        async with serving(app) as (_, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
            await writer.drain()
            if rest is None:
                writer.close()
            else:
                writer.write(rest)
            assert await outcome == "gone"
            assert await reader.read() == b""
            writer.close()

    run(scenario())


def test_who_waits_learns_that_the_client_has_gone() -> None:
    async def scenario() -> None:
        began, gone = asyncio.Event(), asyncio.Event()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            began.set()
            while (await receive())["type"] != "http.disconnect":
                pass
            gone.set()

        async with serving(app) as (server, port):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            await began.wait()
            assert server.connections
            writer.close()
            await gone.wait()
            await server.end(within=DEADLINE)
            assert not server.connections

    run(scenario())


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\n\r\n"], ids=["nothing", "a request"])
def test_who_says_nothing_for_long_is_hung_up_on(said: bytes) -> None:
    async def story(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        if said:
            assert (await answer(reader))[0] == 200
        assert await reader.read() == b""

    talk(echo, story, idle=0.05)


def test_a_slow_reader_holds_up_the_answer_and_gets_all_of_it() -> None:
    pieces, piece = 64, b"x" * (1 << 18)

    async def scenario() -> None:
        sent = 0

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            nonlocal sent
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for _ in range(pieces):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                sent += 1
            await send({"type": "http.response.body", "body": b""})

        async with serving(app) as (_, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 12)
            writer.write(b"GET / HTTP/1.0\r\n\r\n")
            await head(reader)
            before = -1
            while sent != before:  # until the buffers of both sides are full
                before = sent
                await asyncio.sleep(0.05)
            assert sent < pieces
            assert len(await reader.read()) == pieces * len(piece)
            writer.close()

    run(scenario())


def test_a_header_of_two_lines_is_never_sent() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await Response("", headers={"X-Told": "one\r\nx-injected: two"})(scope, receive, send)

    async def story(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        assert await reader.read() == b""

    talk(app, story)


def test_an_answer_under_way_is_given_before_the_end() -> None:
    async def scenario() -> None:
        began, go_on = asyncio.Event(), asyncio.Event()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            began.set()
            await go_on.wait()
            await Response("done")(scope, receive, send)

        async with serving(app) as (server, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            await began.wait()
            idle, silent = await asyncio.open_connection("127.0.0.1", port)
            ending = asyncio.ensure_future(server.end(within=DEADLINE))
            assert await idle.read() == b""
            go_on.set()
            status, headers = await head(reader)
            assert (status, headers["connection"]) == (200, "close")
            assert await reader.read() == b"done"
            await ending
            writer.close()
            silent.close()
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", port)

    run(scenario())


def test_an_answer_that_takes_too_long_is_not_waited_for() -> None:
    async def scenario() -> None:
        began, cancelled = asyncio.Event(), asyncio.Event()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            began.set()
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()

        async with serving(app) as (server, port):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            await began.wait()
            await server.end(within=0.01)
            await cancelled.wait()
            writer.close()

    run(scenario())
