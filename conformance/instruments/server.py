"""What the servers of the suite share: a port on loopback, a thread for each connection, a clean end."""

from __future__ import annotations

import socket
import threading
from abc import ABC, abstractmethod
from contextlib import suppress
from types import TracebackType
from typing import Self


class LocalServer(ABC):
    """Serves connections to ``127.0.0.1:port``; port 0 takes a free one.

    A context manager: it listens from the start of the block and hangs up at its end. ``lock`` guards what
    :meth:`serve` counts.
    """

    def __init__(self, port: int = 0, *, host: str = "127.0.0.1") -> None:
        self._listener = socket.create_server((host, port))
        self.port: int = self._listener.getsockname()[1]
        self.lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._connections = 0

    @abstractmethod
    def serve(self, connection: socket.socket) -> None:
        """Serve one connection in a thread of its own; it is closed afterwards, and an OSError ends it silently."""

    @property
    def connections(self) -> int:
        """How many connections were accepted so far."""
        with self.lock:
            return self._connections

    @property
    def open(self) -> int:
        """How many connections are open now."""
        with self.lock:
            return len(self._open)

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, name=f"{type(self).__name__}-{self.port}", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the accepting thread
        self._listener.close()
        with self.lock:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self.lock:
                self._connections += 1
                self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            self.serve(connection)
        with self.lock:
            self._open.discard(connection)
