"""What a prepared query is, and what can be wrong with it, in the original's words. Pure.

``None`` stands where a list or a map was not given at all, since the original shows the difference.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import msgspec
from msgspec.structs import replace

from reference.config.durations import parse_duration
from reference.secretive import Secretive

#: What stands for the token of a query in answers.
HIDDEN = "<hidden>"

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_META_KEY = re.compile(r"[a-zA-Z0-9_-]+")
_META_PAIRS = 64
_LONGEST_META_KEY = 128
_LONGEST_META_VALUE = 512


class QueryError(ValueError):
    """A query cannot be; the text is the original's."""


class QueryNotFound(Exception):
    """There is no such query."""

    def __init__(self) -> None:
        super().__init__("Query not found")


class Failover(msgspec.Struct, frozen=True, kw_only=True):
    """Where to look when there is nothing here. There is one datacenter only, so this is remembered, no more."""

    nearest_n: int = 0
    datacenters: tuple[str, ...] | None = None


class ServiceQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which instances are wanted. A tag with ``!`` before it must not be there."""

    service: str = ""
    failover: Failover = Failover()
    only_passing: bool = False
    ignore_check_ids: tuple[str, ...] | None = None
    near: str = ""
    tags: tuple[str, ...] | None = None
    node_meta: Mapping[str, str] | None = None
    service_meta: Mapping[str, str] | None = None
    connect: bool = False


class TemplateOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a query answers for other names than its own; with an empty ``kind`` it does not."""

    kind: str = ""
    regexp: str = ""
    remove_empty_tags: bool = False


class Definition(Secretive, frozen=True, kw_only=True):
    """What a user says. ``dns_ttl`` is a duration as text, or empty for the agent's own."""

    UNSHOWN = frozenset({"token"})

    name: str = ""
    session: str = ""
    token: str = ""
    template: TemplateOptions = TemplateOptions()
    service: ServiceQuery = ServiceQuery()
    dns_ttl: str = ""

    @property
    def is_template(self) -> bool:
        """Whether it answers for every name that begins with its own."""
        return bool(self.template.kind)

    @property
    def acl_prefix(self) -> str | None:
        """The name that rules about queries are compared to; None where no rule applies: who has the id, has it."""
        return self.name if self.name or self.is_template else None

    def check(self) -> None:
        """Raise :class:`QueryError` for what makes no sense."""
        if self.acl_prefix is None and not self.session:
            raise QueryError("Must be bound to a session")
        if self.token == HIDDEN:
            raise QueryError(
                f"Bad Token '{HIDDEN}', it looks like a query definition with a redacted token was submitted"
            )
        if not self.service.service:
            raise QueryError("Must provide a Service name to query")
        if self.service.failover.nearest_n < 0:
            raise QueryError(f"Bad NearestN '{self.service.failover.nearest_n}', must be >= 0")
        _check_meta(self.service.node_meta or {})
        _ttl(self.dns_ttl)

    @property
    def ttl(self) -> int | None:
        """How long DNS may keep an answer (s); None where the agent decides."""
        return _ttl(self.dns_ttl)


class PreparedQuery(msgspec.Struct, frozen=True, kw_only=True):
    """A query that is there, with its UUID and the indexes at which it was made and last changed."""

    id: str
    definition: Definition
    created: int
    modified: int


def is_uuid(text: str) -> bool:
    """Whether the text has the form of an id."""
    return _UUID.fullmatch(text) is not None


def map_texts(query: ServiceQuery, change: Callable[[str, str], str]) -> ServiceQuery:
    """``query`` with each of its texts changed; ``change`` gets its place (``.Tags[0]``) and the text."""

    def each(place: str, texts: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return texts and tuple(change(f"{place}[{number}]", text) for number, text in enumerate(texts))

    def values(place: str, texts: Mapping[str, str] | None) -> Mapping[str, str] | None:
        return texts and {key: change(f"{place}[{key}]", text) for key, text in texts.items()}

    return replace(
        query,
        service=change(".Service", query.service),
        failover=replace(
            query.failover, datacenters=each(".Failover.Datacenters", query.failover.datacenters)
        ),
        ignore_check_ids=each(".IgnoreCheckIDs", query.ignore_check_ids),
        near=change(".Near", query.near),
        tags=each(".Tags", query.tags),
        node_meta=values(".NodeMeta", query.node_meta),
        service_meta=values(".ServiceMeta", query.service_meta),
    )


def _ttl(text: str) -> int | None:
    if not text:
        return None
    try:
        seconds = parse_duration(text)
    except ValueError:
        raise QueryError(f"Bad DNS TTL '{text}': time: invalid duration \"{text}\"") from None
    if seconds < 0:
        raise QueryError(f"DNS TTL '{int(seconds * 1e9)}', must be >=0")
    if seconds >= 2**31:
        raise QueryError(f"Bad DNS TTL '{text}': it is too long for DNS")
    return int(seconds)


def _check_meta(meta: Mapping[str, str]) -> None:
    if len(meta) > _META_PAIRS:
        raise QueryError(f"Node metadata cannot contain more than {_META_PAIRS} key/value pairs")
    for key, value in meta.items():
        problem = _meta_problem(key, value)
        if problem:
            raise QueryError(f"Couldn't load metadata pair ('{key}', '{value}'): {problem}")


def _meta_problem(key: str, value: str) -> str:
    if not key:
        return "Key cannot be blank"
    if not _META_KEY.fullmatch(key):
        return "Key contains invalid characters"
    if len(key) > _LONGEST_META_KEY:
        return f"Key is too long (limit: {_LONGEST_META_KEY} characters)"
    if len(value.encode()) > _LONGEST_META_VALUE:
        return f"Value is too long (limit: {_LONGEST_META_VALUE} characters)"
    return ""
