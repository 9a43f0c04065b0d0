"""A receiver of UDP datagrams on loopback, such as statsd sends them."""

from __future__ import annotations

import socket
import threading
from types import TracebackType
from typing import Self


class DatagramServer:
    """Notes every line that arrives at ``127.0.0.1:port``. A context manager."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._lock = threading.Lock()
        self._lines: list[str] = []
        self._thread = threading.Thread(target=self._receive, daemon=True)

    @property
    def lines(self) -> list[str]:
        """What has arrived so far, in order."""
        with self._lock:
            return list(self._lines)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # An empty datagram, which no client of this kind sends, ends the thread.
        self._socket.sendto(b"", self._socket.getsockname())
        self._thread.join()
        self._socket.close()

    def _receive(self) -> None:
        while data := self._socket.recv(1 << 16):
            with self._lock:
                self._lines += data.decode(errors="replace").splitlines()
