"""Ends the proxies that an agent left running, when no agent is there to do it.

It is the supervisor itself that does it, with no definition to fulfil: so each is found, told from strangers, asked,
killed if need be and forgotten exactly as an agent would.
"""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from reference.config.errors import ConfigError
from reference.files import LinuxFiles
from reference.supervisor.runner import ManagedProxies
from reference.supervisor.spec import ProxyStatus

_CANNOT_BE_USED = "cannot be used as the data directory of an agent"


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a proxy: the process that it had, and why it is still there if it is."""

    proxy_id: str
    pid: int | None
    problem: str


def end(data_dir: Path, proxy_ids: Collection[str] | None, *, seconds: float) -> tuple[Ended, ...]:
    """End the proxies of the agent that ``data_dir`` belonged to; ``None`` for all of them.

    Raises :class:`ConfigError` when it is no such directory, is in use, or knows no proxy of a given id.
    """
    try:
        owner = data_dir.stat().st_uid
        agent_id = str(uuid.UUID((data_dir / "node-id").read_text(encoding="ascii").strip()))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "its node-id is damaged"
        remedy = "Name the directory that the agent had as -data-dir"
        raise ConfigError(str(data_dir), f"{_CANNOT_BE_USED}: {reason}", remedy) from None
    with _acting_as(owner), _held(data_dir):
        return asyncio.run(_end(data_dir, agent_id, proxy_ids, seconds=seconds))


async def _end(
    data_dir: Path, agent_id: str, proxy_ids: Collection[str] | None, *, seconds: float
) -> tuple[Ended, ...]:
    news = asyncio.Event()
    pids: dict[str, int | None] = {}

    def heard(proxy_id: str, status: ProxyStatus | None) -> None:
        if status is not None and status.pid is not None:
            pids[proxy_id] = status.pid
        news.set()

    proxies = ManagedProxies(data_dir=data_dir, agent_id=agent_id, on_change=heard)
    await proxies.start()
    try:
        known = proxies.remembered()
        unknown = sorted(set(proxy_ids or ()) - known)
        if unknown:
            raise ConfigError(
                str(data_dir), f"it knows no managed proxy called {unknown[0]}", f"It has: {_list(known)}"
            )
        chosen = sorted(known if proxy_ids is None else set(proxy_ids))
        for proxy_id in chosen:
            proxies.orphan(proxy_id)
        try:
            async with asyncio.timeout(seconds):
                while proxies.status():
                    news.clear()
                    await news.wait()
        except TimeoutError:
            pass
        left = proxies.status()
        return tuple(
            Ended(
                proxy_id=proxy_id,
                pid=pids.get(proxy_id),
                problem=left[proxy_id].reason if proxy_id in left else "",
            )
            for proxy_id in chosen
        )
    finally:
        await proxies.shut_down(stop=False)


def _list(ids: Collection[str]) -> str:
    return ", ".join(sorted(ids)) or "none"


@contextmanager
def _held(data_dir: Path) -> Iterator[None]:
    """Keep agents out of the directory meanwhile."""
    files = LinuxFiles()
    try:
        lock = files.lock(data_dir / "agent.lock")
    except BlockingIOError:
        remedy = "Leave out -data-dir to ask that agent, or stop it first"
        raise ConfigError(str(data_dir), "the data directory is in use by a running agent", remedy) from None
    except OSError as error:
        remedy = "Run this as the user of the agent"
        raise ConfigError(str(data_dir), f"{_CANNOT_BE_USED}: {error.strerror}", remedy) from None
    try:
        yield
    finally:
        files.close(lock)


@contextmanager
def _acting_as(owner: int) -> Iterator[None]:
    """Root acts as the owner of the directory, so that the next agent can read what is written."""
    if os.geteuid() != 0 or owner == 0:
        yield
        return
    os.seteuid(owner)
    try:
        yield
    finally:
        os.seteuid(0)
