"""Certificates that are wrong in one way each, at both ends of a connection: refused, logged, and not a byte passed."""

from __future__ import annotations

import os
import socket
import ssl
from typing import Any

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.ports import free_ports
from tests.proxy.authority import Authority
from tests.proxy.running import Application, Household, Proxy, client_context
from tests.proxy.standin import StandIn
from tests.proxy.test_live_changes import talk
from tests.proxy.test_who_may_come_in import ended, register_instance
from tests.proxy.worlds import Definition
from tests.waiting import eventually

FOREIGN = "spiffe://x.consul/ns/default/dc/dc1/svc/peer"

#: What is wrong: whose authority signs, options of the leaf, what the log says.
ROGUES: dict[str, tuple[str, dict[str, Any], str]] = {
    "of another authority": ("elsewhere", {}, "certificate|unable to get"),
    "expired": ("ours", {"starts": -3, "ends": -1}, "expired"),
    "not valid yet": ("ours", {"starts": 1}, "not yet valid"),
    "for another use": ("ours", {"usages": [ExtendedKeyUsageOID.CODE_SIGNING]}, "certificate purpose"),
    "without a URI": ("ours", {"uris": []}, "0 URIs"),
    "of two services": (
        "ours",
        {"uris": [FOREIGN, "spiffe://11.consul/ns/default/dc/dc1/svc/peer"]},
        "2 URIs",
    ),
    "of another trust domain": ("ours", {"uris": [FOREIGN]}, "trust domain|certificate mismatch"),
    "of no service": ("ours", {"uris": ["spiffe://x.consul/agent"]}, "not the identity of a service"),
}
#: A use that fits one end of a connection and not the other.
CLIENT_ONLY = {"usages": [ExtendedKeyUsageOID.CLIENT_AUTH]}
SERVER_ONLY = {"usages": [ExtendedKeyUsageOID.SERVER_AUTH]}


def leaf(standin: StandIn, whose: str, options: dict[str, Any]) -> tuple[str, str]:
    ours = standin.state.authorities[0]
    authority = ours if whose == "ours" else Authority(ours.trust_domain)
    certificate, key, _ = authority.leaf("peer", **options)
    return certificate, key


@pytest.mark.parametrize("rogue", [*ROGUES, "for servers alone"])
def test_a_client_that_is_wrong_is_refused(standin: StandIn, rogue: str) -> None:
    whose, options, reason = ROGUES.get(rogue, ("ours", SERVER_ONLY, "certificate purpose"))
    with Household(standin) as household:
        with household.peer(client_context(*leaf(standin, whose, options))) as peer:
            assert ended(peer)
        household.echo_proxy.wait_for(rf"\[ERR\] connection from 127.0.0.1:\d+ refused: .*({reason})")
        assert household.application.connections == 0
        with household.client() as sock:  # and who is right is served as before
            talk(sock)


@pytest.mark.parametrize("rogue", [*ROGUES, "for clients alone"])
def test_a_server_that_is_wrong_gets_not_a_byte(standin: StandIn, rogue: str) -> None:
    whose, options, reason = ROGUES.get(rogue, ("ours", CLIENT_ONLY, "certificate purpose"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    load(context, *leaf(standin, whose, options))
    heard: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as tls:
            heard.append(tls.recv(100))

    server = Application(serve)
    with Household(standin, upstream={"destination_name": "peer"}) as household:
        register_instance(standin, "peer-px", "peer", server.port)
        eventually(lambda: _tried(household), "an attempt")
        household.web_proxy.wait_for(
            rf"\[ERR\] failed to dial: .*({reason}).* \(instance 127.0.0.1:{server.port} of peer\)"
        )
        assert not any(heard)
    server.close()


def _tried(household: Household) -> bool:
    with household.client() as sock:
        assert ended(sock, after=b"secret")
    return household.web_proxy.has("instance passed over")


def load(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """Load a pair that never touches a disk."""
    with open(fd := os.memfd_create("leaf"), "wb", buffering=0) as memory:
        memory.write((certificate + key).encode())
        context.load_cert_chain(f"/proc/self/fd/{fd}")


def test_two_proxies_of_different_meshes_refuse_each_other_and_both_say_so(standin: StandIn) -> None:
    elsewhere = StandIn()
    try:
        with Household(standin, upstream={"destination_name": "far"}) as household:
            port, application = free_ports(1)[0], Application(lambda connection: None)
            elsewhere.define(Definition(name="far", port=application.port, config={"bind_port": port}))
            far = Proxy(elsewhere, "far-proxy")
            try:
                far.wait_for("public listener starting")
                register_instance(standin, "far-px", "far", port)
                eventually(lambda: _tried(household), "an attempt")
                household.web_proxy.wait_for(
                    r"\[ERR\] failed to dial: (unable to get local issuer|self-signed) certificate.* "
                    rf"\(instance 127.0.0.1:{port} of far\)"
                )
                far.wait_for(r"\[ERR\] connection from 127.0.0.1:\d+ refused: .*unknown ca")
                assert application.connections == 0
            finally:
                far.stop()
                application.close()
    finally:
        elsewhere.kill()


def test_an_expired_leaf_of_our_own_is_shown_to_nobody(standin: StandIn) -> None:
    """The agent gives none but an expired one: both ends refuse, and go on when there is a good one."""
    standin.state.leaf_options = {"starts": -3, "ends": -1}
    with Household(standin) as household:
        shown: list[bytes] = []
        with household.client(household.echo_port) as plain:
            plain.sendall(b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03")  # the beginning of a ClientHello
            try:
                shown.append(plain.recv(10_000))
            except ConnectionResetError:
                shown.append(b"")
        assert shown == [b""]
        household.echo_proxy.wait_for(
            r"\[ERR\] connection from .* refused: our own certificate spiffe://.*/svc/echo has expired, "
            r"and the agent gave no other"
        )
        with household.client() as sock:
            assert ended(sock)
        household.web_proxy.wait_for(
            r"\[ERR\] failed to dial: our own certificate spiffe://.*/svc/web has expired"
        )
        assert household.application.connections == 0
        standin.state.leaf_options = {}
        for service, proxy in (("web", household.web_proxy), ("echo", household.echo_proxy)):
            standin.state.renew_leaf(service)
            proxy.wait_for("TLS Identity", count=2)
        with household.client() as sock:
            talk(sock)
