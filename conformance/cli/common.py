"""What the commands share: their exit codes, and how they say that they cannot be carried out."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Sequence
from pathlib import Path

from conformance.requirements import Feature, Register, Requirement

OK, FAILED, USAGE, BROKEN = 0, 1, 2, 3
#: Checks wait more than they work, so four share a processor; more would only make each other late.
WORKERS = 4 * min(os.cpu_count() or 1, 4)


class UsageError(Exception):
    """The command cannot be carried out as given; the message is one sentence with its remedy."""


def matching(prefix: str, register: Register) -> tuple[Requirement, ...]:
    """The requirements that are or begin with ``prefix``. Raises :class:`UsageError` when there are none."""
    found = register.select(prefix)
    if not found:
        hint = f", and `proxyproof run --profile {prefix}` a profile" if prefix in list(Feature) else ""
        raise UsageError(
            f"no requirement is or begins with {prefix!r}; `proxyproof requirements list` names them{hint}"
        )
    return found


def selection(ids: Sequence[str], register: Register) -> frozenset[str]:
    """The ids that are or begin with one of these; all of them when none is given."""
    if not ids:
        return frozenset(entry.id for entry in register)
    return frozenset(entry.id for prefix in ids for entry in matching(prefix, register))


def pace(parser: argparse.ArgumentParser) -> None:
    """The options that say how fast checks are run: ``workers`` and ``time_scale``."""
    parser.add_argument(
        "-n", dest="workers", type=count, default=WORKERS, metavar="N", help="checks at a time (%(default)s)"
    )
    parser.add_argument(
        "--time-scale",
        type=factor,
        default=1.0,
        metavar="X",
        help="multiplies every time budget (%(default)s)",
    )


def count(text: str) -> int:
    """An option that is a number of workers."""
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of workers")
    return int(text)


def number(text: str) -> float:
    """The number that an option says; where it says none, one that is within no bounds."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def factor(text: str) -> float:
    """An option that is a positive number."""
    value = number(text)
    if not 0.0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive factor")
    return value


def writable(folder: Path, name: str) -> Path:
    """The folder of a report, made; ``name`` is a file of it. Raises :class:`UsageError` when that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    except OSError as error:
        raise UsageError(f"--report {folder}: {error.strerror}; name a folder that can be written") from error
    return folder.resolve()
