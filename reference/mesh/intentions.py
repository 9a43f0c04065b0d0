"""Intentions: rules about who may talk to whom, and which of them decides (section IXN). Pure.

A rule names a source and a destination; either may be a wildcard. Of the rules that cover a pair, the one with the
most exact destination decides, and of those the one with the most exact source: that is its precedence, 9 to 1.

===================  ============  ===============  ===================
destination          exact source  source ``ns/*``  source ``*/*``
===================  ============  ===============  ===================
exact                9             8                7
``ns/*``             6             5                4
``*/*``              3             2                1
===================  ============  ===============  ===================

There is one rule at most for a pair of source and destination, so the order in which rules were made never matters.
Names are equal regardless of case.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from enum import StrEnum

import msgspec

WILDCARD = "*"
DEFAULT_NAMESPACE = "default"

#: Limits of what the mesh keeps without understanding it: bytes, and number of pairs.
_LONGEST_TEXT = 512
_LONGEST_META_KEY = 128
_META_PAIRS = 64


class Action(StrEnum):
    """What an intention says about the connections that it covers."""

    ALLOW = "allow"
    DENY = "deny"


class Side(StrEnum):
    """From which side intentions are looked up."""

    SOURCE = "source"
    DESTINATION = "destination"


class IntentionError(ValueError):
    """What was asked for cannot be; the text is for the caller."""


class Party(msgspec.Struct, frozen=True, order=True):
    """A service, the services of a namespace (``name`` is ``*``), or all of them (both are ``*``)."""

    name: str
    namespace: str = DEFAULT_NAMESPACE

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def folded(self) -> Party:
        """The same party in the case in which names are compared."""
        return Party(self.name.lower(), self.namespace.lower())

    @property
    def exact_parts(self) -> int:
        """How many parts are no wildcards, 0 to 2."""
        if self.namespace == WILDCARD:
            return 0
        return 1 if self.name == WILDCARD else 2

    def covered_by(self) -> tuple[Party, ...]:
        """The parties that include this one, most exact first, folded."""
        own = self.folded
        return (own, Party(WILDCARD, own.namespace), Party(WILDCARD, WILDCARD))[2 - own.exact_parts :]


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """What a user says; all of it is text of theirs, so ``problems`` must be empty before it counts."""

    source: Party
    destination: Party
    action: str
    source_type: str = "consul"
    description: str = ""
    default_addr: str = ""
    default_port: int = 0
    meta: Mapping[str, str] = msgspec.field(default_factory=dict)

    @property
    def pair(self) -> tuple[Party, Party]:
        """What no two intentions have in common (MP-IXN-003)."""
        return self.source.folded, self.destination.folded

    def on(self, side: Side) -> Party:
        """The party on one side."""
        return self.source if side is Side.SOURCE else self.destination

    @property
    def precedence(self) -> int:
        """The rank among the rules that cover one connection; the highest decides (MP-IXN-004)."""
        return 3 * self.destination.exact_parts + self.source.exact_parts + 1

    def problems(self) -> list[str]:
        """What is wrong with it, in the original's words (MP-IXN-002)."""
        return [
            *_party_problems("Source", self.source),
            *_party_problems("Destination", self.destination),
            *_text_problems(self.description, self.meta),
            *([] if self.action in [*Action] else ["Action must be set to 'allow' or 'deny'"]),
            *([] if self.source_type == "consul" else ["SourceType must be set to 'consul'"]),
        ]


class Intention(msgspec.Struct, frozen=True, kw_only=True):
    """A rule in force, with its UUID, and the indexes and times at which it was made and last changed."""

    id: str
    rule: Rule
    created: int
    modified: int
    created_at: datetime
    updated_at: datetime

    def __str__(self) -> str:
        rule = self.rule
        return (
            f"{rule.action.upper()} {rule.source} => {rule.destination} "
            f"(ID: {self.id}, Precedence: {rule.precedence})"
        )

    @property
    def allows(self) -> bool:
        """Whether the connections that it covers may be made."""
        return self.rule.action == Action.ALLOW

    @property
    def order(self) -> tuple[int, str, str, str, str]:
        """The place in lists: by precedence, then by name (MP-IXN-005)."""
        source, destination = self.rule.source, self.rule.destination
        return (
            -self.rule.precedence,
            *(source.namespace, source.name),
            *(destination.namespace, destination.name),
        )


class Intentions:
    """All intentions of a mesh. Iterating gives them in their order."""

    def __init__(self) -> None:
        self._by_id: dict[str, Intention] = {}
        self._by_pair: dict[tuple[Party, Party], Intention] = {}

    def __iter__(self) -> Iterator[Intention]:
        return iter(sorted(self._by_id.values(), key=lambda intention: intention.order))

    def get(self, intention_id: str) -> Intention | None:
        """The intention with this id."""
        return self._by_id.get(intention_id)

    def between(self, source: Party, destination: Party) -> Intention | None:
        """The intention that names exactly these two."""
        return self._by_pair.get((source.folded, destination.folded))

    def check_free(self, rule: Rule, *, besides: str = "") -> None:
        """Raise :class:`IntentionError` when an intention other than ``besides`` has the pair of ``rule``."""
        taken = self._by_pair.get(rule.pair)
        if taken is not None and taken.id != besides:
            raise IntentionError(f"duplicate intention found: {taken}")

    def put(self, intention: Intention) -> None:
        """Add an intention, or replace the one with its id. Raises :class:`IntentionError` for a taken pair."""
        self.check_free(intention.rule, besides=intention.id)
        self.remove(intention.id)
        self._by_id[intention.id] = intention
        self._by_pair[intention.rule.pair] = intention

    def remove(self, intention_id: str) -> None:
        """Remove an intention; an unknown id is no error."""
        old = self._by_id.pop(intention_id, None)
        if old is not None:
            del self._by_pair[old.rule.pair]

    def matching(self, side: Side, party: Party) -> list[Intention]:
        """The intentions that concern ``party`` on this side, in their order (MP-IXN-009)."""
        covering = set(party.covered_by())
        return [intention for intention in self if intention.rule.on(side).folded in covering]

    def deciding(self, *, source: Party, destination: Party) -> Intention | None:
        """The intention that decides about a connection, if there is one: nine look-ups, however many there are."""
        for whom in destination.covered_by():
            for who in source.covered_by():
                if found := self._by_pair.get((who, whom)):
                    return found
        return None


def describe_problems(problems: list[str]) -> str:
    """Several problems as one text, in the original's form."""
    return f"{len(problems)} error(s) occurred:\n\n" + "\n".join(f"* {problem}" for problem in problems)


def check_id(text: str) -> str:
    """The id in the case in which ids are kept. Raises :class:`IntentionError` for what is no UUID (MP-IXN-006)."""
    raw = text.encode()
    strange = [byte for byte in raw if byte not in b"0123456789abcdefABCDEF-"]
    problems = (
        (len(raw) != 36, "UUID must be 36 characters"),
        (raw.count(b"-") > 4, f'UUID should have maximum of 4 "-"; got {raw.count(b"-")}'),
        (strange, f"Invalid UUID: encoding/hex: invalid byte: {''.join(map(_code_point, strange[:1]))}"),
    )
    for wrong, problem in problems:
        if wrong:
            raise IntentionError(f"failed intention lookup: index error: {problem}")
    return text.lower()


def _code_point(byte: int) -> str:
    return f"U+{byte:04X} '{chr(byte)}'"


def _party_problems(side: str, party: Party) -> Iterator[str]:
    parts = {"NS": party.namespace, "Name": party.name}
    for part, value in parts.items():
        if not value:
            yield f"{side}{part} must be set"
    for part, value in parts.items():
        if WILDCARD in value and value != WILDCARD:
            yield f"{side}{part}: wildcard character '*' cannot be used with partial values"
    if party.namespace == WILDCARD != party.name:
        yield f"{side}Name: exact value cannot follow wildcard namespace"


def _text_problems(description: str, meta: Mapping[str, str]) -> Iterator[str]:
    if len(description.encode()) > _LONGEST_TEXT:
        yield f"Description exceeds maximum length {_LONGEST_TEXT}"
    if len(meta) > _META_PAIRS:
        yield f"Meta exceeds maximum element count {_META_PAIRS}"
    for key, value in meta.items():
        if len(key.encode()) > _LONGEST_META_KEY:
            yield f'Meta key "{key}" exceeds maximum length {_LONGEST_META_KEY}'
        if len(value.encode()) > _LONGEST_TEXT:
            yield f'Meta value for key "{key}" exceeds maximum length {_LONGEST_TEXT}'
