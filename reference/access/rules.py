"""The rule language: what the text of a policy gives, and what several policies give together. Pure.

Rules are HCL or JSON::

    service "web" { policy = "write"  intentions = "read" }     this service
    service_prefix "" { policy = "read" }                       every service whose name begins so
    operator = "read"                                           what there is only one of

The legacy syntax, of tokens made as before version 1.4, has no ``_prefix``: each of its names is a prefix. As in the
original, keys that mean nothing are ignored, an exact rule beats every prefix, and the longest prefix the shorter
ones; where policies disagree about one name, ``deny`` wins over ``write`` over ``list`` over ``read``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from typing import Any, TypeVar

import msgspec

from reference.access.authorizer import Authorizer, Level, Resource
from reference.config import hcl

#: What rules name; the others are single.
_NAMED = (
    Resource.AGENT,
    Resource.EVENT,
    Resource.KEY,
    Resource.NODE,
    Resource.QUERY,
    Resource.SERVICE,
    Resource.SESSION,
)
_PREFIX = "_prefix"
_RANK = {Level.READ: 1, Level.LIST: 2, Level.WRITE: 3, Level.DENY: 4}
_GRANTS = {
    Level.DENY: frozenset[Level](),
    Level.READ: frozenset({Level.READ}),
    Level.LIST: frozenset({Level.READ, Level.LIST}),
    Level.WRITE: frozenset({Level.READ, Level.LIST, Level.WRITE}),
}

Name = tuple[Resource, str]
K = TypeVar("K")


class Syntax(Enum):
    """Which of the two rule languages a text is written in."""

    CURRENT = "current"
    LEGACY = "legacy"


class RulesError(ValueError):
    """Text that is no set of rules; says what is wrong with which rule."""


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What one or several policies say; ``INTENTION`` is there only where a service rule says it."""

    exact: Mapping[Name, Level] = msgspec.field(default_factory=dict)
    prefix: Mapping[Name, Level] = msgspec.field(default_factory=dict)
    single: Mapping[Resource, Level] = msgspec.field(default_factory=dict)


def parse(text: str, syntax: Syntax = Syntax.CURRENT) -> Rules:
    """Read the rules of a policy. Raises :class:`RulesError`."""
    body = _read(text)
    exact: dict[Name, Level] = {}
    prefix: dict[Name, Level] = {}
    for resource in _NAMED:
        if syntax is Syntax.LEGACY:
            _collect(prefix, resource, body.get(resource), key=resource)
        else:
            _collect(exact, resource, body.get(resource), key=resource)
            _collect(prefix, resource, body.get(resource + _PREFIX), key=resource + _PREFIX)
    single: dict[Resource, Level] = {}
    for resource in (Resource.ACL, Resource.KEYRING, Resource.OPERATOR):
        legacy_has_none = syntax is Syntax.LEGACY and resource is Resource.ACL
        if body.get(resource, "") != "" and not legacy_has_none:
            single[resource] = _level(body[resource], f"Invalid {resource} policy", levels=_ALL_BUT_LIST)
    return Rules(exact=exact, prefix=prefix, single=single)


def merge(policies: Iterable[Rules]) -> Rules:
    """What several policies say together."""
    exact: dict[Name, Level] = {}
    prefix: dict[Name, Level] = {}
    single: dict[Resource, Level] = {}
    for rules in policies:
        for name, level in rules.exact.items():
            _strengthen(exact, name, level)
        for name, level in rules.prefix.items():
            _strengthen(prefix, name, level)
        for resource, level in rules.single.items():
            _strengthen(single, resource, level)
    return Rules(exact=exact, prefix=prefix, single=single)


class RuleAuthorizer:
    """Decides by rules, and by ``parent`` where none is about the question."""

    def __init__(self, rules: Rules, *, parent: Authorizer) -> None:
        self._exact = {**_intentions(rules.exact), **rules.exact}
        self._prefix = {**_intentions(rules.prefix), **rules.prefix}
        self._single = rules.single
        self._parent = parent

    def allows(self, resource: Resource, name: str, level: Level) -> bool:
        """See :class:`~reference.access.authorizer.Authorizer`."""
        rule = self._rule(resource, name)
        return self._parent.allows(resource, name, level) if rule is None else level in _GRANTS[rule]

    @property
    def allows_by_default(self) -> bool:
        """The default policy's answer: no rule is about it."""
        return self._parent.allows_by_default

    def _rule(self, resource: Resource, name: str) -> Level | None:
        if resource in self._single:
            return self._single[resource]
        resource, name = _folded(resource, name)
        if exact := self._exact.get((resource, name)):
            return exact
        prefixes = (self._prefix.get((resource, name[:end])) for end in range(len(name), -1, -1))
        return next((rule for rule in prefixes if rule is not None), None)


def translate(text: str) -> str:
    """Legacy rules in the current syntax, otherwise as they were written. Raises :class:`RulesError`."""
    names = {str(resource): resource + _PREFIX for resource in _NAMED}
    body = _read(text, what="rules")
    if _is_json(text):
        return json.dumps({names.get(key, key): value for key, value in body.items()}, indent=2) + "\n"
    return hcl.rename(text, names)


_ALL = (Level.READ, Level.WRITE, Level.DENY, Level.LIST)
_ALL_BUT_LIST = (Level.READ, Level.WRITE, Level.DENY)


def _read(text: str, *, what: str = "ACL rules") -> Mapping[str, Any]:
    try:
        body = json.loads(text) if _is_json(text) else hcl.parse(text)
    except (hcl.HclError, json.JSONDecodeError) as error:
        raise RulesError(f"Failed to parse {what}: {error}") from error
    except RecursionError as error:
        raise RulesError(f"Failed to parse {what}: they are nested too deeply") from error
    assert isinstance(body, dict)
    return body


def _is_json(text: str) -> bool:
    return text.lstrip().startswith("{")


def _collect(into: dict[Name, Level], resource: Resource, value: object, *, key: str) -> None:
    levels = _ALL if resource is Resource.KEY else _ALL_BUT_LIST
    for name, body in _entries(value, key):
        rule = dict(body)
        problem = f'Invalid {key} policy: "{name}"'
        _strengthen(into, _folded(resource, name), _level(rule.get("policy", ""), problem, levels=levels))
        intentions = rule.get("intentions", "")
        if resource is Resource.SERVICE and intentions != "":
            problem = f'Invalid {key} intentions policy: "{name}"'
            _strengthen(
                into, _folded(Resource.INTENTION, name), _level(intentions, problem, levels=_ALL_BUT_LIST)
            )


def _entries(value: object, key: str) -> Iterator[tuple[str, Mapping[str, object]]]:
    """Each name with what is said about it, from ``key "name" { … }`` and all that means the same."""
    for block in _objects(value, key):
        for name, bodies in block.items():
            for body in _objects(bodies, key):
                yield name, body


def _objects(value: object, key: str) -> Iterator[Mapping[str, object]]:
    if value is None:
        return
    for item in value if isinstance(value, list) else [value]:
        if not isinstance(item, dict):
            raise RulesError(
                f'Failed to parse ACL rules: {key}: write it as {key} "name" {{ policy = "read" }}'
            )
        yield item


def _folded(resource: Resource, name: str) -> Name:
    """Names are equal regardless of case, as they are in the catalog and in intentions; those of keys are not."""
    return resource, name if resource is Resource.KEY else name.lower()


def _level(value: object, problem: str, *, levels: tuple[Level, ...]) -> Level:
    if value not in levels:
        shown = json.dumps(value) if isinstance(value, str) else "something that is no text"
        raise RulesError(f"{problem}: {shown} is none of {', '.join(levels)}")
    return Level(str(value))


def _strengthen(levels: dict[K, Level], key: K, level: Level) -> None:
    if key not in levels or _RANK[level] > _RANK[levels[key]]:
        levels[key] = level


def _intentions(rules: Mapping[Name, Level]) -> dict[Name, Level]:
    """What follows for the intentions towards a service from a rule that says nothing about them."""
    reads = (Level.READ, Level.WRITE)
    return {
        (Resource.INTENTION, name): Level.READ if level in reads else Level.DENY
        for (resource, name), level in rules.items()
        if resource is Resource.SERVICE
    }
