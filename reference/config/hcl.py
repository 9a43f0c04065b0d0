"""HCL as the original reads it: the first version of the language, in which its users write definitions.

:func:`parse` gives what JSON would give, but for one thing that HCL leaves open. ``upstreams { … }`` may mean
an object or a list with one object, so every object that is the value of a key arrives in :class:`Blocks`, and
whoever knows the type of the key decides; :func:`plain` decides for opaque data.

Readers of the second version of HCL do not serve here: they refuse quoted keys (``meta { "team" = "a" }``) and
commas between keys, and accept expressions that the original refuses. Interpolations (``${…}``) mean
nothing to the original, and stay in the text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NoReturn

_TOKEN = re.compile(
    r"""
    (?P<space>   [ \t\r\n]+ | (?:\#|//)[^\n]* | /\*.*?\*/ )
  | (?P<heredoc> <<(?P<indented>-?)(?P<marker>\w+)\n (?P<lines>(?:[^\n]*\n)*?) (?P<indent>[ \t]*)(?P=marker)(?=\n|\Z) )
  | (?P<string>  "(?: [^"\\\n$] | \\. | \$(?!\{) | \$\{[^{}]*\} )*" )
  | (?P<number>  -?(?: 0[xX][0-9a-fA-F]+ | (?:[0-9]+(?:\.[0-9]*)? | \.[0-9]+)(?:[eE][+-]?[0-9]+)? )(?![\w.]) )
  | (?P<word>    [^\W\d][\w.\-]* )
  | (?P<mark>    [{}\[\],=] )
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(
    r"\$\{[^{}]*\}|\\([abfnrtv\\\"]|[0-7]{3}|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)"
)
_SIMPLE_ESCAPES = dict(zip('abfnrtv\\"', '\a\b\f\n\r\t\v\\"', strict=True))
_LITERALS = {"true": True, "false": False}
_END = "end of text"


class Blocks(list[dict[str, Any]]):
    """The objects that were given for one key, in order: ``key { … } key { … }``."""


class HclError(ValueError):
    """Text that is not HCL: where (line and column from 1) and why, without quoting it."""

    def __init__(self, line: int, column: int, problem: str) -> None:
        super().__init__(f"line {line}, column {column}: {problem}")


def parse(text: str) -> dict[str, Any]:
    """Read a whole text of HCL into dicts, lists, strings, numbers, booleans and :class:`Blocks`.

    Raises :class:`HclError` when the text is not HCL, or gives the same key twice.
    """
    return _Parser(text.replace("\r\n", "\n")).body(closing=_END)


def plain(value: Any) -> Any:
    """``value`` as JSON would have it: one block is an object, several blocks are a list of objects."""
    if isinstance(value, Blocks) and len(value) == 1:
        return plain(value[0])
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


def rename(text: str, names: Mapping[str, str]) -> str:
    """``text`` with other names for its unquoted keys, and everything else, comments too, as it was.

    Raises :class:`HclError` when the text is not HCL.
    """
    parse(text)
    pieces, at = [], 0
    while match := _TOKEN.match(text, at):
        pieces.append(names.get(match[0], match[0]) if match.lastgroup == "word" else match[0])
        at = match.end()
    return "".join(pieces)


class _Parser:
    """Recursive descent with one token of look-ahead: ``kind`` is a mark, or what a value begins with."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.end = 0
        self.kind = _END
        self.match: re.Match[str]
        self.advance()

    def advance(self) -> None:
        while True:
            self.start = self.end
            if self.start == len(self.text):
                self.kind = _END
                return
            match = _TOKEN.match(self.text, self.start)
            if match is None:
                self.fail("this is not HCL, or a string or comment that does not end")
            self.match, self.end = match, match.end()
            if match.lastgroup != "space":
                self.kind = match["mark"] or next(name for name in _VALUES if match[name] is not None)
                return

    def fail(self, problem: str) -> NoReturn:
        before = self.text[: self.start]
        raise HclError(before.count("\n") + 1, len(before) - before.rfind("\n"), problem)

    def expect(self, kind: str) -> None:
        if self.kind != kind:
            self.fail(f"expected '{kind}', found '{self.kind}'")
        self.advance()

    def body(self, *, closing: str) -> dict[str, Any]:
        entries: dict[str, Any] = {}
        while self.kind != closing:
            self.entry(entries)
            if self.kind == ",":
                self.advance()
        return entries

    def entry(self, entries: dict[str, Any]) -> None:
        at = self.start
        key = self.key()
        value = self.value_of_key()
        present = entries.get(key)
        if isinstance(value, Blocks) and isinstance(present, Blocks):
            present.extend(value)
        elif key in entries:
            self.start = at
            self.fail(f"the key {key} is given twice")
        else:
            entries[key] = value

    def key(self) -> str:
        if self.kind not in ("word", "string"):
            self.fail(f"expected a key, found '{self.kind}'")
        key = self.match["word"] or self.string()
        self.advance()
        return key

    def value_of_key(self) -> Any:
        if self.kind == "=":
            self.advance()
            value = self.value()
            return Blocks([value]) if isinstance(value, dict) else value
        if self.kind == "{":
            return Blocks([self.value()])
        # A label: service "web" { … } is short for service { "web" { … } }.
        if self.kind not in ("word", "string"):
            self.fail(f"expected '=' or '{{' after the key, found '{self.kind}'")
        label = self.key()
        if self.kind == "=":
            self.fail("expected '{' after the label, found '='")
        return Blocks([{label: self.value_of_key()}])

    def value(self) -> Any:
        if self.kind == "{":
            self.advance()
            entries = self.body(closing="}")
            self.expect("}")
            return entries
        if self.kind == "[":
            self.advance()
            return self.items()
        reader = _VALUES.get(self.kind)
        if reader is None:
            self.fail(f"expected a value, found '{self.kind}'")
        value = reader(self)
        self.advance()
        return value

    def items(self) -> list[Any]:
        items = []
        while self.kind != "]":
            items.append(self.value())
            if self.kind != "]":
                self.expect(",")
        self.advance()
        return items

    def word(self) -> bool:
        if self.match["word"] not in _LITERALS:
            self.fail("expected a value, found a word; strings stand in double quotes")
        return _LITERALS[self.match["word"]]

    def number(self) -> int | float:
        digits = self.match["number"]
        try:
            if re.fullmatch(r"-?0[0-7]+", digits):
                return int(digits, 8)
            return int(digits, 0)
        except ValueError:
            number = float(digits)
        if number in (float("inf"), float("-inf")) or re.fullmatch(r"-?0[0-9]+", digits):
            self.fail("this number cannot be represented")
        return number

    def string(self) -> str:
        data = _ESCAPE.sub(self.escape, self.match["string"][1:-1])
        try:
            # \x and octal escapes are bytes: they arrive as lone surrogates and must make up UTF-8.
            return data.encode("utf-8", "surrogateescape").decode()
        except UnicodeError:
            self.fail("the escapes in this string do not make up UTF-8")

    def escape(self, match: re.Match[str]) -> str:
        code = match[1]
        if code is None:
            return match[0]
        if code in _SIMPLE_ESCAPES:
            return _SIMPLE_ESCAPES[code]
        if len(code) == 1:
            self.fail("illegal escape in a string")
        number = int(code[1:], 16) if code[0] in "xuU" else int(code, 8)
        if number > (0x10FFFF if code[0] in "uU" else 0xFF):
            self.fail("illegal escape in a string")
        if code[0] in "uU" or number < 0x80:
            return chr(number)
        return bytes([number]).decode("utf-8", "surrogateescape")

    def heredoc(self) -> str:
        lines: str = self.match["lines"]
        indent = self.match["indent"]
        if self.match["indented"] and all(line.startswith(indent) for line in lines.splitlines()):
            return "".join(line.removeprefix(indent) for line in lines.splitlines(keepends=True))
        return lines


_VALUES = {
    "heredoc": _Parser.heredoc,
    "string": _Parser.string,
    "number": _Parser.number,
    "word": _Parser.word,
}
