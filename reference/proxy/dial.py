"""A TCP connection to somewhere, made in a task. Problems read as the original's, for those who search logs."""

from __future__ import annotations

import errno
import os
import socket

from reference.proxy.config import Address
from reference.proxy.listener import tune
from reference.proxy.loop import WRITE, Loop, ready
from reference.proxy.workers import Workers


class DialError(OSError):
    """Nobody answers there; the message says where and why."""


async def dial(loop: Loop, workers: Workers, address: Address) -> socket.socket:
    """A connected, non-blocking socket. Raises :class:`DialError`, or TimeoutError at the task's deadline."""
    problem = "no address"
    for family, target in await _targets(loop, workers, address):
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            tune(sock)
            failure = sock.connect_ex(target)
            if failure == errno.EINPROGRESS:
                await ready(sock.fileno(), WRITE)
                failure = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        except BaseException:
            loop.forget(sock.fileno())
            sock.close()
            raise
        if not failure:
            return sock
        loop.forget(sock.fileno())
        sock.close()
        problem = os.strerror(failure).lower()
    raise DialError(f"dial tcp {address}: connect: {problem}")


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
