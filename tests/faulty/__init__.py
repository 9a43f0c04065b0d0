"""Faulty agents: the reference with one lie each, told by the docstring of its function.

A function marked :func:`fault` patches one named seam of the reference from outside and names every requirement that
the lie breaks. Functions are grouped in modules by what they lie about; ``module.function`` is the name of the fault.
``python tests/faulty NAME agent ...`` runs it as the suite would run any agent.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

_HERE = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One lie.

    ``disturbs`` is what it breaks at times, as chance has it. ``in_proxy`` means that the agent is honest, and its
    built-in proxy is not; ``upgraded`` that the lie comes to light when the agent's program is replaced or moved,
    ``in_container`` that it takes a container to see it.
    """

    name: str
    lie: str
    breaks: frozenset[str]
    disturbs: frozenset[str]
    in_proxy: bool
    upgraded: bool
    in_container: bool
    install: Callable[[], None]


_FAULTS: dict[str, Fault] = {}


def fault(
    *breaks: str,
    disturbs: Collection[str] = (),
    in_proxy: bool = False,
    upgraded: bool = False,
    in_container: bool = False,
) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Mark a function that patches the reference; its docstring is one sentence on one line: how it lies."""

    def mark(install: Callable[[], None]) -> Callable[[], None]:
        name = f"{install.__module__.rpartition('.')[2]}.{install.__name__}"
        lie = install.__doc__ or ""
        assert lie, f"{name}: say how it lies"
        assert "\n" not in lie, f"{name}: say how it lies in one sentence on one line"
        assert breaks, f"{name}: say which requirements it breaks"
        _FAULTS[name] = Fault(
            name=name,
            lie=lie,
            breaks=frozenset(breaks),
            disturbs=frozenset(disturbs),
            in_proxy=in_proxy,
            upgraded=upgraded,
            in_container=in_container,
            install=install,
        )
        return install

    return mark


def load(name: str) -> Fault:
    """One fault, without importing what others patch."""
    importlib.import_module(f"tests.faulty.{name.partition('.')[0]}")
    return _FAULTS[name]


def load_all(*, in_container: bool = False) -> Mapping[str, Fault]:
    """Every fault by its name, in order: of those that any machine can show, or of those that take a container."""
    for path in sorted(_HERE.glob("*.py")):
        if not path.stem.startswith(("_", "test_")):
            importlib.import_module(f"tests.faulty.{path.stem}")
            assert any(name.startswith(f"{path.stem}.") for name in _FAULTS), f"{path.name} holds no @fault"
    return {name: each for name, each in sorted(_FAULTS.items()) if each.in_container is in_container}
