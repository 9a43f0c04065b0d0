"""The recordings, and how they are made comparable."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

RECORDINGS = Path(__file__).parent / "recordings"
Test = TypeVar("Test", bound=Callable[..., None])

_PORT = re.compile(r"\b[1-6]\d{4}\b")
_UUID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
_FIRST_GIVEN_PORT = 10000
#: Keys whose values are another in each run.
_CHANGING = frozenset({"ContentHash", "CreateIndex", "ModifyIndex", "Node"})


def replays(*names: str) -> Callable[[Test], Test]:
    """Say that a test tells these recordings again; :mod:`tests.observed.test_nothing_is_left_out` counts them."""

    def same(test: Test) -> Test:
        return test

    return same


def seen(name: str) -> Any:
    """The body of a recording, comparable."""
    return comparable(recorded(name)["body"])


def recorded(name: str) -> dict[str, Any]:
    """A recording as it is: request, status, body and note."""
    document: dict[str, Any] = json.loads((RECORDINGS / f"{name}.json").read_text())
    return document


def comparable(value: Any, key: str = "") -> Any:
    """``value`` without what is another in each run: ports, ids, hashes, indexes, the path of the agent's program."""
    if key in _CHANGING:
        return f"<{key}>"
    if isinstance(value, dict):
        return {name: comparable(item, name) for name, item in value.items() if name != "log"}
    if isinstance(value, list):
        if key == "Command" and value[-4:-2] == ["connect", "proxy"]:
            return ["<agent>", *value[-4:]]
        return [comparable(item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool) and value >= _FIRST_GIVEN_PORT:
        return "<port>"
    if isinstance(value, str):
        return _UUID.sub("<uuid>", _PORT.sub("<port>", value))
    return value
