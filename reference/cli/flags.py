"""Flags in the original's style, from a table: ``-name value``, ``-name=value``, ``--name``, boolean ``-name``.

The rules are those of Go's flag package: flags end at the first argument that is not one, or after ``--``; a boolean
takes a value only with ``=``; of a flag that is given twice the last one counts, unless it is repeatable.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any

_BOOLEANS = {
    **dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False),
}
_INDENT = "        "


class UsageError(Exception):
    """A command line that cannot be understood, in one sentence; the exit code is 2."""


class HelpRequested(Exception):
    """The command line asks for help."""


def text(raw: str) -> str:
    """A value that is any text."""
    return raw


def integer(raw: str) -> int:
    """A value that is a whole number."""
    return int(raw)


def boolean(raw: str) -> bool:
    """A value that is true or false, in the spellings of Go."""
    if raw not in _BOOLEANS:
        raise ValueError(raw)
    return _BOOLEANS[raw]


_EXPECTED: Mapping[Callable[[str], Any], str] = {integer: "a whole number", boolean: "true or false"}


class Flag:
    """One flag: its name without dashes, what it says in the help, and how its value is read."""

    def __init__(
        self, *, name: str, help: str, read: Callable[[str], Any] = text, repeatable: bool = False
    ) -> None:
        self.name = name
        self.help = help
        self.read = read
        self.repeatable = repeatable


class Parsed:
    """What was given: ``(name, value)`` in the order of the command line, and the arguments after the flags."""

    def __init__(self, *, given: tuple[tuple[str, Any], ...], rest: tuple[str, ...]) -> None:
        self.given = given
        self.rest = rest

    def last(self, name: str, default: Any = None) -> Any:
        """The value that counts for a flag that is not repeatable."""
        return next((value for given, value in reversed(self.given) if given == name), default)

    def all(self, *names: str) -> tuple[Any, ...]:
        """The values of repeatable flags, those of several names in one order."""
        return tuple(value for given, value in self.given if given in names)


def parse(arguments: Sequence[str], table: Sequence[Flag]) -> Parsed:
    """Read the flags at the front of ``arguments``.

    Raises :class:`UsageError`, and :class:`HelpRequested` for ``-h`` and ``-help``.
    """
    flags = {flag.name: flag for flag in table}
    given: list[tuple[str, Any]] = []
    waiting = list(arguments)
    while waiting and len(waiting[0]) > 1 and waiting[0].startswith("-"):
        argument = waiting.pop(0)
        if argument == "--":
            break
        name, equals, raw = argument.removeprefix("-").removeprefix("-").partition("=")
        if not name or name.startswith("-"):
            raise UsageError(f"bad flag syntax: {argument}")
        if name in ("h", "help") and name not in flags:
            raise HelpRequested
        flag = flags.get(name)
        if flag is None:
            raise UsageError(f"flag provided but not defined: -{name}")
        if not equals:
            if flag.read is boolean:
                raw = "true"
            elif waiting:
                raw = waiting.pop(0)
            else:
                raise UsageError(f"flag needs an argument: -{name}")
        given.append((name, _value(flag, raw)))
    return Parsed(given=tuple(given), rest=tuple(waiting))


def describe(table: Sequence[Flag]) -> str:
    """The flags as they stand in a help text, by name."""
    lines = []
    for flag in sorted(table, key=lambda flag: flag.name):
        value = "" if flag.read is boolean else "=<number>" if flag.read is integer else "=<value>"
        again = " Can be given several times." if flag.repeatable else ""
        lines += [f"  -{flag.name}{value}", f"{_INDENT}{flag.help}{again}"]
    return "\n".join(lines)


def _value(flag: Flag, raw: str) -> Any:
    try:
        return flag.read(raw)
    except ValueError:
        expected = _EXPECTED.get(flag.read) or _what(flag.read)
        raise UsageError(f'invalid value "{raw}" for flag -{flag.name}: expected {expected}') from None


def _what(read: Callable[[str], Any]) -> str:
    """What a value is: one of some words, or the first sentence of what its reader says of itself."""
    if isinstance(read, type) and issubclass(read, StrEnum):
        return f"one of {', '.join(read)}"
    return re.split(r"\.(?:\s|$)", read.__doc__ or "another value")[0].replace("`", "")
