"""A wheelhouse: everything that an installation of the project needs, gathered outside of the image."""

from __future__ import annotations

import importlib.util
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from conformance.containers.engine import EngineError

#: What a glibc of Debian 12 and later runs, newest first.
_MANYLINUX = ("manylinux_2_36", "manylinux_2_34", "manylinux_2_28", "manylinux_2_17", "manylinux2014")
_QUOTED_LINES = 3


def demand(source: Path) -> None:
    """Raise :class:`EngineError` unless ``source`` is a checkout, and pip is there."""
    if not (source / "pyproject.toml").is_file():
        raise EngineError(
            f"{source} is no checkout of proxyproof to build an image from; name one with --source"
        )
    if importlib.util.find_spec("pip") is None:
        raise EngineError(
            f"{sys.executable} has no pip, which gathers the wheels of an image; add it with "
            f"{sys.executable} -m ensurepip"
        )


def project(source: Path, folder: Path) -> Path:
    """Build the wheel of the checkout ``source``. Raises :class:`EngineError` when it cannot be built."""
    _pip("wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(source))
    (wheel,) = folder.glob("proxyproof-*.whl")
    return wheel


def fill(folder: Path, wheel: Path, *, python: str) -> None:
    """Put a wheel and the wheels that it needs on that Python ("3.13") into a folder."""
    _pip("download", "--quiet", "--dest", str(folder), *selection(python, platform.machine()), str(wheel))


def selection(python: str, machine: str) -> list[str]:
    """The options of pip that select wheels for another Python than that of the suite."""
    tag = "cp" + python.replace(".", "")
    return [
        *("--only-binary=:all:", f"--python-version={python}", "--implementation=cp"),
        *(f"--abi={abi}" for abi in (tag, "abi3", "none")),
        *(f"--platform={name}_{machine}" for name in _MANYLINUX),
    ]


def _pip(*arguments: str) -> None:
    _run([sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments])


def _run(arguments: Sequence[str]) -> None:
    finished = subprocess.run(arguments, capture_output=True, text=True, check=False)
    if finished.returncode != 0:
        said = "; ".join(finished.stderr.strip().splitlines()[-_QUOTED_LINES:])
        raise EngineError(f"pip ended with exit code {finished.returncode}: {said}")
