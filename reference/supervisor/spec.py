"""What the supervisor is told, and what it tells: the vocabulary shared with the agent."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


@dataclass(frozen=True, kw_only=True)
class ProxySpec:
    """One managed proxy to keep running. Two equal specs are the same proxy: no restart between them.

    ``command`` is executed directly, without a shell and without a search of PATH (MP-CFG-023);
    ``environment`` is complete but for ``CONNECT_PROXY_ID`` and ``CONNECT_PROXY_TOKEN``, which are added
    from ``proxy_id`` and ``token``. Secrets stay out of ``repr``.
    """

    proxy_id: str
    token: str = field(repr=False)
    command: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    directory: str = ""


class ProxyState(StrEnum):
    """Where a managed proxy is in its life. The names are supervisord's where it has one."""

    REFUSED = "refused"
    ADOPTING = "adopting"
    STARTING = "starting"
    RUNNING = "running"
    BACKOFF = "backoff"
    STOPPING = "stopping"
    KILLING = "killing"


@dataclass(frozen=True, kw_only=True)
class ProxyStatus:
    """What an operator may see of a managed proxy; never a secret."""

    proxy_id: str
    state: ProxyState
    pid: int | None = None
    starts: int = 0
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Process:
    """The identity of a process: a pid alone is never trusted, since pids recycle.

    ``start_time`` is the kernel's, in clock ticks since boot (``/proc/<pid>/stat``, field 22); ``boot_id`` tells
    one boot of the machine from the next, after which the same pid and ticks may be anyone's.
    """

    pid: int
    start_time: int
    boot_id: str


@dataclass(frozen=True, kw_only=True)
class Timings:
    """How patient the supervisor is, in seconds. The defaults are the original's (MP-LIFE-003, MP-STOP-001)."""

    quick_starts: int = 3
    backoff_base: float = 2.0
    backoff_limit: float = 60.0
    healthy_run: float = 10.0
    stop_grace: float = 5.0
    kill_retry: float = 1.0

    def delay_before(self, start: int) -> float:
        """Seconds to wait before the ``start``-th start (1 is the first) since the counter was reset.

        >>> [Timings().delay_before(n) for n in range(1, 10)]
        [0.0, 0.0, 0.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0]
        """
        if start <= self.quick_starts:
            return 0.0
        # The exponent is bounded because a crash loop of days would overflow a float.
        return min(self.backoff_limit, self.backoff_base ** min(start - self.quick_starts, 64))
