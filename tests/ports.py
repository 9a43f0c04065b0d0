"""Ports that nobody else on the machine takes: not another worker of the tests, not a run of the suite, no outgoing
connection. One that the kernel gave away for a moment may be any of these a moment later.
"""

from __future__ import annotations

from functools import cache

from conformance.instruments.ports import PortAllocator, is_free

_BLOCKS, _BLOCK = 3, 64


class _Ring:
    """The ports of this process, from blocks that it holds until its end; one comes again after all others."""

    def __init__(self) -> None:
        self._blocks = PortAllocator()
        self._next = [port for _ in range(_BLOCKS) for port in self._blocks.ports(_BLOCK)]

    def take(self, count: int) -> range:
        ports = self._next
        for at in range(len(ports)):
            wanted = range(ports[at], ports[at] + count)
            if ports[at : at + count] == [*wanted] and all(map(is_free, wanted)):
                self._next = ports[at + count :] + ports[: at + count]
                return wanted
        raise OSError(f"no {count} consecutive ports are free")


@cache
def _ring() -> _Ring:
    return _Ring()


def free_ports(count: int) -> range:
    """Consecutive ports on which nobody listens."""
    return _ring().take(count)


def free_port() -> int:
    """A port on which nobody listens."""
    return free_ports(1)[0]
