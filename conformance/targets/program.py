"""The program of an implementation, and how it is put somewhere else: what an upgrade does."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class Program(Protocol):
    """What can be put somewhere else."""

    def install(self, folder: Path) -> tuple[str, ...]:
        """Put it into an empty folder; the front of the command that starts it there."""
        ...


@dataclass(frozen=True, kw_only=True)
class OneFile:
    """A program of which one file is all. ``arguments`` follow it."""

    path: Path
    arguments: tuple[str, ...]

    def install(self, folder: Path) -> tuple[str, ...]:
        """Copy the file."""
        return (str(shutil.copy(self.path, folder)), *self.arguments)


@dataclass(frozen=True, kw_only=True)
class PythonModule:
    """What this interpreter runs: the function ``main`` of a module that it has installed."""

    module: str
    name: str
    arguments: tuple[str, ...]

    def install(self, folder: Path) -> tuple[str, ...]:
        """Write a script that runs it."""
        script = folder / self.name
        script.write_text(
            f"#!{sys.executable}\nimport sys\nfrom {self.module} import main\nsys.exit(main())\n"
        )
        script.chmod(0o755)
        return (str(script), *self.arguments)
