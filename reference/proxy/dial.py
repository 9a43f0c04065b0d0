"""A connection to somewhere, TCP or by a unix socket, made in a task.

Problems read as the original's, for those who search logs."""

from __future__ import annotations

import errno
import os
import socket

from reference.proxy.endpoints import Address, Endpoint, SocketPath
from reference.proxy.loop import WRITE, Loop, pause, ready
from reference.proxy.tuning import tune
from reference.proxy.workers import Workers

#: No event tells when a unix socket takes connections again.
QUEUE_PAUSE = 0.01


class DialError(OSError):
    """Nobody answers there; the message says where and why."""


async def dial(loop: Loop, workers: Workers, address: Endpoint) -> socket.socket:
    """A connected, non-blocking socket. Raises :class:`DialError`, or TimeoutError at the task's deadline."""
    if isinstance(address, SocketPath):
        return await _dial_path(loop, address)
    problem = "no address"
    for family, target in await _targets(loop, workers, address):
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            tune(sock, target[0])
            failure = sock.connect_ex(target)
            if failure == errno.EINPROGRESS:
                # On the same machine the handshake is over before the call has returned: asked again, it says so.
                failure = sock.connect_ex(target)
            if failure in (errno.EALREADY, errno.EINPROGRESS):
                await ready(sock.fileno(), WRITE)
                failure = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        except BaseException:
            loop.forget(sock.fileno())
            sock.close()
            raise
        if failure in (0, errno.EISCONN):
            return sock
        loop.forget(sock.fileno())
        sock.close()
        problem = os.strerror(failure).lower()
    raise DialError(f"dial tcp {address}: connect: {problem}")


async def _dial_path(loop: Loop, address: SocketPath) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        while (failure := sock.connect_ex(address.path)) == errno.EAGAIN:  # its queue is full
            await pause(loop, QUEUE_PAUSE)
    except BaseException:
        sock.close()
        raise
    if failure:
        sock.close()
        raise DialError(f"dial unix {address.path}: connect: {os.strerror(failure).lower()}")
    return sock


async def _targets(loop: Loop, workers: Workers, address: Address) -> list[tuple[int, tuple[str, int]]]:
    """Families and socket addresses to try. An IP address stands for itself; a name is looked up elsewhere."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, address.host)
        except OSError:
            continue
        return [(family, (address.host, address.port))]
    try:
        found = await workers.run(
            loop, lambda: socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        )
    except OSError as problem:
        raise DialError(f"dial tcp {address}: lookup: {problem.strerror}") from None
    return [(family, (str(target[0]), int(target[1]))) for family, _, _, _, target in found]
