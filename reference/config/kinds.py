"""The types that a key of a configuration can have; :mod:`reference.config.schema` makes tables of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum

import msgspec

from reference.config import forms


class Scalar(Enum):
    """A single value; the values are the original's names for the types."""

    STRING = "string"
    BOOLEAN = "bool"
    INTEGER = "int"
    NUMBER = "float64"


class Form(msgspec.Struct, frozen=True):
    """A text of a certain form; ``problem`` says what is wrong with one, or nothing."""

    problem: Callable[[str], str]


class ListOf(msgspec.Struct, frozen=True):
    """A list whose items have one type; lists of several files are appended to each other."""

    item: Kind


class MapOf(msgspec.Struct, frozen=True):
    """An object with keys of the user's choice; later files overlay earlier ones."""

    value: Kind


class Opaque(msgspec.Struct, frozen=True):
    """An object whose content is nobody's business here; later files overlay its top level."""


class Section(msgspec.Struct, frozen=True):
    """An object with known keys, which are merged one by one. ``aliases`` are other spellings of them."""

    keys: Mapping[str, Kind]
    aliases: Mapping[str, str] = msgspec.field(default_factory=dict)


class Span(msgspec.Struct, frozen=True):
    """A length of time, decoded to seconds. Files write it as text, requests also as a number of nanoseconds."""


Kind = Scalar | Form | ListOf | MapOf | Opaque | Section | Span

STRING, BOOLEAN, INTEGER, NUMBER = Scalar
STRINGS = ListOf(STRING)
STRING_MAP = MapOf(STRING)
OPAQUE = Opaque()
DURATION = Form(forms.duration)
SPAN = Span()


def names(text: str) -> list[str]:
    """The names in a text, which stand apart."""
    return text.split()


def keys(kind: Kind, text: str) -> dict[str, Kind]:
    """A table in which all the keys in ``text`` have one type."""
    return dict.fromkeys(names(text), kind)
