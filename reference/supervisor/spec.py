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
