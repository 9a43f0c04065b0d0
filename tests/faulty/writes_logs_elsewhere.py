"""Captures the output of proxies under ``<data_dir>/proxy/output`` instead of ``<data_dir>/proxy/logs``."""

from __future__ import annotations

from pathlib import Path

import reference.supervisor.real as real

BREAKS = frozenset({"logs/path/01"})


def install() -> None:
    honest = real._directory

    def elsewhere(path: Path) -> Path:
        return honest(path.with_name("output") if path.name == "logs" else path)

    real._directory = elsewhere
