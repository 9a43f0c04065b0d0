"""Where requirements come from: each statement of a source is asked for by one, or says why it asks for nothing.

A source is a file in ``sources/`` beside this module: the document, sentence by sentence; the catalogue of observed
behaviour, by ids alone, which the requirements name themselves (``catalogue``); and what users met. A statement names
the requirements that come of it, whole groups by their beginning, or it stands ``outside`` with its reason. So nothing
that was read is forgotten, and a requirement that says that it comes from the document does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import msgspec

from conformance.requirements.register import Register, RegisterError

#: The source whose sentences the requirements name that say that they come from the document.
DOCUMENT = "document"


class Outside(StrEnum):
    """Why nothing is required of an implementation by a statement."""

    EXPLAINS = "explains"  #: it says something, and asks for nothing
    ADVICE = "advice"  #: it asks something of the reader
    QUIRK = "quirk"  #: the original does so; who does it otherwise does no wrong
    OPTIONAL = "optional"  #: it may be so, or not
    UNSEEN = "unseen"  #: no run is long enough, or has the machines, to see it
    BEYOND = "beyond"  #: somebody would like it, and nothing promises it


class Statement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One sentence, entry or experience, in few words or by its id alone."""

    id: str
    text: str = ""
    requirements: tuple[str, ...] = ()
    outside: Outside | None = None
    reason: str = ""


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    title: str
    ids: tuple[str, ...] = ()
    statement: tuple[Statement, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Source:
    """All statements of one file, those by their id alone first; ``requirements`` are whole ids."""

    name: str
    title: str
    statements: tuple[Statement, ...]

    @property
    def required(self) -> int:
        """How many of its statements a requirement comes of."""
        return sum(statement.outside is None for statement in self.statements)

    @property
    def outside(self) -> Mapping[Outside, int]:
        """How many ask for nothing, by the reason."""
        found = Counter(statement.outside for statement in self.statements if statement.outside is not None)
        return {kind: found[kind] for kind in Outside if found[kind]}


def load_sources(register: Register, folder: Path | None = None) -> tuple[Source, ...]:
    """Read and validate every source, those beside the register by default.

    Raises :class:`RegisterError` for the first fault.
    """
    folder = folder or register.folder / "sources"
    named: dict[str, list[str]] = {}
    for requirement in register:
        for statement in requirement.catalogue:
            named.setdefault(statement, []).append(requirement.id)
    sources = tuple(_source(path, register, named) for path in sorted(folder.glob("*.toml")))
    known = Counter(statement.id for source in sources for statement in source.statements)
    for identifier, times in known.items():
        if times > 1:
            raise RegisterError(f"{identifier} stands {times} times in the sources; ids are unique")
    for identifier, requirements in named.items():
        if identifier not in known:
            raise RegisterError(f"{requirements[0]}: no source has {identifier}; add it, or correct the id")
    asked = {
        each
        for source in sources
        if source.name == DOCUMENT
        for statement in source.statements
        for each in statement.requirements
    }
    for requirement in register:
        if requirement.source.startswith(DOCUMENT) and requirement.id not in asked:
            raise RegisterError(
                f"{requirement.id}: no sentence of the document asks for it; name it there, or another source here"
            )
    return sources


def _source(path: Path, register: Register, named: Mapping[str, list[str]]) -> Source:
    try:
        told = msgspec.toml.decode(path.read_bytes(), type=_File)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise RegisterError(f"{path.name}: {error}") from error
    statements = (*(Statement(id=identifier) for identifier in told.ids), *told.statement)
    return Source(
        name=path.stem,
        title=told.title,
        statements=tuple(_settled(statement, path.name, register, named) for statement in statements),
    )


def _settled(
    statement: Statement, where: str, register: Register, named: Mapping[str, list[str]]
) -> Statement:
    """The statement with whole ids, and with those of the requirements that name it themselves."""
    found = list(named.get(statement.id, ()))
    for prefix in statement.requirements:
        chosen = register.select(prefix)
        if not chosen:
            raise RegisterError(f"{where}, {statement.id}: no requirement is or begins with {prefix!r}")
        found += [requirement.id for requirement in chosen]
    if found and statement.outside:
        raise RegisterError(f"{where}, {statement.id}: is asked for by {found[0]}, so it is not outside")
    if not found and not statement.outside:
        raise RegisterError(
            f"{where}, {statement.id}: no requirement comes of it; name one, or say why it is outside"
        )
    if bool(statement.outside) is not bool(statement.reason):
        raise RegisterError(f"{where}, {statement.id}: outside and reason belong together")
    return msgspec.structs.replace(statement, requirements=tuple(dict.fromkeys(found)))
