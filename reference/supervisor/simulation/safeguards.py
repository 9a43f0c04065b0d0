"""Each safeguard of the real world, and how to take it away from outside: by a kernel that does not keep its promise.

The supervisor's code is the same with and without. What it relies on is withheld, so whatever it does with it is in
vain; the watchman must then find a broken rule, or the safeguard would be worth nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from msgspec.structs import replace

from reference.files import TEMPORARY
from reference.supervisor.kernel import Stat
from reference.supervisor.simulation.disk import SimulatedFiles
from reference.supervisor.simulation.kernel import SimulatedKernel
from reference.supervisor.simulation.machine import SimulatedProcess

#: What names the agent in the environment of its proxies.
_AGENT = "CONNECT_PROXY_AGENT_ID"


class Safeguard(StrEnum):
    """The names that ``proxyproof simulate --ablate`` takes."""

    START_TIME = "start-time"
    BOOT_ID = "boot-id"
    SEARCH = "search"
    OWNERSHIP = "ownership"
    SESSION_LEADER = "session-leader"
    PIDFD = "pidfd"
    GROUP_KILL = "group-kill"
    REMNANTS = "remnants"
    ATOMIC_REPLACE = "atomic-replace"
    SYNC = "sync"
    SYNC_DIRECTORY = "sync-directory"
    LOCK = "lock"
    BIND_TEST = "bind-test"
    DEATH_SIGNAL = "death-signal"
    MONOTONIC_CLOCK = "monotonic-clock"


@dataclass(frozen=True)
class Ablation:
    """What the safeguard is for, and what takes it away from a kernel."""

    summary: str
    apply: Callable[[SimulatedKernel, SimulatedFiles], None]


def take_away(safeguards: frozenset[Safeguard], kernel: SimulatedKernel, files: SimulatedFiles) -> None:
    """Have a kernel no longer keep what these safeguards rely on."""
    for safeguard in sorted(safeguards):
        ABLATIONS[safeguard].apply(kernel, files)


def _stat_shows(kernel: SimulatedKernel, change: Callable[[int, Stat], Stat]) -> None:
    honest = kernel.stat

    def stat(pid: int) -> Stat | None:
        found = honest(pid)
        return None if found is None else change(pid, found)

    setattr(kernel, "stat", stat)  # noqa: B010


def _start_time(kernel: SimulatedKernel, _: SimulatedFiles) -> None:
    _stat_shows(kernel, lambda pid, found: replace(found, start_time=1))


def _session_leader(kernel: SimulatedKernel, _: SimulatedFiles) -> None:
    _stat_shows(kernel, lambda pid, found: replace(found, session=pid))


def _remnants(kernel: SimulatedKernel, _: SimulatedFiles) -> None:
    """Whoever outlives the leader of its session passes for dead."""

    def leads(pid: int) -> bool:
        leader = kernel.machine.processes.get(pid)
        return leader is not None and not leader.zombie

    _stat_shows(kernel, lambda pid, found: found if leads(found.session) else replace(found, state="X"))


def _boot_id(kernel: SimulatedKernel, _: SimulatedFiles) -> None:
    setattr(kernel, "boot_id", lambda: "any-boot")  # noqa: B010


def _environment_shows(
    kernel: SimulatedKernel, change: Callable[[Mapping[str, str]], Mapping[str, str]]
) -> None:
    honest = kernel.environment

    def environment(pid: int) -> Mapping[str, str] | None:
        found = honest(pid)
        return None if found is None else change(found)

    setattr(kernel, "environment", environment)  # noqa: B010


def _search(kernel: SimulatedKernel, _: SimulatedFiles) -> None:
    _environment_shows(kernel, lambda found: {**found, _AGENT: "nobody"})


class _AnyAgent(str):
    """Equal to the id of whatever agent asks."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = str.__hash__


def _ownership(kernel: SimulatedKernel, _: SimulatedFiles) -> None:
    _environment_shows(
        kernel, lambda found: {**found, _AGENT: _AnyAgent(found[_AGENT])} if _AGENT in found else found
    )


def _pidfd(kernel: SimulatedKernel, _: SimulatedFiles) -> None:
    held = kernel.held

    def by_number(descriptor: int) -> SimulatedProcess:
        """Whoever has the pid now, as a signal to a bare pid would reach."""
        once = kernel.descriptor(descriptor)
        return kernel.machine.processes.get(once.pid) or held(descriptor)

    setattr(kernel, "held", by_number)  # noqa: B010


def _group_kill(kernel: SimulatedKernel, _: SimulatedFiles) -> None:
    honest = kernel.members
    setattr(kernel, "members", lambda group: [p for p in honest(group) if p.pid == group])  # noqa: B010


def _atomic_replace(_: SimulatedKernel, files: SimulatedFiles) -> None:
    """Files are written where they are."""
    setattr(files, "create", lambda path: files.truncate(Path(str(path).removesuffix(TEMPORARY))))  # noqa: B010
    setattr(files, "replace", lambda old, new: None)  # noqa: B010
    honest = files.unlink
    setattr(files, "unlink", lambda path: None if path.name.endswith(TEMPORARY) else honest(path))  # noqa: B010


def _sync(_: SimulatedKernel, files: SimulatedFiles) -> None:
    setattr(files, "sync", lambda descriptor: None)  # noqa: B010


def _sync_directory(_: SimulatedKernel, files: SimulatedFiles) -> None:
    setattr(files, "sync_directory", lambda path: None)  # noqa: B010


def _lock(_: SimulatedKernel, files: SimulatedFiles) -> None:
    setattr(files, "lock", files.append)  # noqa: B010


def _bind_test(kernel: SimulatedKernel, _: SimulatedFiles) -> None:
    setattr(kernel, "can_bind", lambda address, port: True)  # noqa: B010


def _death_signal(kernel: SimulatedKernel, _: SimulatedFiles) -> None:
    setattr(kernel, "kills_orphans", lambda: False)  # noqa: B010


def _monotonic_clock(kernel: SimulatedKernel, _: SimulatedFiles) -> None:
    honest = kernel.now
    setattr(kernel, "now", lambda: honest() + kernel.machine.wall_error)  # noqa: B010


ABLATIONS: Mapping[Safeguard, Ablation] = {
    Safeguard.START_TIME: Ablation("a recycled pid is told from the process that had it", _start_time),
    Safeguard.BOOT_ID: Ablation(
        "what was before a reboot is told from what looks the same after it", _boot_id
    ),
    Safeguard.SEARCH: Ablation("proxies that no snapshot knows are found by their environment", _search),
    Safeguard.OWNERSHIP: Ablation("proxies of another agent are told from our own", _ownership),
    Safeguard.SESSION_LEADER: Ablation("a proxy is told from its children", _session_leader),
    Safeguard.PIDFD: Ablation(
        "a process is held while it is signalled, so its pid cannot change hands", _pidfd
    ),
    Safeguard.GROUP_KILL: Ablation("a signal reaches the children of a proxy", _group_kill),
    Safeguard.REMNANTS: Ablation("children that an adopted proxy leaves behind are ended", _remnants),
    Safeguard.ATOMIC_REPLACE: Ablation(
        "a file is the old one or the new one, never half of it", _atomic_replace
    ),
    Safeguard.SYNC: Ablation("the bytes of a file are on the disk before its name is", _sync),
    Safeguard.SYNC_DIRECTORY: Ablation(
        "names are on the disk before a change is acknowledged", _sync_directory
    ),
    Safeguard.LOCK: Ablation("two agents do not share a data directory", _lock),
    Safeguard.BIND_TEST: Ablation("a port is tried before it is handed out", _bind_test),
    Safeguard.DEATH_SIGNAL: Ablation("without a data directory proxies end with their agent", _death_signal),
    Safeguard.MONOTONIC_CLOCK: Ablation("back-off goes by a clock that nobody sets", _monotonic_clock),
}
