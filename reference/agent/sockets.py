"""The sockets that an agent listens on, claimed before anything else is touched."""

from __future__ import annotations

import errno
import os
import socket

_BACKLOG = 1024
_REMEDIES = {
    errno.EADDRINUSE: "stop the program that uses it, or choose another port with {option}",
    errno.EADDRNOTAVAIL: "name an address of this machine with -client",
    errno.EACCES: "choose a port above 1023 with {option}",
}


class StartError(Exception):
    """The agent cannot start; the text says what, where, and what to do."""


def claim(
    address: tuple[str, int], kind: socket.SocketKind = socket.SOCK_STREAM, *, what: str, option: str
) -> socket.socket:
    """A socket of ``kind`` bound to host and port, and listening when it is one for connections.

    ``what`` wants it, and ``option`` would give it another port. Raises :class:`StartError`.
    """
    host, port = address
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        if kind == socket.SOCK_STREAM:
            return socket.create_server(address, family=family, backlog=_BACKLOG)
        return _bound(socket.socket(family, kind), address)
    except OSError as error:
        number = error.errno or 0
        remedy = _REMEDIES.get(number, "choose another address with -client and {option}")
        raise StartError(
            f"{what} cannot listen on {host}:{port}: {os.strerror(number).lower()}; {remedy.format(option=option)}"
        ) from error


def _bound(sock: socket.socket, address: tuple[str, int]) -> socket.socket:
    try:
        sock.bind(address)
    except OSError:
        sock.close()
        raise
    return sock
