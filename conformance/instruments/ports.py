"""TCP ports for checks that run at the same time, and locks between them.

A lock is a bound abstract Unix socket: the kernel scopes it to the network namespace, exactly like a port, and frees
it when its holder dies, however it dies. Ports are handed out in blocks, each block locked by its user.
"""

from __future__ import annotations

import errno
import os
import random
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

#: Above the default ranges of managed proxies (20000-20255) and sidecars (21000-21255), below the ephemeral ports.
_FIRST, _LAST, _BLOCK = 22000, 32000, 64
_POLL_SECONDS = 0.05


class Held(Exception):
    """Somebody else has the lock: a trouble of the suite, for which no implementation is to blame."""


def _lock(name: str) -> socket.socket | None:
    """Take the machine-wide lock ``name``, or ``None`` when another process has it."""
    holder = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        holder.bind(f"\0proxyproof/{name}")
    except OSError as error:
        holder.close()
        if error.errno != errno.EADDRINUSE:
            raise
        return None
    return holder


@contextmanager
def exclusive(name: str, *, timeout: float) -> Iterator[None]:
    """Hold the machine-wide lock ``name``; raises :class:`Held` when it does not come free in time."""
    deadline = time.monotonic() + timeout
    while (holder := _lock(name)) is None:
        if time.monotonic() > deadline:
            raise Held(f"another check held {name} for more than {timeout:.0f} s")
        time.sleep(_POLL_SECONDS)
    with holder:
        yield


def is_free(port: int) -> bool:
    """Whether a server could listen on ``port`` of every local address now."""
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as candidate:
            if kind == socket.SOCK_STREAM:
                # Servers set it as well: a port whose old connections linger in TIME_WAIT is free.
                candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                candidate.bind(("", port))
            except OSError:
                return False
    return True


def accepts(port: int, *, host: str = "127.0.0.1", timeout: float = 1.0) -> bool:
    """Whether something accepts TCP connections on ``port`` now."""
    with suppress(OSError), socket.create_connection((host, port), timeout=timeout):
        return True
    return False


class PortAllocator:
    """Hands out ports that were free when asked for, each once. ``close()`` lets others have the blocks."""

    def __init__(self) -> None:
        self._locks: list[socket.socket] = []
        self._unused: list[int] = []
        self.given: list[int] = []

    def port(self) -> int:
        """One port."""
        return self.ports(1)[0]

    def ports(self, count: int) -> range:
        """``count`` consecutive ports. Raises :class:`ValueError` for more than a block holds."""
        if not 1 <= count <= _BLOCK:
            raise ValueError(f"a check can have 1 to {_BLOCK} consecutive ports, not {count}")
        while True:
            for start in self._unused:
                wanted = range(start, start + count)
                if all(port in self._unused and is_free(port) for port in wanted):
                    self._unused = [port for port in self._unused if port not in wanted]
                    self.given += wanted
                    return wanted
            self._unused = self._claim_block()

    def close(self) -> None:
        """Release the blocks."""
        for holder in self._locks:
            with suppress(OSError):
                holder.close()
        self._locks.clear()

    def _claim_block(self) -> list[int]:
        starts = list(range(_FIRST, _LAST - _BLOCK + 1, _BLOCK))
        first = random.Random(os.urandom(8)).randrange(len(starts))
        for start in starts[first:] + starts[:first]:
            if (holder := _lock(f"ports/{start}")) is not None:
                self._locks.append(holder)
                return list(range(start, start + _BLOCK))
        raise OSError(errno.EADDRNOTAVAIL, f"no block of ports between {_FIRST} and {_LAST} is left")
