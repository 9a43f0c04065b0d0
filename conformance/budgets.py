"""The named time budgets of ``budgets.toml``, scaled for the machine at hand."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

TABLE = Path(__file__).with_name("budgets.toml")

#: How many budgets a wait goes on for unless told otherwise, so that a report can tell late from never.
PATIENCE = 3.0


@dataclass(frozen=True, kw_only=True)
class Budget:
    """``seconds`` is what a conforming implementation may take on an ordinary machine."""

    name: str
    seconds: float
    meaning: str


@dataclass(frozen=True, kw_only=True)
class Budgets:
    """The table, the factor that the operator gave for this machine, and how many budgets a wait goes on for."""

    table: Mapping[str, Budget]
    scale: float = 1.0
    patience: float = PATIENCE

    def __getitem__(self, name: str) -> float:
        """The seconds of one budget, scaled. Raises :class:`KeyError` naming the known budgets."""
        try:
            return self.table[name].seconds * self.scale
        except KeyError:
            raise KeyError(f"no time budget is called {name!r}; known are {', '.join(self.table)}") from None


def load(scale: float = 1.0, patience: float = PATIENCE) -> Budgets:
    """The table of the suite, each budget multiplied by ``scale``."""
    entries = tomllib.loads(TABLE.read_text(encoding="utf-8"))
    table = {name: Budget(name=name, **entry) for name, entry in entries.items()}
    return Budgets(table=table, scale=scale, patience=patience)
