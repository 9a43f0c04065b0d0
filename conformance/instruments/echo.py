"""An application behind a proxy: a TCP server that echoes, counts, and honours half-close."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

_CHUNK = 1 << 16


class EchoServer:
    """Echoes every byte on ``127.0.0.1:port`` until the peer ends its direction, then ends its own.

    A context manager: it listens from the start of the block and hangs up at its end.
    """

    def __init__(self, port: int = 0) -> None:
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._connections = 0
        self._received = 0

    @property
    def connections(self) -> int:
        """How many connections were accepted so far."""
        with self._lock:
            return self._connections

    @property
    def open(self) -> int:
        """How many connections are open now."""
        with self._lock:
            return len(self._open)

    @property
    def received(self) -> int:
        """How many bytes came in so far, over all connections."""
        with self._lock:
            return self._received

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, name=f"echo-{self.port}", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the accepting thread
        self._listener.close()
        with self._lock:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self._connections += 1
                self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            while data := connection.recv(_CHUNK):
                with self._lock:
                    self._received += len(data)
                connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
        with self._lock:
            self._open.discard(connection)
