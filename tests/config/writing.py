"""What these tests share: load a text as a file, write a value as HCL."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reference.config.errors import ConfigError
from reference.config.load import LoadResult, load
from reference.config.model import ServiceDefinition
from reference.config.sources import Sources


def load_fragment(fragment: str | dict[str, Any]) -> LoadResult:
    """What an agent in -dev mode makes of one ``-hcl`` fragment; a dict is written as JSON."""
    text = fragment if isinstance(fragment, str) else json.dumps(fragment)
    return load(Sources(fragments=(text,), dev_mode=True))


def load_service(definition: dict[str, Any]) -> ServiceDefinition:
    """The one service that a definition amounts to."""
    (service,) = load_fragment({"service": definition}).config.services
    return service


def refusal(sources: Sources) -> ConfigError:
    """The error that these sources end in."""
    with pytest.raises(ConfigError) as caught:
        load(sources)
    return caught.value


def refused_fragment(fragment: str | dict[str, Any]) -> ConfigError:
    """The error that one fragment ends in."""
    text = fragment if isinstance(fragment, str) else json.dumps(fragment)
    return refusal(Sources(fragments=(text,), dev_mode=True))


def write(path: Path, content: str | dict[str, Any]) -> str:
    """Write a configuration file; returns its path as a command line has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def as_hcl(entries: dict[str, Any], *, blocks: bool, depth: int = 0) -> str:
    """A JSON object as HCL: inner objects as blocks (``key { … }``) or as values (``key = { … }``)."""
    lines = []
    for key, value in entries.items():
        name = json.dumps(key, ensure_ascii=False)
        if isinstance(value, dict) and blocks:
            lines.append(f"{name} {{\n{as_hcl(value, blocks=blocks, depth=depth + 1)}\n{'  ' * depth}}}")
        else:
            lines.append(f"{name} = {_value(value, blocks=blocks, depth=depth)}")
    return "\n".join("  " * depth + line for line in lines)


def _value(value: Any, *, blocks: bool, depth: int) -> str:
    if isinstance(value, dict):
        return f"{{\n{as_hcl(value, blocks=blocks, depth=depth + 1)}\n{'  ' * depth}}}"
    if isinstance(value, list):
        return f"[{', '.join(_value(item, blocks=blocks, depth=depth + 1) for item in value)}]"
    return json.dumps(value, ensure_ascii=False)
