"""JSON Schemas, drawn from the types that are written and read."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

import msgspec


def components(types: Iterable[Any]) -> tuple[tuple[dict[str, Any], ...], dict[str, Any]]:
    """A reference to each of the types, and the definitions that they refer to, by name.

    Descriptions are the docstrings, without the indentation that Python leaves in them up to 3.12.
    """
    references, definitions = msgspec.json.schema_components(types, ref_template="#/$defs/{name}")
    for definition in definitions.values():
        if "description" in definition:
            definition["description"] = inspect.cleandoc(definition["description"])
    return references, definitions
