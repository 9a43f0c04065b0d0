"""Reading values out of the agent's JSON: one function per type, each error names the key. Pure.

Numbers and booleans may come as such or as text that spells one: HCL turns one into the other on the way. A block of
HCL arrives as a list of one object where the original does not know the key.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reference.proxy.endpoints import ConfigError

_BOOLEANS = {
    **dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False),
}


def mapping(value: Any, key: str) -> Mapping[str, Any]:
    """An object; empty when there is none."""
    if value is None:
        return {}
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, Mapping):
        raise ConfigError(f"{key} must be an object")
    return value


def text(entry: Mapping[str, Any], name: str, key: str) -> str:
    """A string; empty when there is none."""
    value = entry.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ConfigError(f"{key} is {value!r}: it must be a string")
    return value


def texts(entry: Mapping[str, Any], name: str, key: str) -> tuple[str, ...]:
    """A list of strings; empty when there is none."""
    value = entry.get(name) or []
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise ConfigError(f"{key} is {value!r}: it must be a list of strings")
    return tuple(value)


def boolean(entry: Mapping[str, Any], name: str, key: str, *, default: bool) -> bool:
    """A boolean, also as text in the spellings of Go."""
    value = entry.get(name, default)
    if isinstance(value, str):
        value = _BOOLEANS.get(value, value)
    if not isinstance(value, bool):
        raise ConfigError(f"{key} is {value!r}: it must be true or false")
    return value


def number(value: Any, key: str) -> float:
    """A JSON number or a string that spells one; booleans are not numbers."""
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            read = float(value)
        except (ValueError, OverflowError):
            pass
        else:
            if read - read == 0:  # neither infinite nor not-a-number
                return read
    raise ConfigError(f"{key} is {value!r}: it must be a number")


def port(value: Any, key: str) -> int:
    """A TCP port; 0 means none."""
    read = number(value, key)
    if read != int(read) or not 0 <= read < 65536:
        raise ConfigError(f"{key} is {value!r}: it must be a port from 1 to 65535")
    return int(read)


def count(entry: Mapping[str, Any], name: str, key: str) -> int:
    """A whole number that limits something; 0, also when there is none, means no limit."""
    read = number(entry.get(name, 0), key)
    if read != int(read) or read < 0:
        raise ConfigError(f"{key} is {entry[name]!r}: it must be a whole number, 0 for no limit")
    return int(read)


def seconds(entry: Mapping[str, Any], name: str, default_ms: int, key: str) -> float:
    """A time-out given in milliseconds; 0 means the default, as an unset Go integer does."""
    read = number(entry.get(name, 0), key)
    if read < 0:
        raise ConfigError(f"{key} is {entry[name]!r}: it must be milliseconds, 0 for the default")
    return (read or default_ms) / 1000
