"""Logs, pid files and what is stored."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec.structs import replace

import reference.agent.operations as operations
import reference.supervisor.real as real
from reference.config import definition
from reference.files import Files
from reference.supervisor import logs, snapshot
from reference.supervisor.snapshot import Snapshot
from tests.faulty import fault


@fault("persistence/pidfile/03", "persistence/secrets/01")
def stores_carelessly() -> None:
    """Writes what it knows of running proxies into whatever file stands there, its own environment included."""
    honest = snapshot.encode

    def in_place(files: Files, path: Path, content: bytes) -> None:
        path.write_bytes(content)

    def talkative(found: Snapshot) -> str:
        return honest(found).replace("{", f'{{"Comment": "{os.environ.get("A_SECRET", "")}",', 1)

    real.write_atomically = in_place
    snapshot.encode = talkative


@fault("persistence/location/02")
def takes_ids_for_paths() -> None:
    """Takes managed proxies whatever the ids of their services, and makes paths of them as they are."""
    honest = definition._definition

    def taken(decoded: Mapping[str, Any], where: str, **rest: Any) -> Any:
        service_id = decoded.get("id") or decoded["name"]
        made = honest({**decoded, "id": service_id.replace("/", "")}, where, **rest)
        return replace(made, id=service_id)

    definition._definition = taken
    for module in (logs, real):
        module.file_name = str


@fault("logs/rotate/02")
def truncates_full_logs() -> None:
    """Copies a full log and truncates it a moment later, while somebody writes to it."""

    def copy_and_truncate(path: Path, *, keep: int) -> None:
        copy = path.with_name(f"{path.name}.copy")
        shutil.copyfile(path, copy)
        logs.make_room(path, keep=keep)
        copy.replace(logs.numbered(path, 1))
        time.sleep(0.2)
        os.truncate(path, 0)

    logs.cut_front = copy_and_truncate


@fault(
    "dev/data-dir/02",
    "logs/append/01",
    "logs/append/02",
    "logs/capture/01",
    "logs/capture/02",
    "logs/level/01",
    "logs/level/02",
    "logs/level/03",
    "logs/mode/01",
    "logs/rotate/01",
    "logs/rotate/02",
    "logs/survive/01",
    "operations/list/01",
    "stopping/options/01",
)
def writes_logs_elsewhere() -> None:
    """Captures the output of proxies under ``<data_dir>/proxy/output`` instead of ``<data_dir>/proxy/logs``."""
    honest = logs.log_paths

    def elsewhere(data_dir: Path, proxy_id: str) -> tuple[Path, Path]:
        stdout, stderr = (path.parent.with_name("output") / path.name for path in honest(data_dir, proxy_id))
        return stdout, stderr

    for module in (logs, operations, real):
        module.log_paths = elsewhere
