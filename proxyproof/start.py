"""Importing what a command needs, without the garbage collector.

What is imported stays: to look for garbage in it time and again takes a fifth of an agent's start, and of each later
collection.
"""

from __future__ import annotations

import gc
import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


@contextmanager
def importing() -> Iterator[None]:
    """The collector never looks at what is imported meanwhile, nor at anything that was there before."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def imported(module: str) -> ModuleType:
    """The module, imported as :func:`importing` says."""
    with importing():
        return importlib.import_module(module)
