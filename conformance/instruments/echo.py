"""An application behind a proxy: a TCP server that echoes, counts, and honours half-close."""

from __future__ import annotations

import socket
import struct
from contextlib import suppress

from conformance.instruments.server import LocalServer

_CHUNK = 1 << 16


class EchoServer(LocalServer):
    """Echoes every byte until the peer ends its direction, then ends its own. ``beginnings`` is what came first on each
    connection: the bytes that one read gave, at most 64.
    """

    def __init__(self, port: int = 0) -> None:
        super().__init__(port)
        self._received = 0
        self._beginnings: list[bytes] = []

    @property
    def beginnings(self) -> list[bytes]:
        with self.lock:
            return list(self._beginnings)

    @property
    def received(self) -> int:
        """How many bytes came in so far, over all connections."""
        with self.lock:
            return self._received

    def serve(self, connection: socket.socket) -> None:
        first = True
        while data := connection.recv(_CHUNK):
            with self.lock:
                self._received += len(data)
                if first:
                    self._beginnings.append(data[:64])
            first = False
            connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)


class CandidServer(LocalServer):
    """An application that echoes one message on each connection, ends its own direction, and notes what else comes.

    ``heard`` is how many bytes came after that, ``endings`` how the peer's directions ended: ``end`` or ``reset``. A
    message that is :data:`BREAK` breaks the connection instead.
    """

    BREAK = b"break"

    def __init__(self, port: int = 0) -> None:
        super().__init__(port)
        self._heard = 0
        self._endings: list[str] = []

    @property
    def heard(self) -> int:
        with self.lock:
            return self._heard

    @property
    def endings(self) -> list[str]:
        with self.lock:
            return list(self._endings)

    def serve(self, connection: socket.socket) -> None:
        message = connection.recv(_CHUNK)
        if message == self.BREAK:
            reset(connection)
            return
        connection.sendall(message)
        connection.shutdown(socket.SHUT_WR)
        ending = "end"
        try:
            while data := connection.recv(_CHUNK):
                with self.lock:
                    self._heard += len(data)
        except ConnectionError:
            ending = "reset"
        with self.lock:
            self._endings.append(ending)


def reset(connection: socket.socket) -> None:
    """Close a connection so that the peer is told that it broke."""
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


class SilentServer(LocalServer):
    """An application that takes what it is sent and says nothing, until its peer hangs up."""

    def serve(self, connection: socket.socket) -> None:
        while connection.recv(1 << 16):
            pass
