"""What one run hands to every process that executes its checks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from conformance.targets.privileges import Privileges


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """Travels as JSON in an option of pytest, which pytest-xdist copies to its workers.

    ``folder`` holds the labs of the run; its name begins the identifier of each. ``history`` takes the events.
    """

    target: str
    command: str | None
    privileges: Privileges
    time_scale: float
    folder: str
    history: str

    def encode(self) -> str:
        """The JSON text."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def decode(cls, text: str) -> RunSettings:
        """The settings back from their JSON text."""
        return msgspec.json.decode(text, type=cls)

    def history_file(self, requirement: str, check: str) -> Path:
        """Where the events of one check go."""
        return Path(self.history) / f"{requirement.replace('/', '-')}.{check}.jsonl"
