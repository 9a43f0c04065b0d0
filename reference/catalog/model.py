"""What the mesh knows of a node: its services and their checks, as frozen records without I/O.

The records are those of the local state too: what an agent registers is what the catalog shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, TypeVar

T = TypeVar("T")

#: The kind of a record that stands for the proxy of another service.
CONNECT_PROXY = "connect-proxy"

#: What the original says of each node; there are no segments here.
NODE_META: Mapping[str, str] = {"consul-network-segment": ""}


class Status(StrEnum):
    """The state of a check, best first."""

    PASSING = "passing"
    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True, kw_only=True)
class Destination:
    """What a proxy stands in front of (MP-CAT-002). A port of 0 and an empty address mean: not said."""

    service_name: str
    local_address: str = ""
    local_port: int = 0


@dataclass(frozen=True, kw_only=True)
class Service:
    """One instance of a service. ``destination`` is set on proxies only; ``native`` ones speak mTLS themselves."""

    id: str
    name: str
    kind: str = ""
    port: int = 0
    address: str = ""
    tags: tuple[str, ...] = ()
    meta: Mapping[str, str] = field(default_factory=dict)
    enable_tag_override: bool = False
    native: bool = False
    destination: Destination | None = None

    @property
    def connects_to(self) -> str:
        """The name under which connect look-ups find this instance, or the empty string (MP-CAT-005)."""
        if self.destination is not None:
            return self.destination.service_name
        return self.name if self.native else ""


@dataclass(frozen=True, kw_only=True)
class Check:
    """The last result of one health check. ``service_id`` is empty for a check of the whole node."""

    id: str
    name: str
    status: Status
    notes: str = ""
    output: str = ""
    service_id: str = ""
    service_name: str = ""
    service_tags: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Node:
    """The machine an agent speaks for. ``id`` is a UUID; ``address`` is where other nodes reach it."""

    id: str
    name: str
    address: str
    datacenter: str


@dataclass(frozen=True, kw_only=True)
class Indexed(Generic[T]):
    """A record with the indexes at which it came to be and last changed."""

    value: T
    created: int
    modified: int


def worst(statuses: frozenset[Status] | set[Status]) -> Status:
    """The aggregate of several checks: the worst wins, and nothing to check is passing."""
    return max(statuses, key=list(Status).index, default=Status.PASSING)
