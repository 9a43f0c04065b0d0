"""Whether the kernel can encrypt TLS by itself; no proxy of ours makes use of that yet."""

from __future__ import annotations

import socket
from contextlib import suppress

#: From linux/tcp.h; Python has no name for it.
_TCP_ULP = 31


def available() -> bool:
    """Ask the kernel for it, on a connection of its own: that also loads the module where we may."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as near,
        suppress(OSError),  # it knows no such thing
    ):
        near.setsockopt(socket.IPPROTO_TCP, _TCP_ULP, b"tls")
        return True
    return False
