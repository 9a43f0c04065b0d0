"""The snapshot file as text: what of each proxy must survive the agent (MP-SNAP-002).

The outline is the original's, so that tools which read ``Version``, ``Proxies`` and ``Config.Pid`` go on
working. Two things differ: what proves an identity is added (``StartTime``, ``BootID``), and secrets are left out
(the original writes the token and the whole environment; a ``Fingerprint`` serves the same end).
"""

from __future__ import annotations

import json
from math import isfinite
from typing import Any

import msgspec

from reference.supervisor.events import Memory
from reference.supervisor.spec import Process

VERSION = 1
_MODE_DAEMON = 1


class SnapshotError(ValueError):
    """The text is no snapshot of this version; the message says why and never quotes the content."""


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """What was running, and during which boot of the machine: after another boot none of it means anything."""

    boot_id: str
    memories: tuple[Memory, ...]


def encode(snapshot: Snapshot) -> str:
    """The snapshot's text; entries in the order given."""
    proxies = {
        memory.proxy_id: {"Mode": _MODE_DAEMON, "Config": _config(memory)} for memory in snapshot.memories
    }
    document = {"Version": VERSION, "BootID": snapshot.boot_id, "Proxies": proxies}
    # json in C has no indent, and in Python no speed: with a thousand proxies that start, each writes them all.
    return msgspec.json.format(json.dumps(document), indent=2) + "\n"


def _config(memory: Memory) -> dict[str, Any]:
    config: dict[str, Any] = {
        "ProxyID": memory.proxy_id,
        "Fingerprint": memory.fingerprint,
        "Starts": memory.starts,
    }
    if memory.process is not None:
        config |= {"Pid": memory.process.pid, "StartTime": memory.process.start_time}
    if memory.ready:
        config["Ready"] = True
    if memory.retry_at is not None:
        config["RetryAt"] = memory.retry_at
    return config


def decode(text: str) -> Snapshot:
    """Read a snapshot.

    An entry without proof of identity, such as one of the original's, yields a memory without a process: a pid
    alone is never trusted. Raises :class:`SnapshotError` when the whole text cannot be used.
    """
    try:
        document = json.loads(text)
    except ValueError as error:
        raise SnapshotError(f"it is not JSON ({error})") from None
    if not isinstance(document, dict) or document.get("Version") != VERSION:
        raise SnapshotError(f"unknown snapshot version, expecting {VERSION}")
    proxies = document.get("Proxies")
    if not isinstance(proxies, dict):
        raise SnapshotError("it has no Proxies")
    boot_id = document.get("BootID")
    if not isinstance(boot_id, str):
        boot_id = ""
    memories = tuple(_memory(proxy_id, entry, boot_id) for proxy_id, entry in proxies.items())
    return Snapshot(boot_id=boot_id, memories=memories)


def _memory(proxy_id: str, entry: object, boot_id: str) -> Memory:
    config = entry.get("Config") if isinstance(entry, dict) else None
    if not isinstance(config, dict):
        config = {}
    pid, start_time, starts = (_count(config.get(key)) for key in ("Pid", "StartTime", "Starts"))
    fingerprint, retry_at = config.get("Fingerprint"), config.get("RetryAt")
    process = None
    # pid 0 means "my own group" to kill(2) and pid 1 is init: neither is ever a proxy.
    if pid > 1 and start_time > 0 and boot_id:
        process = Process(pid=pid, start_time=start_time, boot_id=boot_id)
    return Memory(
        proxy_id=proxy_id,
        process=process,
        fingerprint=fingerprint if isinstance(fingerprint, str) else "",
        starts=starts,
        retry_at=retry_at if isinstance(retry_at, float) and isfinite(retry_at) else None,
        ready=config.get("Ready") is True,
    )


def _count(value: object) -> int:
    """A positive whole number, or 0 for whatever else stands there."""
    return max(value, 0) if type(value) is int else 0
