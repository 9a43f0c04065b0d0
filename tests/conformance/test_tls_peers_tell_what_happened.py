"""The suite's own TLS peers, honest and rogue, against each other."""

from __future__ import annotations

import datetime
import socket
import ssl

import pytest

from conformance.instruments.identities import Authority, Identity, spiffe_id
from conformance.instruments.tls import Returning, TlsServer, dial

AUTHORITY, STRANGER = Authority(), Authority()
ROOTS = (AUTHORITY.root_pem,)
PAYLOAD = bytes(range(256)) * 8192
PATIENCE = 60.0


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_honest_peers_exchange_every_byte_and_end_each_direction(newest: ssl.TLSVersion) -> None:
    with TlsServer(AUTHORITY.leaf("redis"), roots=ROOTS, timeout=PATIENCE) as server:
        told = dial(
            server.port,
            identity=AUTHORITY.leaf("web"),
            roots=ROOTS,
            send=PAYLOAD,
            newest=newest,
            timeout=PATIENCE,
        )
        assert (told.handshake, told.reason, told.ended) == (True, "", True)
        assert told.received == server.received == PAYLOAD
        assert told.peer == (spiffe_id(AUTHORITY.trust_domain, "redis"),)
        assert server.peers == [(spiffe_id(AUTHORITY.trust_domain, "web"),)]
        assert told.version == newest.name.replace("_", ".")


@pytest.mark.parametrize(
    ("identity", "reason"),
    [
        (None, "CERTIFICATE"),
        (STRANGER.leaf("web"), "UNKNOWN_CA"),
        (AUTHORITY.leaf("web", ends=datetime.timedelta(minutes=-1)), "EXPIRED"),
    ],
    ids=["no certificate", "another authority", "expired"],
)
def test_a_rogue_client_learns_that_it_was_refused(identity: Identity | None, reason: str) -> None:
    with TlsServer(AUTHORITY.leaf("redis"), roots=ROOTS, timeout=PATIENCE) as server:
        told = dial(server.port, identity=identity, roots=ROOTS, expect=1, half_close=False, timeout=PATIENCE)
        assert not told.handshake
        assert reason in told.reason
        assert (told.received, server.peers, server.received) == (b"", [], b"")


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_who_returns_resumes_its_session(newest: ssl.TLSVersion) -> None:
    peer = Returning(AUTHORITY.leaf("web"))
    with TlsServer(AUTHORITY.leaf("redis"), roots=ROOTS, timeout=PATIENCE, newest=newest) as server:
        assert (peer.visit(server.port, b"first", timeout=PATIENCE), peer.resumed) == (b"first", False)
        assert (peer.visit(server.port, b"again", timeout=PATIENCE), peer.resumed) == (b"again", True)


def test_who_returns_and_is_refused_gets_nothing_back() -> None:
    peer = Returning(STRANGER.leaf("web"))
    with TlsServer(AUTHORITY.leaf("redis"), roots=ROOTS, timeout=PATIENCE) as server:
        assert peer.visit(server.port, b"let me in", timeout=PATIENCE) == b""
    assert server.received == b""


def test_a_rogue_server_is_not_accepted() -> None:
    with TlsServer(STRANGER.leaf("redis"), roots=ROOTS, timeout=PATIENCE) as server:
        told = dial(server.port, identity=AUTHORITY.leaf("web"), roots=ROOTS, timeout=PATIENCE)
        assert not told.handshake
        assert "VERIFY_FAILED" in told.reason


def test_leaves_have_the_names_that_were_asked_for() -> None:
    assert AUTHORITY.leaf("web").uris == (spiffe_id(AUTHORITY.trust_domain, "web"),)
    assert AUTHORITY.leaf(uris=["spiffe://a/b", "spiffe://a/c"]).uris == ("spiffe://a/b", "spiffe://a/c")
    assert AUTHORITY.leaf(uris=[], dns=["web.example"]).uris == ()


def test_keys_are_not_shown() -> None:
    assert "PRIVATE" not in repr(AUTHORITY.leaf())


def test_nobody_there_is_no_handshake() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    told = dial(port, timeout=PATIENCE)
    assert not told.handshake
    assert told.reason.startswith("no connection")
