"""What may be changed in a module: cosmic-ray's operators, as far as they change behaviour, and one of our own."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Operator
from cosmic_ray.plugins import get_operator
from parso import parse
from parso.tree import search_ancestor

#: Each condition, bound, sign, constant and loop once or twice: cosmic-ray knows eleven ways to replace one `+`.
_CHOSEN = (
    *("AddNot", "ReplaceUnaryOperator_Delete_Not", "ReplaceAndWithOr", "ReplaceOrWithAnd"),
    *("ReplaceTrueWithFalse", "ReplaceFalseWithTrue", "NumberReplacer", "ReplaceUnaryOperator_Delete_USub"),
    *("ReplaceBreakWithContinue", "ReplaceContinueWithBreak", "ZeroIterationForLoop"),
    *(f"ReplaceComparisonOperator_{pair}" for pair in ("Eq_NotEq", "NotEq_Eq", "Is_IsNot", "IsNot_Is")),
    *(f"ReplaceComparisonOperator_{pair}" for pair in ("Lt_LtE", "LtE_Lt", "Gt_GtE", "GtE_Gt")),
    *(f"ReplaceComparisonOperator_{pair}" for pair in ("Lt_GtE", "LtE_Gt", "Gt_LtE", "GtE_Lt")),
    *(f"ReplaceBinaryOperator_{pair}" for pair in ("Add_Sub", "Sub_Add", "Mul_Div", "Div_Mul")),
    *(f"ReplaceBinaryOperator_{pair}" for pair in ("FloorDiv_Mul", "Mod_Mul", "Pow_Mul", "BitAnd_BitOr")),
)


class DropStatement(Operator):  # type: ignore[misc]
    """Leaves out a statement of a function; cosmic-ray has nothing like it."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
        # Assertions are there for type checkers, and a docstring does nothing.
        plain = node.type == "simple_stmt" and node.children[0].type not in ("string", "assert_stmt")
        if plain and search_ancestor(node, "funcdef"):
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        return parse(f"{node.get_first_leaf().prefix}pass\n")

    @classmethod
    def examples(cls) -> Sequence[object]:
        return ()


@dataclass(frozen=True)
class Mutant:
    """A module with one change; ``name`` tells which, and stays the same when other lines come and go."""

    module: Path
    name: str
    source: str


def mutants_of(module: Path) -> Iterator[Mutant]:
    """Every mutant of a module that is a program and not the same one."""
    source = module.read_text(encoding="utf-8")
    tree, nodes = ast.parse(source), list(ast_nodes(get_ast(source)))
    for operator in (*(get_operator(f"core/{name}")() for name in _CHOSEN), DropStatement()):
        positions = [(node, start) for node in nodes for start, _ in operator.mutation_positions(node)]
        for occurrence, (node, (line, _)) in enumerate(positions):
            mutated = None if _declares(node) else mutate_code(source, operator, occurrence)
            if mutated is not None and _meaning(mutated) not in (None, _meaning(source)):
                yield Mutant(module, f"{module} {_scope(tree, line)}: {_change(source, mutated)}", mutated)


@lru_cache(maxsize=2)
def _meaning(source: str) -> str | None:
    """What Python reads there, whatever the blanks; None where it reads nothing."""
    try:
        return ast.dump(ast.parse(source))
    except SyntaxError:
        return None


def _declares(node: Any) -> bool:
    """Whether it says how a class is made or a function is called, which mypy watches over."""
    if node.parent is not None and node.parent.type == "parameters":
        return True
    suite, declaration = (search_ancestor(node, kind) for kind in ("suite", "decorator"))
    header = search_ancestor(node, "classdef")
    return declaration is not None or (
        header is not None and (suite is None or suite.start_pos < header.start_pos)
    )


def _scope(tree: ast.Module, line: int) -> str:
    """The function or class of a line, as Python names it."""
    scopes = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef))
    around = [node for node in scopes if node.lineno <= line <= (node.end_lineno or 0)]
    return ".".join(node.name for node in sorted(around, key=lambda node: node.lineno)) or "(module)"


def _change(source: str, mutated: str) -> str:
    """The lines that differ, before and after."""
    before, after = source.splitlines(), mutated.splitlines()
    while before[0] == after[0]:
        del before[0], after[0]
    while before[-1] == after[-1]:
        del before[-1], after[-1]
    return " → ".join(" ".join(" ".join(lines).split()) for lines in (before, after))
