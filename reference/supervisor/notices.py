"""Notices of readiness: how a proxy tells that it serves, in the protocol that service managers use.

Each proxy has ``NOTIFY_SOCKET`` in its environment, an abstract datagram socket of its agent, and may send ``READY=1``
to it (sd_notify(3)). Nothing depends on it: while no agent is there the datagram is refused at once, and a proxy that
never sends one is ready when its check passes. Who sent a notice is what the kernel says, not the sender.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import socket
import struct
from collections.abc import Callable

_log = logging.getLogger("agent/proxy")

#: pid, uid and gid, as SCM_CREDENTIALS has them.
_CREDENTIALS = struct.Struct("3i")
_LONGEST_NOTICE = 4096
#: Notices taken at a time, so that a proxy which sends them without end does not stop everything else.
_BATCH = 64


def address(agent_id: str) -> str:
    """The value of ``NOTIFY_SOCKET``: the same for every agent with this id, so that adopted proxies find it."""
    return f"@proxyproof/{hashlib.sha256(agent_id.encode()).hexdigest()[:32]}"


class Notices:
    """The agent's end. ``on_ready`` hears the pid of each process that says it is ready."""

    def __init__(self, agent_id: str, *, on_ready: Callable[[int], None]) -> None:
        self._on_ready = on_ready
        self._loop = asyncio.get_running_loop()
        self._socket = socket.socket(
            socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        )
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        try:
            self._socket.bind("\0" + address(agent_id)[1:])
        except OSError as error:
            # Not worth an agent: readiness is known by checks, too.
            _log.warning("notices of readiness are not heard: %s", error.strerror)
        self._loop.add_reader(self._socket, self._receive)

    def close(self) -> None:
        """Hear no more; closing twice is fine."""
        if self._socket.fileno() < 0:
            return
        self._loop.remove_reader(self._socket)
        self._socket.close()

    def _receive(self) -> None:
        for _ in range(_BATCH):
            try:
                notice, ancillary, _, _ = self._socket.recvmsg(
                    _LONGEST_NOTICE, socket.CMSG_SPACE(_CREDENTIALS.size)
                )
            except BlockingIOError:
                return
            if b"READY=1" in notice.split(b"\n"):
                for level, kind, data in ancillary:
                    if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
                        self._on_ready(_CREDENTIALS.unpack(data[: _CREDENTIALS.size])[0])
