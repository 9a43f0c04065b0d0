"""Every recording is told again by some test."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.observed.replay import RECORDINGS


def replayed() -> list[str]:
    """The names in the ``@replays`` marks of this folder."""
    marks = [
        decorator
        for path in Path(__file__).parent.glob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
        for decorator in node.decorator_list
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "replays"
    ]
    return [str(ast.literal_eval(argument)) for mark in marks for argument in mark.args]


def test_every_recording_is_told_again_once() -> None:
    assert sorted(replayed()) == sorted(path.stem for path in RECORDINGS.glob("*.json"))
