"""An application behind a proxy: a TCP server that echoes, counts, and honours half-close."""

from __future__ import annotations

import socket

from conformance.instruments.server import LocalServer

_CHUNK = 1 << 16


class EchoServer(LocalServer):
    """Echoes every byte until the peer ends its direction, then ends its own."""

    def __init__(self, port: int = 0) -> None:
        super().__init__(port)
        self._received = 0

    @property
    def received(self) -> int:
        """How many bytes came in so far, over all connections."""
        with self.lock:
            return self._received

    def serve(self, connection: socket.socket) -> None:
        while data := connection.recv(_CHUNK):
            with self.lock:
                self._received += len(data)
            connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)


class SilentServer(LocalServer):
    """An application that takes what it is sent and says nothing, until its peer hangs up."""

    def serve(self, connection: socket.socket) -> None:
        while connection.recv(1 << 16):
            pass
