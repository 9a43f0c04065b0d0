"""What the core hears (events) and what it orders (commands). All frozen, none with behaviour."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from reference.supervisor.spec import Process, ProxySpec, ProxyStatus


class Timer(StrEnum):
    """What a proxy can be waiting for; at most one at a time."""

    RESTART = "restart"
    GRACE = "grace"
    KILL_RETRY = "kill-retry"


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one proxy of an earlier agent: its process, and how often it was started lately.

    ``fingerprint`` stands for the spec it was started from; it is empty when the process was found by a search
    and not by the snapshot, and then the process itself must be asked. ``retry_at`` is when a proxy in back-off was
    to be started, in monotonic seconds of the same boot. ``ready`` tells whether the process had announced itself.
    """

    proxy_id: str
    process: Process | None
    fingerprint: str
    starts: int
    retry_at: float | None = None
    ready: bool = False


# --- events ----------------------------------------------------------------------------------------------


class Remembered(msgspec.Struct, frozen=True, kw_only=True):
    """An earlier agent ran this proxy. Comes before any definition."""

    memory: Memory


class Defined(msgspec.Struct, frozen=True, kw_only=True):
    """A proxy is wanted, as described; repeated with an equal spec it changes nothing."""

    spec: ProxySpec


class Removed(msgspec.Struct, frozen=True, kw_only=True):
    """A proxy is no longer wanted."""

    proxy_id: str


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """All definitions that the agent starts with are known: what only the snapshot names is an orphan."""


class Orphaned(msgspec.Struct, frozen=True, kw_only=True):
    """Nobody wants what an earlier agent ran under this id."""

    proxy_id: str


class Sought(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to :class:`Seek`: the live process of that proxy, if there is one, now watched.

    ``current`` says whether it was started from the spec that is wanted now, ``outdated`` whether it runs another
    release of the agent's own program than this agent's.
    """

    proxy_id: str
    process: Process | None
    current: bool
    outdated: bool = False


class Started(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to :class:`Spawn`: it runs and is watched."""

    proxy_id: str
    process: Process


class StartFailed(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to :class:`Spawn`: nothing runs. ``reason`` is fit for a log."""

    proxy_id: str
    reason: str


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """A watched process announces that it serves."""

    proxy_id: str
    process: Process


class Restart(msgspec.Struct, frozen=True, kw_only=True):
    """A proxy that runs, waits or is held shall be started afresh; ``reason`` is fit for a log."""

    proxy_id: str
    reason: str


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """A proxy shall not run for now, although it is wanted; ``reason`` is fit for a log."""

    proxy_id: str
    reason: str


class Exited(msgspec.Struct, frozen=True, kw_only=True):
    """A watched process is gone, and so is what was left of its process group."""

    proxy_id: str
    process: Process
    reason: str


class TimerFired(msgspec.Struct, frozen=True, kw_only=True):
    """The time asked for with :class:`SetTimer` has passed."""

    proxy_id: str
    timer: Timer


class AgentStopping(msgspec.Struct, frozen=True, kw_only=True):
    """The agent ends and takes its proxies with it (development mode without a data directory)."""


Event = (
    Remembered
    | Defined
    | Removed
    | Settled
    | Orphaned
    | Sought
    | Started
    | StartFailed
    | Ready
    | Restart
    | Hold
    | Exited
    | TimerFired
    | AgentStopping
)


# --- commands --------------------------------------------------------------------------------------------


class Seek(msgspec.Struct, frozen=True, kw_only=True):
    """Find out whether the remembered process still lives, and whether it runs what ``spec`` says."""

    proxy_id: str
    spec: ProxySpec | None
    memory: Memory | None


class Spawn(msgspec.Struct, frozen=True, kw_only=True):
    """Start a process for this spec and watch it."""

    spec: ProxySpec


class Signal(msgspec.Struct, frozen=True, kw_only=True):
    """Send a signal to the process group that this very process leads; to nobody if it is gone."""

    proxy_id: str
    process: Process
    signal: str


class SetTimer(msgspec.Struct, frozen=True, kw_only=True):
    """Wake this proxy after ``seconds``."""

    proxy_id: str
    timer: Timer
    seconds: float


class CancelTimer(msgspec.Struct, frozen=True, kw_only=True):
    """The proxy no longer waits."""

    proxy_id: str


class WritePidFile(msgspec.Struct, frozen=True, kw_only=True):
    """Note the pid where operators look for it."""

    proxy_id: str
    pid: int


class RemovePidFile(msgspec.Struct, frozen=True, kw_only=True):
    """The proxy is gone for good."""

    proxy_id: str


class Persist(msgspec.Struct, frozen=True, kw_only=True):
    """Replace the snapshot by this, before any command that follows."""

    memories: tuple[Memory, ...]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Tell the agent; ``status`` is ``None`` once the proxy is forgotten."""

    proxy_id: str
    status: ProxyStatus | None


Command = Seek | Spawn | Signal | SetTimer | CancelTimer | WritePidFile | RemovePidFile | Persist | Report
