"""Tells whoever started the proxy that it serves: ``READY=1`` to ``NOTIFY_SOCKET``, as sd_notify(3) has it.

It can be the agent or a service manager, and it can be gone: that is no matter, and never worth a wait.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import suppress


def announce_ready(environment: Mapping[str, str]) -> None:
    """Say so, if there is anybody to say it to. Can be repeated."""
    address = environment.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
        sender.sendto(b"READY=1", address)
