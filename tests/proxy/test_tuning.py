"""What TCP sockets are told: nothing is paced within the machine, and elsewhere the machine's choice stands."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from reference.proxy.tuning import PACED, PLAIN, tune

OFFERED = Path("/proc/sys/net/ipv4/tcp_allowed_congestion_control").read_bytes().split()

pytestmark = pytest.mark.skipif(PACED not in OFFERED, reason=f"this kernel does not offer {PACED.decode()}")


def paced(family: int = socket.AF_INET) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, PACED)
    return sock


def control(sock: socket.socket) -> bytes:
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0")


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.2"), (socket.AF_INET6, "::1")])
def test_nothing_is_paced_within_the_machine(family: int, host: str) -> None:
    with paced(family) as sock:
        tune(sock, host)
        assert control(sock) == PLAIN


@pytest.mark.parametrize("host", ["192.0.2.1", "0.0.0.0"])
def test_elsewhere_the_choice_of_the_machine_stands(host: str) -> None:
    with paced() as sock:
        tune(sock, host)
        assert control(sock) == PACED


def test_who_is_accepted_is_not_paced_either() -> None:
    with paced() as listener:
        tune(listener, "127.0.0.1")
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with socket.create_connection(listener.getsockname()):
            accepted, _ = listener.accept()
            with accepted:
                assert control(accepted) == PLAIN


def test_another_control_stays() -> None:
    with socket.socket() as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, PLAIN)
        tune(sock, "127.0.0.1")
        assert control(sock) == PLAIN
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
