"""What the core hears (events) and what it orders (commands). All frozen, none with behaviour."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from reference.supervisor.spec import Process, ProxySpec, ProxyStatus


class Timer(StrEnum):
    """What a proxy can be waiting for; at most one at a time."""

    RESTART = "restart"
    GRACE = "grace"
    KILL_RETRY = "kill-retry"


@dataclass(frozen=True, kw_only=True)
class Memory:
    """What is known of one proxy of an earlier agent: its process, and how often it was started lately.

    ``fingerprint`` stands for the spec it was started from; it is empty when the process was found by a search
    and not by the snapshot, and then the process itself must be asked. ``retry_at`` is when a proxy in back-off was
    to be started, in monotonic seconds of the same boot.
    """

    proxy_id: str
    process: Process | None
    fingerprint: str
    starts: int
    retry_at: float | None = None


# --- events ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Remembered:
    """An earlier agent ran this proxy. Comes before any definition."""

    memory: Memory


@dataclass(frozen=True, kw_only=True)
class Defined:
    """A proxy is wanted, as described; repeated with an equal spec it changes nothing."""

    spec: ProxySpec


@dataclass(frozen=True, kw_only=True)
class Removed:
    """A proxy is no longer wanted."""

    proxy_id: str


@dataclass(frozen=True, kw_only=True)
class Settled:
    """All definitions that the agent starts with are known: what only the snapshot names is an orphan."""


@dataclass(frozen=True, kw_only=True)
class Sought:
    """The answer to :class:`Seek`: the live process of that proxy, if there is one, now watched.

    ``current`` says whether it was started from the spec that is wanted now.
    """

    proxy_id: str
    process: Process | None
    current: bool


@dataclass(frozen=True, kw_only=True)
class Started:
    """The answer to :class:`Spawn`: it runs and is watched."""

    proxy_id: str
    process: Process


@dataclass(frozen=True, kw_only=True)
class StartFailed:
    """The answer to :class:`Spawn`: nothing runs. ``reason`` is fit for a log."""

    proxy_id: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Exited:
    """A watched process is gone, and so is what was left of its process group."""

    proxy_id: str
    process: Process
    reason: str


@dataclass(frozen=True, kw_only=True)
class TimerFired:
    """The time asked for with :class:`SetTimer` has passed."""

    proxy_id: str
    timer: Timer


@dataclass(frozen=True, kw_only=True)
class AgentStopping:
    """The agent ends and takes its proxies with it (development mode without a data directory)."""


Event = (
    Remembered
    | Defined
    | Removed
    | Settled
    | Sought
    | Started
    | StartFailed
    | Exited
    | TimerFired
    | AgentStopping
)


# --- commands --------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Seek:
    """Find out whether the remembered process still lives, and whether it runs what ``spec`` says."""

    proxy_id: str
    spec: ProxySpec | None
    memory: Memory | None


@dataclass(frozen=True, kw_only=True)
class Spawn:
    """Start a process for this spec and watch it."""

    spec: ProxySpec


@dataclass(frozen=True, kw_only=True)
class Signal:
    """Send a signal to the process group that this very process leads; to nobody if it is gone."""

    proxy_id: str
    process: Process
    signal: str


@dataclass(frozen=True, kw_only=True)
class SetTimer:
    """Wake this proxy after ``seconds``."""

    proxy_id: str
    timer: Timer
    seconds: float


@dataclass(frozen=True, kw_only=True)
class CancelTimer:
    """The proxy no longer waits."""

    proxy_id: str


@dataclass(frozen=True, kw_only=True)
class WritePidFile:
    """Note the pid where operators look for it."""

    proxy_id: str
    pid: int


@dataclass(frozen=True, kw_only=True)
class RemovePidFile:
    """The proxy is gone for good."""

    proxy_id: str


@dataclass(frozen=True, kw_only=True)
class Persist:
    """Replace the snapshot by this, before any command that follows."""

    memories: tuple[Memory, ...]


@dataclass(frozen=True, kw_only=True)
class Report:
    """Tell the agent; ``status`` is ``None`` once the proxy is forgotten."""

    proxy_id: str
    status: ProxyStatus | None


Command = Seek | Spawn | Signal | SetTimer | CancelTimer | WritePidFile | RemovePidFile | Persist | Report
