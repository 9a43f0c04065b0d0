"""The files of the data directory as JSON, in the original's shape (MP-SNAP-006, MP-SNAP-007). Pure.

One key is added to a proxy's record: ``OwnCommand`` tells whether the stored command was given by the user, so
that a default command is worked out anew by each agent instead of pointing to an executable that has moved.
"""

from __future__ import annotations

from typing import Any

import msgspec

from reference.agent.names import go_name
from reference.agent.proxies import Managed
from reference.agent.services import Registration, Remembered
from reference.catalog.model import Service
from reference.config.model import (
    CONNECT_PROXY,
    Destination,
    ExecMode,
    ManagedProxy,
    Opaque,
    ServiceDefinition,
    Upstream,
    Weights,
)
from reference.secretive import Secretive

_EXEC_MODES = {str(ExecMode.DAEMON): 1, str(ExecMode.SCRIPT): 2}


class Record(msgspec.Struct, rename=go_name):
    """JSON with the original's spelling; unknown keys of a file are ignored."""


class WeightsRecord(Record, kw_only=True):
    passing: int = 1
    warning: int = 1


class UpstreamRecord(Record, kw_only=True):
    destination_type: str = ""
    destination_namespace: str | msgspec.UnsetType = msgspec.UNSET
    destination_name: str = ""
    datacenter: str = ""
    local_bind_address: str | msgspec.UnsetType = msgspec.UNSET
    local_bind_port: int = 0
    config: dict[str, Any] | None = None


class Target(Record, kw_only=True):
    destination_service_name: str | msgspec.UnsetType = msgspec.UNSET
    destination_service_id: str | msgspec.UnsetType = msgspec.UNSET
    local_service_address: str | msgspec.UnsetType = msgspec.UNSET
    local_service_port: int | msgspec.UnsetType = msgspec.UNSET
    config: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    upstreams: tuple[UpstreamRecord, ...] | msgspec.UnsetType = msgspec.UNSET


class Connect(Record, kw_only=True):
    native: bool | msgspec.UnsetType = msgspec.UNSET


class NodeService(Record, kw_only=True):
    kind: str | msgspec.UnsetType = msgspec.UNSET
    id: str
    service: str
    tags: tuple[str, ...] | None = None
    address: str = ""
    meta: dict[str, str] | None = None
    port: int = 0
    weights: WeightsRecord = msgspec.field(default_factory=WeightsRecord)
    enable_tag_override: bool = False
    proxy_destination: str = ""
    proxy: Target = msgspec.field(default_factory=Target)
    connect: Connect = msgspec.field(default_factory=Connect)
    create_index: int = 0
    modify_index: int = 0


class ServiceFile(Record, kw_only=True):
    token: str = ""
    service: NodeService
    sidecar_of: str | msgspec.UnsetType = msgspec.UNSET


class ProxyRecord(Record, kw_only=True):
    exec_mode: int
    command: tuple[str, ...]
    config: dict[str, Any] | None = None
    upstreams: tuple[UpstreamRecord, ...] = ()
    proxy_service: NodeService
    target_service_id: str


class ProxyFile(Record, kw_only=True):
    proxy_token: str
    proxy: ProxyRecord
    from_file: bool
    own_command: bool = True


class StoredProxy(Secretive, frozen=True, kw_only=True):
    """A managed proxy as an earlier run left it."""

    UNSHOWN = frozenset({"remembered"})

    proxy_id: str
    target_id: str
    proxy: ManagedProxy
    from_file: bool
    remembered: Remembered


class StoredService(msgspec.Struct, frozen=True, kw_only=True):
    """A service as an earlier run left it; ``sidecar_of`` is the service that it is a part of, or empty."""

    definition: ServiceDefinition
    sidecar_of: str


def encode_service(registration: Registration) -> bytes:
    """The content of ``services/<hash>``. What it is a sidecar of is our own addition: the original forgets it."""
    record = ServiceFile(
        token=registration.token,
        service=node_service(registration.service),
        sidecar_of=registration.sidecar_of or msgspec.UNSET,
    )
    return msgspec.json.encode(record, order="deterministic")


def encode_managed_service(service: Service) -> bytes:
    """The content of ``services/<hash>`` for the record of a managed proxy."""
    return msgspec.json.encode(ServiceFile(service=node_service(service)), order="deterministic")


def encode_proxy(managed: Managed) -> bytes:
    """The content of ``proxies/<hash>``."""
    proxy = managed.proxy
    record = ProxyFile(
        proxy_token=managed.token,
        proxy=ProxyRecord(
            exec_mode=_EXEC_MODES[proxy.exec_mode],
            command=proxy.command,
            config=dict(proxy.config) or None,
            upstreams=tuple(_upstream_record(upstream) for upstream in proxy.upstreams),
            proxy_service=node_service(managed.service),
            target_service_id=managed.target_id,
        ),
        from_file=managed.from_file,
        own_command=managed.own_command,
    )
    return msgspec.json.encode(record, order="deterministic")


def decode_service(content: bytes) -> StoredService:
    """A stored service. Raises :class:`ValueError` when the content is no such record."""
    stored = msgspec.json.decode(content, type=ServiceFile)
    service = stored.service
    if not service.id or not service.service:
        raise ValueError("it has no ID or no name")
    definition = ServiceDefinition(
        id=service.id,
        name=service.service,
        kind=service.kind or "",
        port=service.port,
        address=service.address,
        tags=service.tags or (),
        meta=service.meta or {},
        weights=Weights(passing=service.weights.passing, warning=service.weights.warning),
        token=stored.token,
        enable_tag_override=service.enable_tag_override,
        native=service.connect.native is True,
        destination=_destination(service.proxy) if service.kind == CONNECT_PROXY else None,
    )
    return StoredService(definition=definition, sidecar_of=stored.sidecar_of or "")


def decode_proxy(content: bytes) -> StoredProxy:
    """A stored managed proxy. Raises :class:`ValueError` when the content is no such record."""
    stored = msgspec.json.decode(content, type=ProxyFile)
    record = stored.proxy
    modes = {number: mode for mode, number in _EXEC_MODES.items()}
    return StoredProxy(
        proxy_id=record.proxy_service.id,
        target_id=record.target_service_id,
        proxy=ManagedProxy(
            exec_mode=modes.get(record.exec_mode, ""),
            command=record.command if stored.own_command else (),
            config=record.config or {},
            upstreams=tuple(_upstream(upstream) for upstream in record.upstreams),
        ),
        from_file=stored.from_file,
        remembered=Remembered(token=stored.proxy_token, port=record.proxy_service.port),
    )


def node_service(service: Service) -> NodeService:
    """A record as files and the catalog write it."""
    target = service.destination
    return NodeService(
        kind=service.kind or msgspec.UNSET,
        id=service.id,
        service=service.name,
        tags=service.tags or None,
        address=service.address,
        meta=dict(service.meta) or None,
        port=service.port,
        weights=weights(service.weights),
        enable_tag_override=service.enable_tag_override,
        proxy=Target()
        if target is None
        else Target(
            destination_service_name=target.service_name,
            destination_service_id=target.service_id or msgspec.UNSET,
            local_service_address=target.local_address or msgspec.UNSET,
            local_service_port=target.local_port or msgspec.UNSET,
            config=dict(target.config) or msgspec.UNSET,
            upstreams=tuple(map(_upstream_record, target.upstreams)) or msgspec.UNSET,
        ),
        connect=Connect(native=service.native or msgspec.UNSET),
    )


def _destination(stored: Target) -> Destination:
    return Destination(
        service_name=stored.destination_service_name or "",
        service_id=stored.destination_service_id or "",
        local_address=stored.local_service_address or "",
        local_port=stored.local_service_port or 0,
        config=stored.config or {},
        upstreams=tuple(_upstream(upstream) for upstream in stored.upstreams or ()),
    )


def weights(value: Weights) -> WeightsRecord:
    """Weights as files and answers write them."""
    return WeightsRecord(passing=value.passing, warning=value.warning)


def _upstream_record(upstream: Upstream) -> UpstreamRecord:
    return UpstreamRecord(
        destination_type=upstream.destination_type,
        destination_namespace=upstream.destination_namespace or msgspec.UNSET,
        destination_name=upstream.destination_name,
        datacenter=upstream.datacenter,
        local_bind_address=upstream.local_bind_address or msgspec.UNSET,
        local_bind_port=upstream.local_bind_port,
        config=dict(upstream.config) or None,
    )


def _upstream(record: UpstreamRecord) -> Upstream:
    config: Opaque = record.config or {}
    return Upstream(
        destination_type=record.destination_type,
        destination_namespace=record.destination_namespace or "",
        destination_name=record.destination_name,
        datacenter=record.datacenter,
        local_bind_address=record.local_bind_address or "",
        local_bind_port=record.local_bind_port,
        config=config,
    )
