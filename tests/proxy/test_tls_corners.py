"""The corners of TLS: a half-close in the middle of incoming data, sessions, contexts that do not fit."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference.proxy.buffers import RECORD
from reference.proxy.endpoints import Address
from reference.proxy.spiffe import uri_of
from reference.proxy.tls import HELLO, Sessions, Tls, accept, context, offers_session
from tests.proxy.authority import Authority

AUTHORITY = Authority("11.consul")
PEER = Address(host="peer", port=1)


def made(*, server: bool, authority: Authority = AUTHORITY, ends: float = 24) -> ssl.SSLContext:
    certificate, key, _ = authority.leaf("web", ends=ends)
    return context(server=server, certificate=certificate, key=key, roots=authority.certificate)


CLIENT = made(server=False)


def sockets() -> tuple[socket.socket, socket.socket]:
    """Both ends of a fresh TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname(), timeout=30)
        far, _ = listener.accept()
    far.settimeout(30)
    return near, far


def shake(tls: Tls) -> None:
    """The handshake of one end, blocking; its last words wait to be flushed."""
    while True:
        try:
            tls.ssl.do_handshake()
            return
        except ssl.SSLWantReadError:
            tls.flush()
            tls.hear(tls.sock.recv(HELLO))


def joined(
    server: ssl.SSLContext, client: ssl.SSLContext, session: ssl.SSLSession | None = None
) -> tuple[Tls, Tls]:
    """Both ends of a fresh TLS connection, blocking; the ticket has been read."""
    near, far = sockets()
    here = Tls(client, near, server=False, session=session)

    def greet() -> None:
        shake(here)
        here.flush()

    greeter = threading.Thread(target=greet)
    greeter.start()
    there = accept(server, far, hello=far.recv(HELLO))
    shake(there)
    there.flush()
    greeter.join()
    say(there, b"!")
    assert listen(here) == b"!"
    return here, there


def say(tls: Tls, data: bytes) -> None:
    tls.ssl.write(data)
    tls.flush()


def listen(tls: Tls) -> bytes:
    """What is said next, at most a record; nothing at the end."""
    while True:
        try:
            return tls.ssl.read(RECORD)
        except ssl.SSLWantReadError:
            tls.hear(tls.sock.recv(1 << 16))
        except ssl.SSLZeroReturnError:
            return b""


def part(here: Tls, there: Tls) -> None:
    """Say goodbye on both sides: a server forgets the session of a connection that ends otherwise."""
    for one, other in ((here, there), (there, here)):
        one.goodbye()
        one.flush()
        assert listen(other) == b""
    here.close()
    there.close()


@pytest.fixture(params=[ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[Tls, Tls]]:
    client = made(server=False)
    client.maximum_version = request.param
    here, there = joined(made(server=True), client)
    yield here, there
    here.close()
    there.close()


def test_goodbye_in_the_middle_of_incoming_data_loses_none_of_it(pair: tuple[Tls, Tls]) -> None:
    here, there = pair
    data = b"x" * 100_000
    there.ssl.write(data)
    said = there.outgoing.read()
    half = len(said) // 2
    here.hear(said[:half])
    received = bytearray()
    with suppress(ssl.SSLWantReadError):  # up to the record that has come in part
        while True:
            received += here.ssl.read(RECORD)
    here.goodbye()
    here.flush()
    assert listen(there) == b""
    here.hear(said[half:])
    say(there, b"late")
    while len(received) < len(data) + 4:
        received += listen(here)
    assert bytes(received) == data + b"late"


def test_a_fin_without_close_notify_is_no_clean_end(pair: tuple[Tls, Tls]) -> None:
    here, there = pair
    here.sock.shutdown(socket.SHUT_WR)
    with pytest.raises(ssl.SSLEOFError):
        listen(there)


def test_what_a_full_socket_does_not_take_is_kept_and_goes_first(pair: tuple[Tls, Tls]) -> None:
    here, there = pair
    here.sock.setblocking(False)
    data = bytes(range(256)) * 256
    said = 0
    while not here.unsent:
        here.ssl.write(data)
        said += len(data)
        here.flush()
    assert not here.flush()
    here.ssl.write(b"last")
    received = bytearray()
    while len(received) < said + 4:
        here.flush()
        received += listen(there)
    assert bytes(received) == data * (said // len(data)) + b"last"
    assert here.flush()


def test_a_session_is_resumed_with_the_identity_of_its_peer() -> None:
    server, client, sessions = made(server=True), made(server=False), Sessions()
    assert sessions.find(client, PEER) is None
    for resumed in (False, True, True):
        here, there = joined(server, client, sessions.find(client, PEER))
        assert here.ssl.session_reused is resumed
        assert (
            uri_of(there.ssl.getpeercert() or {})
            == uri_of(here.ssl.getpeercert() or {})
            == "spiffe://11.consul/ns/default/dc/dc1/svc/web"
        )
        sessions.keep(here, PEER)
        part(here, there)


def hello(client: ssl.SSLContext, session: ssl.SSLSession | None = None) -> bytes:
    said = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        client.wrap_bio(ssl.MemoryBIO(), said, session=session).do_handshake()
    return said.read()


def test_a_client_that_brings_a_session_is_recognized() -> None:
    server, client, sessions = made(server=True), made(server=False), Sessions()
    here, there = joined(server, client)
    sessions.keep(here, PEER)
    here.close()
    there.close()
    with_session = hello(client, sessions.find(client, PEER))
    assert offers_session(with_session)
    assert not offers_session(hello(client))
    assert len(with_session) < HELLO / 2
    for length in range(len(with_session)):
        offers_session(with_session[:length])  # any beginning can be read


@given(st.binary(max_size=200), st.integers(0, 60), st.binary(max_size=8))
def test_no_first_words_are_too_strange(said: bytes, at: int, other: bytes) -> None:
    assert not offers_session(said[:40])
    garbled = bytearray(hello(CLIENT))
    garbled[at : at + len(other)] = other
    offers_session(bytes(garbled) + said)


def test_a_resumed_connection_adds_no_session_to_remember() -> None:
    server, client, sessions = made(server=True), made(server=False), Sessions()
    for _ in range(5):
        here, there = joined(server, client, sessions.find(client, PEER))
        sessions.keep(here, PEER)
        part(here, there)
    assert server.session_stats()["number"] == 1
    assert server.session_stats()["hits"] == 4


@pytest.mark.parametrize("unread", [False, True])
def test_a_reset_costs_nobody_the_session(unread: bool) -> None:
    server, client, sessions = made(server=True), made(server=False), Sessions()
    for resumed in (False, True, True):
        here, there = joined(server, client, sessions.find(client, PEER))
        assert here.ssl.session_reused is resumed
        sessions.keep(here, PEER)
        if unread:
            say(here, b"too late")
            there.hear(there.sock.recv(HELLO))
        there.reset()
        with pytest.raises(ConnectionResetError):
            here.sock.recv(1)
        here.close()


def test_a_session_that_the_server_has_forgotten_is_not_offered_for_ever() -> None:
    client, sessions = made(server=False), Sessions()
    resumed = []
    for server in (made(server=True), *[made(server=True)] * 3):
        here, there = joined(server, client, sessions.find(client, PEER))
        resumed.append(bool(here.ssl.session_reused))
        sessions.keep(here, PEER)
        part(here, there)
    assert resumed == [False, False, False, True]


def test_a_new_leaf_on_either_side_resumes_nothing() -> None:
    server, client, sessions = made(server=True), made(server=False), Sessions()
    for one in joined(server, client):
        if not one.ssl.server_side:
            sessions.keep(one, PEER)
        one.close()
    assert sessions.find(client, PEER) is not None
    assert sessions.find(made(server=False), PEER) is None
    here, there = joined(made(server=True), client, sessions.find(client, PEER))
    assert not here.ssl.session_reused
    here.close()
    there.close()


def test_the_number_of_sessions_is_limited() -> None:
    server, client, sessions = made(server=True), made(server=False), Sessions(limit=2)
    here, there = joined(server, client)
    for port in range(1, 6):
        sessions.keep(here, Address(host="peer", port=port))
    assert (
        sum(sessions.find(client, Address(host="peer", port=port)) is not None for port in range(1, 6)) <= 2
    )
    here.close()
    there.close()


def test_a_key_that_is_not_the_leafs_is_refused() -> None:
    certificate, _, _ = AUTHORITY.leaf("web")
    _, key, _ = AUTHORITY.leaf("web")
    with pytest.raises(ssl.SSLError, match="KEY_VALUES_MISMATCH"):
        context(server=True, certificate=certificate, key=key, roots=AUTHORITY.certificate)
