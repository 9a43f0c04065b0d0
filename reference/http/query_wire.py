"""Prepared queries as the API writes and reads them: the original's names and order, ``null`` for what nobody gave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from reference.agent.records import Record
from reference.query.model import (
    HIDDEN,
    Definition,
    Failover,
    PreparedQuery,
    ServiceQuery,
    TemplateOptions,
)


class TemplateView(Record, kw_only=True):
    type: str = ""
    regexp: str = ""
    remove_empty_tags: bool = False


class FailoverView(Record, kw_only=True):
    nearest_n: int = 0
    datacenters: Sequence[str] | None = None


class ServiceView(Record, kw_only=True):
    service: str = ""
    failover: FailoverView = msgspec.field(default_factory=FailoverView)
    only_passing: bool = False
    ignore_check_ids: Sequence[str] | None = msgspec.field(name="IgnoreCheckIDs", default=None)
    near: str = ""
    tags: Sequence[str] | None = None
    node_meta: Mapping[str, str] | None = None
    service_meta: Mapping[str, str] | None = None
    connect: bool = False


class DnsView(Record, kw_only=True):
    ttl: str = msgspec.field(name="TTL", default="")


class QueryView(Record, kw_only=True):
    id: str = ""
    name: str = ""
    session: str = ""
    token: str = ""
    template: TemplateView = msgspec.field(default_factory=TemplateView)
    service: ServiceView = msgspec.field(default_factory=ServiceView)
    dns: DnsView = msgspec.field(name="DNS", default_factory=DnsView)
    create_index: int = 0
    modify_index: int = 0


#: The objects within objects whose keys the API knows; what is in others is the user's.
_INNER: Mapping[type[msgspec.Struct], Mapping[str, type[msgspec.Struct]]] = {
    QueryView: {"Template": TemplateView, "Service": ServiceView, "DNS": DnsView},
    ServiceView: {"Failover": FailoverView},
}


def view(query: PreparedQuery, *, hide_token: bool) -> QueryView:
    """A query for readers; its token is for those who may see all tokens."""
    said = query.definition
    wanted = said.service
    return QueryView(
        id=query.id,
        name=said.name,
        session=said.session,
        token=HIDDEN if said.token and hide_token else said.token,
        template=TemplateView(
            type=said.template.kind,
            regexp=said.template.regexp,
            remove_empty_tags=said.template.remove_empty_tags,
        ),
        service=ServiceView(
            service=wanted.service,
            failover=FailoverView(
                nearest_n=wanted.failover.nearest_n, datacenters=wanted.failover.datacenters
            ),
            only_passing=wanted.only_passing,
            ignore_check_ids=wanted.ignore_check_ids,
            near=wanted.near,
            tags=wanted.tags,
            node_meta=wanted.node_meta,
            service_meta=wanted.service_meta,
            connect=wanted.connect,
        ),
        dns=DnsView(ttl=said.dns_ttl),
        create_index=query.created,
        modify_index=query.modified,
    )


def read_definition(body: object) -> tuple[str, Definition]:
    """Id and content of a query as a user sends it; keys in any case, others ignored. Raises :class:`ValueError`."""
    said = msgspec.convert(_folded(body, QueryView), QueryView)
    wanted = said.service
    return said.id, Definition(
        name=said.name,
        session=said.session,
        token=said.token,
        template=TemplateOptions(
            kind=said.template.type,
            regexp=said.template.regexp,
            remove_empty_tags=said.template.remove_empty_tags,
        ),
        service=ServiceQuery(
            service=wanted.service,
            failover=Failover(
                nearest_n=wanted.failover.nearest_n, datacenters=_texts(wanted.failover.datacenters)
            ),
            only_passing=wanted.only_passing,
            ignore_check_ids=_texts(wanted.ignore_check_ids),
            near=wanted.near,
            tags=_texts(wanted.tags),
            node_meta=wanted.node_meta,
            service_meta=wanted.service_meta,
            connect=wanted.connect,
        ),
        dns_ttl=said.dns.ttl,
    )


def _texts(given: Sequence[str] | None) -> tuple[str, ...] | None:
    """An empty list is none, as in the original."""
    return tuple(given) if given else None


def _folded(value: object, form: type[msgspec.Struct]) -> dict[str, Any]:
    """``value`` with the spelling of keys that ``form`` has, and without what is ``null``."""
    if not isinstance(value, dict):
        raise ValueError("'' expected a map")
    spelling = {name.lower(): name for name in form.__struct_encode_fields__}
    inner = _INNER.get(form, {})
    folded: dict[str, Any] = {}
    for key, content in value.items():
        name = spelling.get(key.lower())
        if name is not None and content is not None:
            folded[name] = _folded(content, inner[name]) if name in inner else content
    return folded
