"""Captures the output of proxies under ``<data_dir>/proxy/output`` instead of ``<data_dir>/proxy/logs``."""

from __future__ import annotations

from pathlib import Path

import reference.supervisor.real as real

BREAKS = frozenset(
    {
        "logs/capture/01",
        "logs/capture/02",
        "logs/append/01",
        "logs/append/02",
        "logs/mode/01",
        "logs/level/01",
        "logs/level/02",
        "logs/survive/01",
        "dev/data-dir/02",
    }
)


def install() -> None:
    honest = real._directory

    def elsewhere(path: Path) -> Path:
        return honest(path.with_name("output") if path.name == "logs" else path)

    real._directory = elsewhere
