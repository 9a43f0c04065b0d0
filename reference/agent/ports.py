"""Ports for managed proxies: at random from the configured range, never one that is in use.

The original looks at its own proxies only (MP-PORT-004); here the operating system is asked too, by binding.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Container


class PortsExhausted(Exception):
    """No port is left; the text is the original's, with its two spaces (MP-PORT-005, MP-API-008)."""

    def __init__(self, low: int, high: int) -> None:
        super().__init__(
            f"no port provided for proxy bind_port and none  left in the allocated range [{low}, {high}]"
        )


def choose_port(
    *,
    low: int,
    high: int,
    taken: Container[int],
    is_free: Callable[[int], bool],
    shuffle: Callable[[list[int]], None] = random.shuffle,
) -> int:
    """A port of the inclusive range that is neither taken nor in use. Raises :class:`PortsExhausted`.

    A range that begins at 0 or below is switched off: then each proxy needs its own ``bind_port`` (MP-PORT-006).
    """
    candidates = list(range(low, high + 1)) if low > 0 else []
    shuffle(candidates)
    for port in candidates:
        if port not in taken and is_free(port):
            return port
    raise PortsExhausted(low, high)


def can_bind(address: str, port: int) -> bool:
    """Whether a proxy could listen on this port now."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As every server does: otherwise ports with connections in TIME_WAIT would count as used.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address.strip("[]"), port))
        except OSError:
            return False
    return True
