"""Who is let in, who is refused, and that the application never hears of the refused."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time

import pytest

from tests.ports import free_ports
from tests.proxy.running import Household, client_context, exactly
from tests.proxy.standin import StandIn
from tests.proxy.worlds import World, ask
from tests.waiting import eventually


def deny(world: World, source: str, destination: str) -> str:
    """An intention; its ID."""
    body = {"SourceName": source, "DestinationName": destination, "SourceType": "consul", "Action": "deny"}
    number = ask(world, "POST", "/v1/connect/intentions", body)["ID"]
    assert isinstance(number, str)
    return number


def ended(sock: socket.socket, *, after: bytes = b"") -> bool:
    """Whether the peer ends the connection (politely or not, perhaps before it is sent something) without a byte."""
    try:
        sock.sendall(after)
        return sock.recv(1) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


def test_a_peer_with_a_leaf_comes_in(household: Household) -> None:
    with household.peer(household.context_of("anybody")) as peer:
        peer.sendall(b"hello")
        assert exactly(peer, 5) == b"hello"
        assert peer.version() in ("TLSv1.2", "TLSv1.3")


def test_alpn_h2_is_offered(household: Household) -> None:
    context = household.context_of("anybody")
    context.set_alpn_protocols(["http/1.1", "h2"])
    with household.peer(context) as peer:
        assert peer.selected_alpn_protocol() == "h2"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_no_client_certificate_no_entry(household: Household, version: ssl.TLSVersion) -> None:
    context = client_context()
    context.minimum_version = context.maximum_version = version
    with pytest.raises(ssl.SSLError, match=r"(?i)alert"), household.peer(context) as peer:
        peer.recv(1)
    household.echo_proxy.wait_for(r"\[ERR\] connection from 127.0.0.1:\d+ refused: .*certificate")
    assert household.application.connections == 0


def test_tls_1_1_is_refused(household: Household) -> None:
    context = household.context_of("anybody")
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError, match=r"(?i)version"):
        household.peer(context)


def test_a_suite_without_forward_secrecy_or_authentication_is_refused(household: Household) -> None:
    context = household.context_of("anybody")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE-ECDSA-AES128-SHA256:AES128-GCM-SHA256")
    with pytest.raises(ssl.SSLError, match=r"(?i)handshake.failure"):
        household.peer(context)


def test_a_denied_peer_is_refused_and_the_application_never_dialled(household: Household) -> None:
    deny(household.world, "web", "echo")
    with household.client() as sock:
        assert ended(sock, after=b"hello")
    household.echo_proxy.wait_for(
        r"\[ERR\] connection from .* refused: spiffe://.*/svc/web is not authorized"
    )
    household.web_proxy.wait_for(
        rf"\[ERR\] connection failed: instance 127.0.0.1:{household.echo_port} of echo broke it off before it said"
    )
    assert household.application.connections == 0


def test_the_agent_is_told_who_asks(standin: StandIn) -> None:
    with Household(standin) as household, household.client() as sock:
        sock.sendall(b"x")
        exactly(sock, 1)
        leaf = standin.state.leaf("web")
        assert standin.state.authorized == [
            {"Target": "echo", "ClientCertURI": leaf["ServiceURI"], "ClientCertSerial": leaf["SerialNumber"]}
        ]


def test_a_probe_makes_no_noise_and_does_not_reach_the_application(household: Household) -> None:
    for _ in range(3):
        household.client(household.echo_port).close()
    household.echo_proxy.wait_for(r"\[DEBUG\] connection from .* ended without a word", count=3)
    assert not household.echo_proxy.has(r"\[(WARN|ERR)\]")
    assert household.application.connections == 0


def test_a_silent_peer_is_cut_at_the_handshake_timeout(world: World) -> None:
    with Household(world, config={"handshake_timeout_ms": 300}) as household:
        began = time.monotonic()
        with household.client(household.echo_port) as sock:
            assert ended(sock)
        assert 0.25 < time.monotonic() - began < 20
        with household.client(household.echo_port) as sock:
            # the beginning of a ClientHello, and nothing more
            assert ended(sock, after=b"\x16\x03\x01")
        household.echo_proxy.wait_for(r"\[ERR\] connection from .* refused: no TLS handshake within 0.3 s")


def test_a_client_that_speaks_no_tls_is_refused(household: Household) -> None:
    with household.client(household.echo_port) as sock:
        sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):  # who takes its time to read the alert is cut off
            exactly(sock, 100)
    household.echo_proxy.wait_for(r"\[ERR\] connection from .* refused: TLS handshake failed: ")
    assert household.application.connections == 0


def test_an_upstream_with_the_certificate_of_another_service_gets_not_a_byte(world: World) -> None:
    heard: list[bytes] = []

    def listen(connection: socket.socket) -> None:
        heard.append(connection.recv(100))

    with Household(world, serve=listen) as household:
        register_instance(household.world, "wrong-px", "wrong", household.echo_port)
        (port,) = free_ports(1)
        upstreams = [*household.web.upstreams, {"destination_name": "wrong", "local_bind_port": port}]
        household.world.define(household.redefined_web(upstreams), household.echo)
        household.web_proxy.wait_for(f"service:default/wrong starting on 127.0.0.1:{port}")
        eventually(lambda: _refused(household, port), "the refusal")
        household.web_proxy.wait_for(
            r"\[ERR\] failed to dial: peer certificate mismatch got spiffe://[^/]+/ns/default/dc/dc1/svc/echo, "
            r"want spiffe:///ns/default/dc/dc1/svc/wrong"
        )
        assert not any(heard)


def _refused(household: Household, port: int) -> bool:
    with household.client(port) as sock:
        assert ended(sock, after=b"hello")
    return household.web_proxy.has("peer certificate mismatch")


def register_instance(world: World, name: str, destination: str, port: int) -> None:
    """A proxy instance of ``destination`` in the catalog, wherever it leads."""
    body = {
        "ID": f"{name}-{port}",
        "Name": name,
        "Kind": "connect-proxy",
        "Address": "127.0.0.1",
        "Port": port,
        "Proxy": {"DestinationServiceName": destination},
    }
    ask(world, "PUT", "/v1/agent/service/register", body)
    listed = f"/v1/health/connect/{destination}?passing"
    eventually(
        lambda: port in [entry["Service"]["Port"] for entry in ask(world, "GET", listed)], "registration"
    )
