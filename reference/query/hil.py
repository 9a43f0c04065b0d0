"""The language of templates: text with ``${…}`` in it, as the original's HIL has it. Pure.

In the braces stand: a variable (``name.full``), a call (``match(1)``), a number, a text in double quotes (which may
hold ``${…}`` itself), parentheses, a minus before an operand, and ``+ - * / %`` between two, which all bind alike, from
left to right. ``$$`` is a dollar sign. The result is always text; texts become numbers where numbers are needed::

    text     = { characters | "${" sum "}" }
    sum      = operand { operator operand }
    operand  = "(" sum ")" | "-" operand | number | quotes { quotes } | name [ "(" [ sum { "," sum } ] ")" ]

Errors are the original's, but that a division by zero and a ``*`` before an operand are errors here, too.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping

import msgspec

#: How deep quotes and parentheses may stand in each other.
_DEEPEST = 64
_LARGEST = 2**63 - 1

Value = str | int | float


class HilError(ValueError):
    """The text cannot be understood (:class:`HilSyntaxError`) or worked out; the text says why."""


class HilSyntaxError(HilError):
    """The text is not of the language."""

    def __init__(self, what: str = "syntax error") -> None:
        super().__init__(f"parse error: {what}")


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """What expressions may name: variables, and functions of one number."""

    variables: Mapping[str, str]
    functions: Mapping[str, Callable[[int], str]] = msgspec.field(default_factory=dict)


class Literal(msgspec.Struct, frozen=True):
    """A value that stands there."""

    value: Value


class Variable(msgspec.Struct, frozen=True):
    """The name of a variable; ``column`` counts from 1."""

    name: str
    column: int


class Call(msgspec.Struct, frozen=True):
    """The call of a function."""

    name: str
    arguments: tuple[Node, ...]
    column: int


class Arithmetic(msgspec.Struct, frozen=True):
    """An operand, and what is done with it, step by step."""

    first: Node
    steps: tuple[tuple[str, Node], ...]


class Text(msgspec.Struct, frozen=True):
    """Parts that are written one after the other."""

    parts: tuple[Node, ...]


Node = Literal | Variable | Call | Arithmetic | Text


def parse(text: str) -> Text:
    """Read a template. Raises :class:`HilSyntaxError`."""
    return _Parser(text).read()


def evaluate(node: Node, scope: Scope) -> str:
    """What a template says. Raises :class:`HilError`."""
    return _as_text(_value(node, scope))


class _Parser:
    """Reads from left to right; ``_at`` is the place of the next character."""

    _NAME = re.compile(r"[\w.-]+(?:\*[\w.-]*)?")
    _NUMBER = re.compile(r"[0-9]+(?:\.[0-9]*)?")
    _SPACE = re.compile(r"\s*")

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0

    def read(self) -> Text:
        parts = self._parts(end="")
        return Text(tuple(parts))

    def _parts(self, *, end: str) -> list[Node]:
        """Characters and interpolations up to ``end``; the empty end is that of the text."""
        parts: list[Node] = []
        plain: list[str] = []
        while (character := self._next()) != end:
            if not character:
                raise HilSyntaxError
            if character == "\\" and end:
                plain.append(self._escaped())
            elif character == "$" and self._skip("{"):
                parts += _literal(plain)
                plain = []
                parts.append(self._interpolation())
            else:
                if character == "$":
                    self._skip("$")
                plain.append(character)
        return [*parts, *_literal(plain)]

    def _interpolation(self) -> Node:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise HilSyntaxError("it is nested too deeply")
        found = self._sum()
        self._expect("}")
        self._depth -= 1
        return found

    def _sum(self) -> Node:
        first = self._operand()
        steps: list[tuple[str, Node]] = []
        while sign := self._any("+-*/%"):
            steps.append((sign, self._operand()))
        return Arithmetic(first, tuple(steps)) if steps else first

    def _operand(self) -> Node:
        self._spaces()
        column = self._at + 1
        if self._skip("("):
            self._depth += 1
            if self._depth > _DEEPEST:
                raise HilSyntaxError("it is nested too deeply")
            found = self._sum()
            self._expect(")")
            self._depth -= 1
            return found
        signs = 0
        while self._any("-"):
            signs += 1
        if signs:
            found = self._operand()
            # Two of them make a number of a text, and nothing else.
            for _ in range(2 - signs % 2):
                found = Arithmetic(Literal(0), (("-", found),))
            return found
        if self._text[self._at : self._at + 1] == '"':
            return self._quoted()
        if number := self._match(self._NUMBER):
            return Literal(_number(number))
        name = self._match(self._NAME)
        if not name:
            raise HilSyntaxError
        if self._any("("):
            return Call(name, self._arguments(), column)
        if self._any("["):
            self._sum()
            self._expect("]")
            raise HilError(
                f"At column {column}, line 1: invalid index operation into non-indexable type: TypeString"
            )
        return Variable(name, column)

    def _arguments(self) -> tuple[Node, ...]:
        found: list[Node] = []
        while not self._any(")"):
            if found:
                self._expect(",")
            found.append(self._sum())
        return tuple(found)

    def _quoted(self) -> Node:
        parts: list[Node] = []
        while self._any('"'):
            self._depth += 1
            if self._depth > _DEEPEST:
                raise HilSyntaxError("it is nested too deeply")
            parts += self._parts(end='"')
            self._depth -= 1
        return Text(tuple(parts))

    def _escaped(self) -> str:
        for written, meant in (("\\", "\\"), ('"', '"'), ("n", "\n")):
            if self._skip(written):
                return meant
        return "\\"

    def _next(self) -> str:
        character = self._text[self._at : self._at + 1]
        self._at += len(character)
        return character

    def _skip(self, character: str) -> bool:
        """Whether ``character`` comes next, which is then read."""
        if self._text.startswith(character, self._at):
            self._at += len(character)
            return True
        return False

    def _any(self, characters: str) -> str:
        """The one of ``characters`` that comes next, after spaces; the empty string for none of them."""
        self._spaces()
        found = self._text[self._at : self._at + 1]
        if found and found in characters:
            self._at += 1
            return found
        return ""

    def _expect(self, character: str) -> None:
        if not self._any(character):
            raise HilSyntaxError

    def _spaces(self) -> None:
        self._match(self._SPACE)

    def _match(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        if found is None:
            return ""
        self._at = found.end()
        return found[0]


def _literal(plain: list[str]) -> list[Literal]:
    return [Literal("".join(plain))] if plain else []


def _number(text: str) -> int | float:
    if "." in text:
        return float(text)
    try:
        # A leading zero means octal, as in C.
        value = int(text, 8) if text.startswith("0") else int(text)
    except ValueError:
        raise HilSyntaxError("expected number: invalid syntax") from None
    if value > _LARGEST:
        raise HilSyntaxError("expected number: value out of range")
    return value


def _value(node: Node, scope: Scope) -> Value:
    match node:
        case Literal(value):
            return value
        case Variable(name, column):
            if name not in scope.variables:
                raise HilError(f"1:{column}: unknown variable accessed: {name}")
            return scope.variables[name]
        case Call():
            return _call(node, scope)
        case Arithmetic(first, steps):
            result = _value(first, scope)
            for sign, operand in steps:
                result = _calculate(sign, result, _value(operand, scope))
            return result
        case Text(parts):
            return "".join(_as_text(_value(part, scope)) for part in parts)


def _call(node: Call, scope: Scope) -> str:
    function = scope.functions.get(node.name)
    if function is None:
        raise HilError(f"1:{node.column}: unknown function called: {node.name}")
    if len(node.arguments) != 1:
        raise HilError(f"1:{node.column}: {node.name}: expected 1 arguments, got {len(node.arguments)}")
    return function(_as_int(_value(node.arguments[0], scope)))


def _calculate(sign: str, left: Value, right: Value) -> Value:
    # The first operand that is a number says of which kind the others are taken to be.
    first = next((value for value in (left, right) if not isinstance(value, str)), 0)
    if isinstance(first, float):
        return _calculate_float(sign, _as_float(left), _as_float(right))
    one, other = _as_int(left), _as_int(right)
    if sign in "/%" and other == 0:
        raise HilError("divide by zero")
    if sign in "/%":
        # Towards zero, unlike Python's own.
        quotient = abs(one) // abs(other) * (1 if (one < 0) == (other < 0) else -1)
        result = quotient if sign == "/" else one - other * quotient
    else:
        result = _OPERATIONS[sign](one, other)
    if abs(result) > _LARGEST:
        raise HilError("the number is out of range")
    return result


def _calculate_float(sign: str, one: float, other: float) -> float:
    if sign == "%":
        raise HilError("modulo cannot be used with floats")
    if sign == "/":
        if other == 0:
            raise HilError("divide by zero")
        return one / other
    return float(_OPERATIONS[sign](one, other))


_OPERATIONS: Mapping[str, Callable[..., int]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
}


def _as_int(value: Value) -> int:
    if isinstance(value, str):
        if not re.fullmatch(r"[+-]?[0-9]{1,18}", value, re.ASCII):
            raise HilError(f'__builtin_StringToInt: strconv.ParseInt: parsing "{value}": invalid syntax')
        return int(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise HilError("the number is out of range")
    return int(value)


def _as_float(value: Value) -> float:
    try:
        return float(value)
    except (ValueError, OverflowError):
        raise HilError(
            f'__builtin_StringToFloat: strconv.ParseFloat: parsing "{value}": invalid syntax'
        ) from None


def _as_text(value: Value) -> str:
    return str(value).removesuffix(".0") if isinstance(value, float) else str(value)
