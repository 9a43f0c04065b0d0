"""Where a proxy listens and connects: either family, unix sockets; and what the application is told."""

from __future__ import annotations

import os
import socket
import stat
import struct
from dataclasses import replace
from pathlib import Path

import pytest

from reference.proxy.endpoints import ConfigError, SocketPath, parse_endpoint, socket_path
from reference.proxy.proxy_protocol import SIGNATURE, SPIFFE_URI, SSL, header
from tests.ports import free_ports
from tests.proxy.running import Application, Household, echo, exactly
from tests.proxy.standin import StandIn
from tests.proxy.test_live_changes import talk
from tests.proxy.test_proxies_by_hand import said_back
from tests.proxy.worlds import World
from tests.waiting import eventually


def test_ipv6_on_every_side(standin: StandIn) -> None:
    application = Application(echo, host="::1")
    (port,) = free_ports(1)
    config = {"bind_address": "::1", "local_service_address": f"[::1]:{application.port}"}
    upstream = {"local_bind_address": "::1", "local_bind_port": port}
    with Household(standin, config=config, upstream=upstream) as household:
        household.echo_proxy.wait_for(rf"public listener starting on \[::1\]:{household.echo_port}")
        household.web_proxy.wait_for(rf"\[::1\]:{port}->service:default/echo starting on \[::1\]:{port}")
        with socket.create_connection(("::1", port), timeout=30) as sock:
            talk(sock)
        household.web_proxy.wait_for(rf"successfully connected to \[::1\]:{household.echo_port}")
    application.close()


def test_bind_address_and_port_are_where_it_listens(world: World) -> None:
    with Household(world, config={"bind_address": "127.0.0.3"}) as household:
        household.echo_proxy.wait_for(f"public listener starting on 127.0.0.3:{household.echo_port}")
        with socket.socket() as sock:
            assert sock.connect_ex(("127.0.0.3", household.echo_port)) == 0
        with socket.socket() as sock:
            assert sock.connect_ex(("127.0.0.1", household.echo_port)) != 0


def test_unix_sockets_for_the_application_and_both_listeners(standin: StandIn, tmp_path: Path) -> None:
    paths = {name: str(tmp_path / f"{name}.sock") for name in ("application", "public", "upstream")}
    application = Application(echo, path=paths["application"])
    config = {"local_service_socket_path": paths["application"]}
    upstream = {
        "config": {"local_bind_socket_path": paths["upstream"], "local_bind_socket_mode": "0600"},
    }
    with Household(standin, config=config, upstream=upstream) as household:
        household.web_proxy.wait_for(f"starting on unix://{paths['upstream']}")
        assert stat.S_IMODE(os.stat(paths["upstream"]).st_mode) == 0o600
        assert said_back(paths["upstream"])
        moved = replace(household.echo, config={**household.echo.config, "bind_socket_path": paths["public"]})
        standin.define(household.web, moved)
        household.echo_proxy.wait_for(f"public listener starting on unix://{paths['public']}")
        context = household.context_of("web")
        with socket.socket(socket.AF_UNIX) as plain:
            plain.settimeout(30)
            plain.connect(paths["public"])
            with context.wrap_socket(plain) as peer:
                peer.sendall(b"hello")
                assert exactly(peer, 5) == b"hello"
    application.close()
    assert not os.path.exists(paths["upstream"])


def test_a_socket_left_behind_is_replaced_and_one_in_use_is_not(standin: StandIn, tmp_path: Path) -> None:
    path = tmp_path / "upstream.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    upstream = {"config": {"local_bind_socket_path": str(path)}}
    with Household(standin, upstream=upstream) as household:
        household.web_proxy.wait_for(f"starting on unix://{path}")
        assert said_back(str(path))
        household.web_proxy.process.kill()
        household.web_proxy.finish()
    with socket.socket(socket.AF_UNIX) as used:
        path.unlink()
        used.bind(str(path))
        used.listen()
        with Household(standin, upstream=upstream) as household:
            household.web_proxy.wait_for(rf"\[ERR\] .* listen unix {path}: bind: address already in use")


def test_an_application_that_left_its_socket_behind_is_away(standin: StandIn, tmp_path: Path) -> None:
    path = tmp_path / "none.sock"
    with Household(standin, config={"local_service_socket_path": str(path)}) as household:
        with household.client() as sock:
            sock.sendall(b"hello")
            with pytest.raises(ConnectionResetError):
                sock.recv(1)
        household.echo_proxy.wait_for(
            rf"\[ERR\] failed to dial: dial unix {path}: connect: no such file or directory"
        )


def test_the_application_is_told_who_comes(world: World) -> None:
    headers: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        start = exactly(connection, 16)
        headers.append(start + exactly(connection, struct.unpack("!H", start[14:])[0]))
        echo(connection)

    with Household(world, serve=serve, config={"proxy_protocol": "v2"}) as household:
        with household.peer(household.context_of("web")) as peer:
            peer.sendall(b"hello")
            assert exactly(peer, 5) == b"hello"
            address, port = peer.getsockname()
        (told,) = headers
        assert told[:12] == SIGNATURE
        assert told[12:14] == b"\x21\x11"  # version 2, PROXY; TCP over IPv4
        source, destination, source_port, destination_port = struct.unpack("!4s4sHH", told[16:28])
        assert (socket.inet_ntoa(source), source_port) == (address, port)
        assert (socket.inet_ntoa(destination), destination_port) == ("127.0.0.1", household.echo_port)
        extensions = {}
        rest = told[28:]
        while rest:
            kind, length = struct.unpack("!BH", rest[:3])
            extensions[kind], rest = rest[3 : 3 + length], rest[3 + length :]
        assert extensions[SPIFFE_URI].decode().endswith("/ns/default/dc/dc1/svc/web")
        assert extensions[SSL][:5] == b"\x03\0\0\0\0"  # TLS, with a certificate, verified
        assert b"TLSv1." in extensions[SSL]


def test_a_header_for_ipv6_and_for_a_unix_socket() -> None:
    six = header(
        source=("::1", 5, 0, 0), destination=("::2", 6, 0, 0), uri="spiffe://x", tls_version="TLSv1.3"
    )
    assert six[12:14] == b"\x21\x21"
    assert six[16:52] == b"\0" * 15 + b"\x01" + b"\0" * 15 + b"\x02" + b"\0\x05\0\x06"
    unix = header(source="", destination="/run/x.sock", uri="spiffe://x", tls_version="TLSv1.3")
    assert unix[12:14] == b"\x21\x00"
    assert len(unix) == 16 + struct.unpack("!H", unix[14:16])[0]


def test_where_one_may_listen_by_path() -> None:
    assert parse_endpoint("unix:///run/x.sock", "key") == SocketPath(path="/run/x.sock")
    assert socket_path("/x", "key", "0660") == SocketPath(path="/x", mode=0o660)
    for path, mode in (("x", ""), ("/" + "x" * 107, ""), ("/x", "999"), ("/x", "07777"), ("/x", "-1")):
        with pytest.raises(ConfigError, match="key: "):
            socket_path(path, "key", mode)


def test_nothing_is_left_listening_when_the_agent_takes_an_upstream_away(
    standin: StandIn, tmp_path: Path
) -> None:
    path = tmp_path / "upstream.sock"
    upstream = {"config": {"local_bind_socket_path": str(path)}}
    with Household(standin, upstream=upstream) as household:
        household.web_proxy.wait_for(f"starting on unix://{path}")
        standin.define(household.redefined_web([]), household.echo)
        eventually(lambda: not path.exists(), "the end of the socket")
