"""The register: every requirement as data, one TOML file per area beside this module.

A file has the keys ``area`` and ``title`` and a list ``[[requirement]]`` of tables with the fields of
:class:`Requirement`. Ids are ``area/behaviour/nn`` and are never renumbered. A requirement may exist before any
check proves it: the list of the untested is published.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
IDENTIFIER = re.compile(r"[a-z][a-z0-9-]*/[a-z][a-z0-9-]*/[0-9]{2,3}")


def version_of(text: str) -> tuple[int, ...]:
    """``1.4.3`` as numbers that compare as versions do. Raises :class:`ValueError`."""
    return tuple(map(int, text.split(".")))


class RegisterError(Exception):
    """The register is wrong; the message names the file, the entry and what to change."""


class Level(StrEnum):
    """How binding a requirement is, in the words of RFC 2119."""

    MUST = "MUST"
    SHOULD = "SHOULD"
    MAY = "MAY"


class Feature(StrEnum):
    """What a target may declare; each feature is also a profile of the report.

    ``operations`` is what an operator is offered beyond the document, under names that are the reference's own;
    ``containers`` is what only agents in containers can be asked for.
    """

    CORE = "core"
    DISCOVERY = "discovery"
    ACCESS_CONTROL = "access-control"
    CUSTOM_PROXY = "custom-proxy"
    PREPARED_QUERY = "prepared-query"
    SIDECAR = "sidecar"
    THROUGHPUT = "throughput"
    HARDENING = "hardening"
    OPERATIONS = "operations"
    CONTAINERS = "containers"


class Importance(StrEnum):
    """What a breach costs the operator, worst first."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


@dataclass(frozen=True, kw_only=True)
class Requirement:
    """One sentence that an implementation keeps or breaks.

    ``source`` is a section of the document, or ``hardening``; ``catalogue`` lists the entries of the catalogue of
    observed behaviour that it rests on; ``since`` and ``until`` (exclusive) are versions of the original;
    ``characterisation`` says what the original does where that differs, which is never a failure by itself.
    """

    id: str
    level: Level
    text: str
    source: str
    feature: Feature
    importance: Importance
    catalogue: tuple[str, ...] = ()
    since: str = ""
    until: str = ""
    characterisation: str = ""
    notes: str = ""

    @property
    def area(self) -> str:
        """The first part of the id."""
        return self.id.partition("/")[0]

    def applies_to(self, version: str) -> bool:
        """Whether it is asked of an implementation of this version of the original; "" is one that follows none."""
        if not version:
            return True
        told = version_of(version)
        return (not self.since or version_of(self.since) <= told) and (
            not self.until or told < version_of(self.until)
        )


@dataclass(frozen=True, kw_only=True)
class Area:
    """The requirements of one file, in the file's order."""

    name: str
    title: str
    requirements: tuple[Requirement, ...]


@dataclass(frozen=True)
class Register:
    """All areas, sorted by name. Iterating gives the requirements, sorted by id.

    ``folder`` is where it was read; the sources that it accounts for are below.
    """

    areas: tuple[Area, ...]
    folder: Path = FOLDER

    @cached_property
    def _by_id(self) -> dict[str, Requirement]:
        entries = (requirement for area in self.areas for requirement in area.requirements)
        return {entry.id: entry for entry in sorted(entries, key=lambda entry: entry.id)}

    def __iter__(self) -> Iterator[Requirement]:
        return iter(self._by_id.values())

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, identifier: object) -> bool:
        return identifier in self._by_id

    def __getitem__(self, identifier: str) -> Requirement:
        return self._by_id[identifier]

    def select(self, prefix: str) -> tuple[Requirement, ...]:
        """The requirements at or below ``prefix``: an area, an area and behaviour, or a whole id."""
        return tuple(entry for entry in self if f"{entry.id}/".startswith(f"{prefix.rstrip('/')}/"))


def load(folder: Path = FOLDER) -> Register:
    """Read and validate every ``*.toml`` of ``folder``. Raises :class:`RegisterError` for the first fault."""
    register = Register(tuple(_area(path) for path in sorted(folder.glob("*.toml"))), folder)
    _refuse_duplicates(area.name for area in register.areas)
    _refuse_duplicates(entry.id for area in register.areas for entry in area.requirements)
    return register


def _refuse_duplicates(names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise RegisterError(f"{name} stands twice in the register; ids are unique and never reused")
        seen.add(name)


def _area(path: Path) -> Area:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RegisterError(f"{path.name} is not valid TOML: {error}") from error
    _expect_keys(
        document, known={"area", "title", "requirement"}, required={"area", "title"}, where=path.name
    )
    name = document["area"]
    entries = document.get("requirement", [])
    if not isinstance(entries, list):
        raise RegisterError(f"{path.name}: write each requirement as a [[requirement]] table")
    requirements = tuple(_requirement(entry, area=name, where=path.name) for entry in entries)
    return Area(name=name, title=document["title"], requirements=requirements)


_FIELDS = {field.name: field for field in fields(Requirement)}
_REQUIRED = {name for name, field in _FIELDS.items() if field.default is MISSING}
_VOCABULARY: Mapping[str, type[StrEnum]] = {"level": Level, "feature": Feature, "importance": Importance}


def _requirement(entry: Mapping[str, Any], *, area: str, where: str) -> Requirement:
    identifier = entry.get("id", "")
    if not isinstance(identifier, str) or not IDENTIFIER.fullmatch(identifier):
        raise RegisterError(f"{where}: the id {identifier!r} is not of the form area/behaviour/nn")
    where = f"{where}, {identifier}"
    if not identifier.startswith(f"{area}/"):
        raise RegisterError(f"{where}: an id of this file begins with its area, {area}/")
    _expect_keys(entry, known=set(_FIELDS), required=_REQUIRED, where=where)
    values: dict[str, Any] = {}
    for name, value in entry.items():
        if name == "catalogue":
            if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
                raise RegisterError(f"{where}: catalogue is a list of strings")
            values[name] = tuple(value)
        elif not isinstance(value, str):
            raise RegisterError(f"{where}: {name} is a string")
        else:
            values[name] = _word(_VOCABULARY[name], value, where) if name in _VOCABULARY else value
    return Requirement(**values)


def _word(vocabulary: type[StrEnum], value: str, where: str) -> StrEnum:
    try:
        return vocabulary(value)
    except ValueError:
        known = ", ".join(vocabulary)
        raise RegisterError(f"{where}: {value!r} is none of {known}") from None


def _expect_keys(table: Mapping[str, Any], *, known: set[str], required: set[str], where: str) -> None:
    if missing := sorted(required - set(table)):
        raise RegisterError(f"{where}: {', '.join(missing)} missing")
    if unknown := sorted(set(table) - known):
        raise RegisterError(
            f"{where}: unknown key {', '.join(unknown)}; known are {', '.join(sorted(known))}"
        )
