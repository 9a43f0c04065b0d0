"""From raw data to checked data: known keys, right types, one spelling (tables in :mod:`reference.config.schema`).

The texts of the errors are the original's, which come from its decoding library; numbers are called ``float64``
there because JSON knows no other.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from reference.config.durations import parse_duration
from reference.config.errors import ConfigError
from reference.config.hcl import Blocks, plain
from reference.config.kinds import Form, Kind, ListOf, MapOf, Opaque, Scalar, Section, Span

_TYPES = {Scalar.STRING: str, Scalar.BOOLEAN: bool, Scalar.INTEGER: int, Scalar.NUMBER: int | float}
_NAMES = {str: "string", bool: "bool", int: "float64", float: "float64", dict: "map"}
_PLAIN_NAMES = {
    Scalar.STRING: "a string",
    Scalar.BOOLEAN: "true or false",
    Scalar.INTEGER: "a whole number",
    Scalar.NUMBER: "a number",
}
_NANOSECONDS = 1e9
#: Up to this many keys, an error lists all that are accepted.
_FEW = 12


class Decoder(msgspec.Struct, frozen=True):
    """How one source spells its keys. ``where`` names it in errors; ``fold`` maps a spelling to its table entry.

    A ``strict`` source must not contain keys that the table does not know; else they are left out.
    """

    where: str
    fold: Callable[[str], str]
    strict: bool

    @staticmethod
    def for_file(where: str) -> Decoder:
        """Files, fragments and flags: snake_case in any case (``ID`` is ``id``), no unknown keys (MP-CFG-003)."""
        return Decoder(where, str.lower, strict=True)

    @staticmethod
    def for_api(where: str) -> Decoder:
        """Requests: ``LocalBindPort`` and ``local_bind_port`` alike, unknown keys ignored (MP-API-002)."""
        return Decoder(where, lambda key: key.replace("_", "").lower(), strict=False)

    def decode(self, kind: Kind, value: Any, path: str = "") -> Any:
        """``value`` as ``kind`` says, with canonical keys and without nulls. Raises :class:`ConfigError`."""
        match kind:
            case Scalar():
                return self._scalar(kind, value, path)
            case Form(problem_of):
                problem = problem_of(self._scalar(Scalar.STRING, value, path))
                if problem:
                    raise self._error(f"{path}: {problem}", "Correct the value")
                return value
            case ListOf(item):
                if not isinstance(value, list):
                    raise self._error(
                        f"'{path}': source data must be an array or slice, got {_type_name(value)}",
                        "Write a list in square brackets",
                    )
                return [self.decode(item, each, f"{path}[{index}]") for index, each in enumerate(value)]
            case MapOf(item):
                entries = self._object(value, path)
                return {key: self.decode(item, each, f"{path}[{key}]") for key, each in entries.items()}
            case Opaque():
                return plain(self._object(value, path))
            case Span():
                return self._span(value, path)
            case Section():
                return self._section(kind, self._object(value, path), path)

    def _section(self, section: Section, entries: Mapping[str, Any], path: str) -> dict[str, Any]:
        names = {self.fold(key): key for key in section.keys}
        names |= {self.fold(alias): key for alias, key in section.aliases.items()}
        decoded: dict[str, Any] = {}
        spelled: dict[str, str] = {}
        for key, value in entries.items():
            inner = f"{path}.{key}" if path else key
            name = names.get(self.fold(key))
            if name is None:
                if self.strict:
                    raise self._error(f"invalid config key {inner}", _suggestion(key, section.keys))
                continue
            if name in spelled:
                raise self._error(
                    f"{inner} and {spelled[name]} are two spellings of one key", "Keep one of the two"
                )
            spelled[name] = key
            if value is not None:
                decoded[name] = self.decode(section.keys[name], value, f"{path}.{name}" if path else name)
        return decoded

    def _object(self, value: Any, path: str) -> dict[str, Any]:
        """One object. A list of one counts, as converters from HCL write it: ``"connect": [{…}]``."""
        if isinstance(value, list) and all(isinstance(item, dict) for item in value) and value:
            if len(value) > 1:
                what = "block" if isinstance(value, Blocks) else "object"
                raise self._error(f"{path}: more than one {what} is not supported here", "Keep one of them")
            value = value[0]
        if not isinstance(value, dict):
            raise self._error(
                f"'{path}' expected a map, got '{_type_name(value)}'" if path else "expected a map",
                "Write an object in curly braces",
            )
        return value

    def _scalar(self, kind: Scalar, value: Any, path: str) -> Any:
        if kind is Scalar.INTEGER and isinstance(value, float) and value.is_integer():
            value = int(value)
        right = isinstance(value, _TYPES[kind]) and (kind is Scalar.BOOLEAN or not isinstance(value, bool))
        if not right:
            raise self._error(
                f"'{path}' expected type '{kind.value}', got unconvertible type '{_type_name(value)}'",
                f"Give {_PLAIN_NAMES[kind]}",
            )
        if isinstance(value, str) and "\0" in value:
            raise self._error(f"'{path}' contains a NUL character", "Remove it")
        return value

    def _span(self, value: Any, path: str) -> float:
        if not self.strict and isinstance(value, int | float) and not isinstance(value, bool):
            return value / _NANOSECONDS
        text = self._scalar(Scalar.STRING, value, path)
        try:
            return parse_duration(text) if text else 0.0
        except ValueError:
            raise self._error(
                f'invalid "{path}": time: invalid duration "{text}"', 'Write it as in "10s" or "1m30s"'
            ) from None

    def _error(self, problem: str, remedy: str) -> ConfigError:
        return ConfigError(self.where, problem, remedy)


def _type_name(value: Any) -> str:
    return "slice" if isinstance(value, list) else _NAMES.get(type(value), "nil")


def _suggestion(key: str, keys: Mapping[str, Kind]) -> str:
    close = difflib.get_close_matches(key.lower(), keys, n=1)
    if close:
        return f'Perhaps "{close[0]}" is meant'
    if len(keys) <= _FEW:
        return f"The keys accepted here are {', '.join(sorted(keys))}"
    return "Correct its spelling or remove it"
