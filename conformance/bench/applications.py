"""What stands behind the proxies. As a module, with a port to listen on as its argument, it is a process of the bench.

The first byte of a connection says what it is for:

=========  =============================================================================
``x``      echo: this byte and all that follow come back
``U``      upload: what follows is swallowed and counted
``D``      download: bytes come until the client closes
``B``      both at once
``?``      the answer is two numbers of 8 bytes: bytes swallowed, and transfers under way
=========  =============================================================================

Echoes and questions are served by one event loop. A transfer is handed to a second process, descriptor and all, which
has a thread for each, so that neither disturbs the other.
"""

from __future__ import annotations

import mmap
import os
import selectors
import socket
import struct
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import Process

CHUNK = 1 << 18
COUNTS = struct.Struct("!QQ")
ECHO, UPLOAD, DOWNLOAD, BOTH, QUESTION = b"x", b"U", b"D", b"B", b"?"


class Transfers:
    """The transfers of the second process; their counters are in memory that both processes see."""

    def __init__(self, counters: memoryview) -> None:
        self._counters = counters
        self._lock = threading.Lock()
        self._swallowed = 0
        self._under_way = 0

    def serve(self, handed: socket.socket) -> None:
        """Take connections from the other process until it ends."""
        while True:
            kind, descriptors, _, _ = socket.recv_fds(handed, 1, 1)
            if not kind:
                return
            for descriptor in descriptors:
                self._count(transfers=1)
                arguments = (kind, socket.socket(fileno=descriptor))
                threading.Thread(target=self._transfer, args=arguments, daemon=True).start()

    def _transfer(self, kind: bytes, sock: socket.socket) -> None:
        parts = {UPLOAD: [self._swallow], DOWNLOAD: [_pour], BOTH: [_pour, self._swallow]}[kind]
        threads = [threading.Thread(target=_until_broken, args=(part, sock), daemon=True) for part in parts]
        sock.settimeout(None)
        with sock:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        self._count(transfers=-1)

    def _swallow(self, sock: socket.socket) -> None:
        buffer = bytearray(CHUNK)
        while count := sock.recv_into(buffer):
            self._count(swallowed=count)
        sock.shutdown(socket.SHUT_RDWR)  # whoever pours on the same connection may stop

    def _count(self, *, swallowed: int = 0, transfers: int = 0) -> None:
        with self._lock:
            self._swallowed += swallowed
            self._under_way += transfers
            COUNTS.pack_into(self._counters, 0, self._swallowed, self._under_way)


def _until_broken(part: Callable[[socket.socket], None], sock: socket.socket) -> None:
    with suppress(OSError):
        part(sock)


def _pour(sock: socket.socket) -> None:
    data = bytes(CHUNK)
    while True:
        sock.sendall(data)


class Doorman:
    """The event loop: echoes, answers questions, hands transfers on."""

    def __init__(self, port: int, transfers: socket.socket, counters: memoryview) -> None:
        self._transfers = transfers
        self._counters = counters
        self._selector = selectors.EpollSelector()
        self._server = socket.create_server(("127.0.0.1", port), backlog=4096)
        self._server.setblocking(False)
        self._selector.register(self._server, selectors.EVENT_READ)

    def serve(self) -> None:
        """Serve for ever."""
        known: dict[socket.socket, bytes] = {}
        while True:
            for key, _ in self._selector.select():
                sock = key.fileobj
                assert isinstance(sock, socket.socket)
                if sock is self._server:
                    self._accept()
                elif sock in known:
                    if not _echo(sock):
                        self._drop(sock)
                        del known[sock]
                else:
                    self._begin(sock, known)

    def _accept(self) -> None:
        with suppress(BlockingIOError):
            while True:
                sock, _ = self._server.accept()
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._selector.register(sock, selectors.EVENT_READ)

    def _begin(self, sock: socket.socket, known: dict[socket.socket, bytes]) -> None:
        try:
            kind = sock.recv(1, socket.MSG_PEEK)
        except OSError:
            kind = b""
        if kind == ECHO:
            if _echo(sock):
                known[sock] = kind
            else:
                self._drop(sock)
            return
        if kind in (UPLOAD, DOWNLOAD, BOTH):
            sock.recv(1)
            socket.send_fds(self._transfers, [kind], [sock.fileno()])
        elif kind == QUESTION:
            sock.send(self._counters[: COUNTS.size])
        self._drop(sock)

    def _drop(self, sock: socket.socket) -> None:
        self._selector.unregister(sock)
        sock.close()


def _echo(sock: socket.socket) -> bool:
    try:
        data = sock.recv(CHUNK)
        return bool(data) and sock.send(data) == len(data)
    except OSError:
        return False


def main() -> None:
    """Both processes; the second ends with the first."""
    here, there = socket.socketpair()
    counters = memoryview(mmap.mmap(-1, COUNTS.size))  # shared with a child, and gone with both

    def serve_transfers() -> None:
        here.close()
        Transfers(counters).serve(there)
        os._exit(0)

    Process(target=serve_transfers, daemon=True).start()
    there.close()
    Doorman(int(sys.argv[1]), here, counters).serve()


if __name__ == "__main__":
    main()
