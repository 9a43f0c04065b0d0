"""What one run hands to every process that executes its checks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from conformance.targets import TargetChoice
from conformance.targets.privileges import Privileges


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """What the operator may set of the checks themselves.

    ``throughput_floor`` is what the pair of proxies must at least carry of what the direct path does,
    ``latency_ceiling`` how many times as long as directly a round trip through it may take. The defaults leave room
    for a machine that does other work meanwhile. ``seed`` chooses what generated checks try, and ``examples`` how many
    they do where it is not left to them. Without ``shortening`` the first example that fails is told as it is.
    """

    throughput_floor: float = 0.03
    latency_ceiling: float = 40.0
    seed: int = 0
    examples: int | None = None
    shortening: bool = True


DEFAULTS = Tuning()


@dataclass(frozen=True, kw_only=True)
class Variant:
    """An implementation that checks meet. The one that a run is about has no name."""

    name: str = ""
    target: TargetChoice


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """Travels as JSON in an option of pytest, which pytest-xdist copies to its workers.

    ``folder`` holds the labs of the run; its name begins the identifier of each. ``history`` takes the events.
    """

    target: TargetChoice
    privileges: Privileges
    time_scale: float
    patience: float
    repeat: int
    tuning: Tuning
    folder: str
    history: str

    def encode(self) -> str:
        """The JSON text."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def decode(cls, text: str) -> RunSettings:
        """The settings back from their JSON text."""
        return msgspec.json.decode(text, type=cls)

    def history_file(self, requirement: str, check: str, repetition: int, variant: str) -> Path:
        """Where the events of one check go."""
        number = f".{repetition}" if repetition > 1 else ""
        name = f".{variant}" if variant else ""
        return Path(self.history) / f"{requirement.replace('/', '-')}.{check}{number}{name}.jsonl"
