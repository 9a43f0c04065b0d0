"""The corners of TLS: a half-close in the middle of incoming data, sessions, contexts that do not fit."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator

import pytest

from reference.proxy.config import Address
from reference.proxy.spiffe import uri_of
from reference.proxy.tls import Sessions, close_notify, context, wrap
from tests.proxy.authority import Authority

AUTHORITY = Authority("11.consul")
PEER = Address(host="peer", port=1)


def made(*, server: bool, authority: Authority = AUTHORITY, ends: float = 24) -> ssl.SSLContext:
    certificate, key, _ = authority.leaf("web", ends=ends)
    return context(server=server, certificate=certificate, key=key, roots=authority.certificate)


def joined(
    server: ssl.SSLContext, client: ssl.SSLContext, session: ssl.SSLSession | None = None
) -> tuple[ssl.SSLSocket, ssl.SSLSocket]:
    """Both ends of a fresh TLS connection, blocking; the ticket has been read."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname(), timeout=30)
        far, _ = listener.accept()
    far.settimeout(30)
    there = wrap(server, far, server=True)
    here = wrap(client, near, server=False, session=session)
    shaker = threading.Thread(target=here.do_handshake)
    shaker.start()
    there.do_handshake()
    shaker.join()
    there.sendall(b"!")
    assert here.recv(1) == b"!"
    return here, there


@pytest.fixture(params=[ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[ssl.SSLSocket, ssl.SSLSocket]]:
    client = made(server=False)
    client.maximum_version = request.param
    here, there = joined(made(server=True), client)
    yield here, there
    here.close()
    there.close()


def test_close_notify_in_the_middle_of_incoming_data_loses_none_of_it(
    pair: tuple[ssl.SSLSocket, ssl.SSLSocket],
) -> None:
    here, there = pair
    data = b"x" * 100_000
    there.sendall(data)  # lies unread in the socket when the goodbye is made
    here.setblocking(False)
    goodbye = close_notify(here)
    here.setblocking(True)
    assert goodbye
    socket.socket.sendall(here, goodbye)
    assert there.recv(1) == b""
    there.sendall(b"late")
    received = bytearray()
    while len(received) < len(data) + 4:
        received += here.recv(65_536)
    assert bytes(received) == data + b"late"


def test_a_fin_without_close_notify_is_no_clean_end(pair: tuple[ssl.SSLSocket, ssl.SSLSocket]) -> None:
    here, there = pair
    socket.socket.shutdown(here, socket.SHUT_WR)
    with pytest.raises(ssl.SSLEOFError):
        there.recv(1)


def test_a_session_is_resumed_with_the_identity_of_its_peer() -> None:
    server, client, sessions = made(server=True), made(server=False), Sessions()
    assert sessions.find(client, PEER) is None
    for resumed in (False, True, True):
        here, there = joined(server, client, sessions.find(client, PEER))
        assert here.session_reused is resumed
        assert (
            uri_of(there.getpeercert())
            == uri_of(here.getpeercert())
            == "spiffe://11.consul/ns/default/dc/dc1/svc/web"
        )
        sessions.keep(here, PEER)
        here.close()
        there.close()


def test_a_new_leaf_on_either_side_resumes_nothing() -> None:
    server, client, sessions = made(server=True), made(server=False), Sessions()
    for one in joined(server, client):
        if not one.server_side:
            sessions.keep(one, PEER)
        one.close()
    assert sessions.find(client, PEER) is not None
    assert sessions.find(made(server=False), PEER) is None
    here, there = joined(made(server=True), client, sessions.find(client, PEER))
    assert not here.session_reused
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
