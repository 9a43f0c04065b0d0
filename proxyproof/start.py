"""Importing what a command needs, without the garbage collector.

What is imported stays: to look for garbage in it time and again takes a fifth of an agent's start, and of each later
collection.
"""

from __future__ import annotations

import gc
import importlib
from types import ModuleType


def imported(module: str) -> ModuleType:
    """The module, which the collector never looks at again, nor at anything else that was there before."""
    gc.disable()
    try:
        return importlib.import_module(module)
    finally:
        gc.freeze()
        gc.enable()
