"""Managed proxies as the agent runs them: the supervisor, with what the configuration says about it."""

from __future__ import annotations

from collections.abc import Callable

import proxyproof
from reference.agent.environment import locate
from reference.config.model import AgentConfig
from reference.supervisor.logs import Rotation
from reference.supervisor.runner import ManagedProxies
from reference.supervisor.spec import ProxyStatus, Timings


def managed_proxies(
    config: AgentConfig,
    *,
    agent_id: str,
    refusal: str | None,
    on_change: Callable[[str, ProxyStatus | None], None],
) -> ManagedProxies:
    """The supervisor of an agent; the arguments are those of :class:`ManagedProxies`."""
    options = config.supervision
    return ManagedProxies(
        data_dir=config.data_dir,
        agent_id=agent_id,
        refusal=refusal,
        timings=Timings(
            quick_starts=options.quick_starts,
            backoff_base=options.backoff,
            backoff_limit=options.backoff_limit,
            healthy_run=options.healthy_run,
            stop_signal=options.stop_signal,
            stop_grace=options.stop_grace,
            kill_retry=options.kill_retry,
        ),
        rotation=Rotation(limit=options.log_rotate_bytes, keep=options.log_rotate_max_files),
        locate=locate,
        release=proxyproof.__version__,
        on_change=on_change,
    )
