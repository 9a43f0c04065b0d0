"""What the clients of the bench promise."""

from __future__ import annotations

import select
import socket

from conformance.bench import load
from conformance.instruments.echo import reset


def test_the_other_end_hears_that_it_was_broken_off() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = load.connect(listener.getsockname()[1])
        served, _ = listener.accept()
    with served:
        _fill(served)
        client.shutdown(socket.SHUT_RDWR)
        while client.recv(1 << 18):
            pass
        reset(client)
        waiting = select.poll()
        waiting.register(served, 0)
        assert waiting.poll(5_000), "whoever waits for room waits on"


def _fill(sock: socket.socket) -> None:
    """Send until the other end has no room, and this one neither."""
    waiting = select.poll()
    waiting.register(sock, select.POLLOUT)
    sock.setblocking(False)
    while waiting.poll(300):
        sock.send(bytes(1 << 18))
