"""The suite within a container: its network and its process table, while its files stay those of the machine.

So instruments and checks need not know of containers: an address means what it means to the agent, and so does a pid.
"""

from __future__ import annotations

import ctypes
import os
from types import TracebackType
from typing import Self

from conformance.instruments import processes

_CLONE_NEWNET = 0x40000000


class Inside:
    """The calling thread, and those that it starts, within the network of the container whose init has ``pid``."""

    def __init__(self) -> None:
        self._home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    def __enter__(self) -> Self:
        return self

    def enter(self, pid: int) -> None:
        """Look at the world as the processes of that container do; ``pid`` is a number of this machine."""
        network = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _set_network(network)
        finally:
            os.close(network)
        processes.look_at(f"/proc/{pid}/root/proc")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Back on the machine."""
        processes.look_at()
        _set_network(self._home)
        os.close(self._home)


def _set_network(descriptor: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"the network of a container cannot be entered: {os.strerror(number)}")
