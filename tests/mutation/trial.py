"""A mutant on trial: the tests that see its module, with the mutant in the module's place, in a process of their own.

No file is touched. What the tests need and nobody mutates is imported once, before; then each trial is a fork.
"""

from __future__ import annotations

import gc
import importlib.util
import os
import resource
import subprocess
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, SourceFileLoader
from types import CodeType
from typing import Any

import pytest
from hypothesis import Phase, settings

from tests.mutation.mutants import Mutant

#: What a trial may use at most: who goes round in circles or takes all memory has failed.
_CPU_SECONDS, _MEMORY_BYTES = 60, 4 << 30

#: Few examples, each time the same, and none made shorter: that a test fails is enough.
settings.register_profile(
    "mutation", max_examples=30, derandomize=True, deadline=None, phases=[Phase.explicit, Phase.generate]
)
_PYTEST = (
    "--exitfirst",
    "--quiet",
    "--assert=plain",
    "--hypothesis-profile=mutation",
    "-p",
    "no:cacheprovider",
)


class _InPlace(SourceFileLoader):
    """Finds and loads a module with another source than its file has."""

    def __init__(self, mutant: Mutant) -> None:
        super().__init__(".".join(mutant.module.with_suffix("").parts), str(mutant.module.absolute()))
        self._source = mutant.source

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        return (
            importlib.util.spec_from_file_location(name, self.path, loader=self)
            if name == self.name
            else None
        )

    def get_code(self, fullname: str) -> CodeType:
        return compile(self._source, self.path, "exec")


def prepare(tests: Sequence[str]) -> None:
    """Import what these tests need, so that no trial has to. The project's own modules each imports anew."""
    code = pytest.main([*_PYTEST, "--collect-only", "-qq", *tests])
    assert code == pytest.ExitCode.OK, f"the tests cannot be collected: {code!r}"
    gc.freeze()  # pytest collects garbage at its end, in each trial: of what was there before, there is none


def passes(tests: Sequence[str], mutant: Mutant | None = None) -> bool:
    """Whether these tests pass, with the mutant or with the modules as they are."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1] == 0
    code = 1
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (_CPU_SECONDS, _CPU_SECONDS))
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
        if mutant is not None:
            silence = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silence, 1)
            os.dup2(silence, 2)
            sys.meta_path.insert(0, _InPlace(mutant))
        subprocess.Popen.__init__ = _start  # type: ignore[method-assign]
        _forget_the_project()
        code = pytest.main([*_PYTEST, *tests])
    finally:
        os._exit(code)


def _forget_the_project() -> None:
    for name in tuple(sys.modules):
        if name.startswith(("conformance", "reference", "proxyproof", "tests.")) and __package__ not in name:
            del sys.modules[name]


_really_start = subprocess.Popen.__init__


def _start(self: subprocess.Popen[bytes], command: Sequence[str], *rest: Any, **options: Any) -> None:
    if sys.executable in command:
        pytest.skip("a Python of its own would not meet the mutant")
    _really_start(self, command, *rest, **options)
