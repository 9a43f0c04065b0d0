"""One listening socket, shared by the loops: whichever wakes up first takes the connection."""

from __future__ import annotations

import errno
import os
import select
import socket
import stat
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any

from reference.proxy.endpoints import Address, Endpoint, SocketPath
from reference.proxy.log import Log
from reference.proxy.loop import READ, Loop, Task
from reference.proxy.tuning import tune

BACKLOG = 1024
#: Connections accepted in one turn of a loop, so that a burst of them does not stop the traffic.
ACCEPT_BATCH = 32
#: How long to wait when there is no descriptor left for a new connection.
PAUSE_WHEN_EXHAUSTED = 0.2
#: How often that is said.
COMPLAINT_SECONDS = 30.0

_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

Serve = Callable[[Task, socket.socket, str], Coroutine[Any, Any, None]]


class Listener:
    """Listens on ``bind`` from its creation on; :meth:`close` leaves connections alone.

    ``serve(task, socket, peer)`` is spawned for each connection, on the loop that accepted it, with a non-blocking
    socket that it owns. The creation raises :class:`OSError` when the address cannot be listened on.
    """

    def __init__(self, loops: Sequence[Loop], bind: Endpoint, serve: Serve, log: Log) -> None:
        self._serve = serve
        self._log = log
        self._loops = tuple(loops)
        self._watching = set(loops)
        self._complained = float("-inf")
        self._closed = False
        self._path = bind.path if isinstance(bind, SocketPath) else ""
        self._socket = _listen_at_path(bind) if isinstance(bind, SocketPath) else _listen_at_address(bind)
        for loop in loops:
            loop.post(lambda loop=loop: self._watch(loop))  # type: ignore[misc]

    def close(self) -> None:
        """Stop listening, at once for clients. From any thread."""
        self._closed = True
        if self._path:
            with suppress(OSError):  # somebody else has tidied up
                os.unlink(self._path)
        self._socket.shutdown(socket.SHUT_RDWR)
        for loop in self._loops:
            loop.post(lambda loop=loop: self._unwatch(loop))  # type: ignore[misc]

    def _watch(self, loop: Loop) -> None:
        if not self._closed:
            mask = READ | (select.EPOLLEXCLUSIVE if len(self._loops) > 1 else 0)
            loop.watch(self._socket.fileno(), mask, lambda _events: self._accept(loop))

    def _unwatch(self, loop: Loop) -> None:
        loop.forget(self._socket.fileno())
        self._watching.discard(loop)
        if not self._watching:
            self._socket.close()

    def _accept(self, loop: Loop) -> None:
        for _ in range(ACCEPT_BATCH):
            try:
                accepted, peer = self._socket.accept()
            except BlockingIOError:
                return
            except OSError as problem:
                if self._closed:
                    return
                if problem.errno in _EXHAUSTED:
                    self._pause(loop, problem)
                    return
                continue  # a connection that was reset before we came to it
            accepted.setblocking(False)
            loop.spawn(self._serve, accepted, peer_name(peer))

    def _pause(self, loop: Loop, problem: OSError) -> None:
        now = time.monotonic()
        if now - self._complained >= COMPLAINT_SECONDS:
            self._complained = now
            self._log.err(f"cannot accept connections: {problem.strerror}; waiting for others to end")
        loop.forget(self._socket.fileno())
        loop.later(PAUSE_WHEN_EXHAUSTED, lambda: self._watch(loop))


def peer_name(peer: Any) -> str:
    """``host:port`` of a socket address; who comes by a unix socket has none."""
    return str(Address(host=peer[0], port=peer[1])) if isinstance(peer, tuple) else "a unix socket"


def _listen_at_address(bind: Address) -> socket.socket:
    listening = socket.socket(socket.AF_INET6 if ":" in bind.host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listening.setblocking(False)
        tune(listening, bind.host)  # accepted sockets inherit it
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((bind.host, bind.port))
        listening.listen(BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening


def _listen_at_path(bind: SocketPath) -> socket.socket:
    """What an earlier life left at the path is replaced; what somebody listens on, or is no socket, stays."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listening.setblocking(False)
        if _is_abandoned(bind.path):
            os.unlink(bind.path)
        listening.bind(bind.path)
        if bind.mode is not None:
            os.chmod(bind.path, bind.mode)
        listening.listen(BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening


def _is_abandoned(path: str) -> bool:
    try:
        if not stat.S_ISSOCK(os.stat(path, follow_symlinks=False).st_mode):
            return False
    except FileNotFoundError:
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        return probe.connect_ex(path) == errno.ECONNREFUSED
