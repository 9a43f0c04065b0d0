"""What the mesh knows of its nodes: their services and their checks, as frozen records without I/O.

The records are those of the local state too: what an agent registers is what the catalog shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import Generic, TypeVar

import msgspec

from reference.config.model import Destination, Weights

T = TypeVar("T")

#: What the original says of each node; there are no segments here.
NODE_META: Mapping[str, str] = {"consul-network-segment": ""}


class Status(StrEnum):
    """The state of a check, best first."""

    PASSING = "passing"
    WARNING = "warning"
    CRITICAL = "critical"


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """One instance of a service. ``destination`` is set on proxies only; ``native`` ones speak mTLS themselves."""

    id: str
    name: str
    kind: str = ""
    port: int = 0
    address: str = ""
    tags: tuple[str, ...] = ()
    meta: Mapping[str, str] = msgspec.field(default_factory=dict)
    weights: Weights = msgspec.field(default_factory=Weights)
    enable_tag_override: bool = False
    native: bool = False
    destination: Destination | None = None

    @property
    def connects_to(self) -> str:
        """The name under which connect look-ups find this instance, or the empty string (MP-CAT-005)."""
        if self.destination is not None:
            return self.destination.service_name
        return self.name if self.native else ""


class CheckPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody who registered a check in the catalog says of how it is done. Durations in seconds.

    Nobody here acts on it: it is for monitors that look after nodes without an agent.
    """

    http: str = ""
    tls_skip_verify: bool = False
    header: Mapping[str, Sequence[str]] = msgspec.field(default_factory=dict)
    method: str = ""
    tcp: str = ""
    interval: float = 0.0
    timeout: float = 0.0
    deregister_after: float = 0.0


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """The last result of one health check. ``service_id`` is empty for a check of the whole node."""

    id: str
    name: str
    status: Status
    notes: str = ""
    output: str = ""
    service_id: str = ""
    service_name: str = ""
    service_tags: tuple[str, ...] = ()
    plan: CheckPlan = msgspec.field(default_factory=CheckPlan)


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """A machine. ``address`` is where others reach it; ``id`` is a UUID, or empty for one that has no agent.

    ``None`` stands where nobody said anything, as in the original, which shows it.
    """

    id: str
    name: str
    address: str
    datacenter: str
    tagged_addresses: Mapping[str, str] | None = None
    meta: Mapping[str, str] | None = None

    def has_meta(self, wanted: Mapping[str, str]) -> bool:
        """Whether all these pairs are among its metadata."""
        meta = self.meta or {}
        return all(meta.get(key) == value for key, value in wanted.items())


def agent_node(
    *,
    id: str,
    name: str,
    address: str,
    datacenter: str,
    wan: str = "",
    meta: Mapping[str, str] = MappingProxyType({}),
) -> Node:
    """The node of an agent, with what an agent says of it; ``wan`` is its address for other datacenters."""
    return Node(
        id=id,
        name=name,
        address=address,
        datacenter=datacenter,
        tagged_addresses={"lan": address, "wan": wan or address},
        meta={**NODE_META, **meta},
    )


class Indexed(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """A record with the indexes at which it came to be and last changed."""

    value: T
    created: int
    modified: int


def worst(statuses: frozenset[Status] | set[Status]) -> Status:
    """The aggregate of several checks: the worst wins, and nothing to check is passing."""
    return max(statuses, key=list(Status).index, default=Status.PASSING)
