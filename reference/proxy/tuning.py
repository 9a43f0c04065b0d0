"""What every TCP socket of the proxy is told, whether it listens or dials."""

from __future__ import annotations

import socket
from contextlib import suppress

#: Congestion controls of this family send at a pace, by timers: on a path within the machine that only costs.
PACED = b"bbr"
#: What is used there instead: every kernel has it, and every user may choose it.
PLAIN = b"reno"
_NAME_BYTES = 16


def tune(sock: socket.socket, host: str) -> None:
    """Small writes go out at once; a peer that vanished is noticed in the end; nothing is paced within the machine.

    ``host`` is the IP address to listen on or to dial. Accepted sockets inherit all of it. Raises :class:`OSError`.
    """
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if host.startswith("127.") or host == "::1":
        control = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, _NAME_BYTES)
        if control.startswith(PACED):
            with suppress(OSError):  # where a sandbox forbids it the connection is slower, and no worse
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, PLAIN)
