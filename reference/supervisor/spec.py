"""What the supervisor is told, and what it tells: the vocabulary shared with the agent."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from reference.secretive import Secretive


class ProxySpec(Secretive, frozen=True, kw_only=True):
    """One managed proxy to keep running. Two equal specs are the same proxy: no restart between them.

    ``command`` is executed directly, without a shell and without a search of PATH (MP-CFG-023);
    ``environment`` is complete but for ``CONNECT_PROXY_ID`` and ``CONNECT_PROXY_TOKEN``, which are added
    from ``proxy_id`` and ``token``. Secrets stay out of ``repr``.

    ``launcher`` stands before ``command`` where the proxy is the agent's own program: how that program is started.
    It moves when the agent is upgraded, and is no part of what the proxy is.
    """

    UNSHOWN = frozenset({"environment", "token"})

    proxy_id: str
    token: str
    command: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()
    directory: str = ""
    launcher: tuple[str, ...] = ()


class ProxyState(StrEnum):
    """Where a managed proxy is in its life. The names are supervisord's where it has one."""

    REFUSED = "refused"
    ADOPTING = "adopting"
    STARTING = "starting"
    RUNNING = "running"
    BACKOFF = "backoff"
    STOPPING = "stopping"
    KILLING = "killing"
    STOPPED = "stopped"


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """The identity of a process: a pid alone is never trusted, since pids recycle.

    ``start_time`` is the kernel's, in clock ticks since boot (``/proc/<pid>/stat``, field 22); ``boot_id`` tells
    one boot of the machine from the next, after which the same pid and ticks may be anyone's.
    """

    pid: int
    start_time: int
    boot_id: str


class ProxyStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator may see of a managed proxy; never a secret.

    ``since`` is when it came into its state and ``retry_at`` when a proxy in back-off is started again, both in
    monotonic seconds. ``starts`` is what the back-off counts; ``restarts`` is how often this agent has started the
    proxy again, and only grows. ``ready`` tells whether the process has announced that it serves, ``outdated`` whether
    it was started by another release of the agent, whose program it runs.
    """

    proxy_id: str
    state: ProxyState
    process: Process | None = None
    starts: int = 0
    restarts: int = 0
    reason: str = ""
    since: float = 0.0
    retry_at: float | None = None
    ready: bool = False
    outdated: bool = False

    @property
    def pid(self) -> int | None:
        """The pid of its process, if there is one."""
        return None if self.process is None else self.process.pid


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """What one agent's supervision comes to since it began, for metrics: every number only grows.

    ``restarts`` counts starts after the first of each proxy, ``failures`` what ended or could not be started without
    having been told to, ``backoff_seconds`` the waits that were imposed.
    """

    restarts: int = 0
    failures: int = 0
    backoff_seconds: float = 0.0


class Timings(msgspec.Struct, frozen=True, kw_only=True):
    """How patient the supervisor is, in seconds. The defaults are the original's (MP-LIFE-003, MP-STOP-001).

    ``stop_signal`` is the name of the signal that asks a proxy to end.
    """

    quick_starts: int = 3
    backoff_base: float = 2.0
    backoff_limit: float = 60.0
    healthy_run: float = 10.0
    stop_signal: str = "SIGINT"
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
        return min(self.backoff_limit, self.backoff_base * 2.0 ** min(start - self.quick_starts - 1, 64))
