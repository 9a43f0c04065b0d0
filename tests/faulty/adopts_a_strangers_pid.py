"""Takes whatever process has the remembered pid for its proxy."""

from __future__ import annotations

import os

from reference.supervisor import linux
from reference.supervisor.spec import Process

BREAKS = frozenset(
    {
        "lifecycle/adopt/03",
    }
)


def install() -> None:
    def by_pid_alone(process: Process) -> int | None:
        try:
            return os.pidfd_open(process.pid)
        except ProcessLookupError:
            return None

    linux.open_process = by_pid_alone
