"""Which checks there are, read from their source without importing anything.

The command line selects, counts and publishes checks before a single one is loaded, and a module that fails to import
cannot hide what it was to prove. A check is a function ``check_*`` at the top of a module of the checks folder,
marked ``@requirement("area/behaviour/nn")``; modules whose name begins with an underscore hold none.
"""

from __future__ import annotations

import ast
import inspect
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from conformance.requirements import Register

FOLDER = Path(__file__).parent.parent / "checks"
PREFIX = "check_"


class DiscoveryError(Exception):
    """A check is not written as checks are; the message names file, line and remedy."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One check: the requirement that it proves, its published text, and where it stands."""

    requirement: str
    name: str
    path: Path
    text: str
    #: About how many seconds it takes, when it is long.
    takes: float = 0.0

    @property
    def node_id(self) -> str:
        """What pytest selects it by."""
        return f"{self.path}::{self.name}"


def discover(folder: Path = FOLDER) -> tuple[Check, ...]:
    """Every check of ``folder``, by file and then in the order of the file.

    Raises :class:`DiscoveryError` for a module that cannot be parsed and a check without a mark or text.
    """
    modules = (path for path in sorted(folder.glob("*.py")) if not path.name.startswith("_"))
    return tuple(check for path in modules for check in _module(path))


def refuse_unknown(checks: Iterable[Check], register: Register) -> None:
    """Raise :class:`DiscoveryError` for the first check of a requirement that the register lacks."""
    for check in checks:
        if check.requirement not in register:
            raise DiscoveryError(
                f"{check.path.name}: {check.name} proves {check.requirement}, which is not in the register; "
                "add the requirement or correct the id"
            )


def by_requirement(checks: Iterable[Check]) -> Mapping[str, tuple[Check, ...]]:
    """The checks of each requirement that has any."""
    found: defaultdict[str, tuple[Check, ...]] = defaultdict(tuple)
    for check in checks:
        found[check.requirement] += (check,)
    return dict(found)


def _module(path: Path) -> list[Check]:
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    except (SyntaxError, UnicodeDecodeError) as error:
        raise DiscoveryError(f"{path.name} is not valid Python: {error}") from error
    functions = (
        node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith(PREFIX)
    )
    return [_check(path, function) for function in functions]


def _check(path: Path, function: ast.FunctionDef) -> Check:
    where = f"{path.name}:{function.lineno}: {function.name}"
    marks = [found for decorator in function.decorator_list if (found := _marked(decorator)) is not None]
    if len(marks) != 1:
        raise DiscoveryError(
            f'{where} needs exactly one mark @requirement("area/behaviour/nn") with a literal id'
        )
    text = ast.get_docstring(function)
    if not text:
        raise DiscoveryError(f"{where} has no docstring; it is the published text of the check")
    ((identifier, takes),) = marks
    return Check(
        requirement=identifier, name=function.name, path=path, text=inspect.cleandoc(text), takes=takes
    )


def _marked(decorator: ast.expr) -> tuple[str, float] | None:
    """The requirement of a mark, and the seconds that it says."""
    match decorator:
        case ast.Call(
            func=ast.Name(id="requirement"), args=[ast.Constant(value=str(identifier))], keywords=[]
        ):
            return identifier, 0.0
        case ast.Call(
            func=ast.Name(id="requirement"),
            args=[ast.Constant(value=str(identifier))],
            keywords=[ast.keyword(arg="takes", value=ast.Constant(value=int() | float() as seconds))],
        ):
            return identifier, float(seconds)
        case _:
            return None
