"""The bodies of the API, with the original's field names, order and empty values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from msgspec import UNSET, Raw, UnsetType

from reference.agent.proxies import Managed
from reference.agent.records import NodeService, Record, WeightsRecord, node_service, weights
from reference.catalog.model import Check, CheckPlan, Indexed, Node, Service
from reference.catalog.store import Instance, NodeCheck
from reference.config.durations import format_duration
from reference.config.model import Upstream

if TYPE_CHECKING:
    from reference.mesh.authority import Root
    from reference.mesh.leaf import Leaf

#: An answer that is there and says "nothing".
Null = Raw
NULL = Raw(b"null")


class UpstreamView(Record, kw_only=True):
    destination_type: str | UnsetType = UNSET
    destination_namespace: str | UnsetType = UNSET
    destination_name: str
    datacenter: str | UnsetType = UNSET
    local_bind_address: str | UnsetType = UNSET
    local_bind_port: int | UnsetType = UNSET
    config: Mapping[str, Any] | UnsetType = UNSET


class ManagedView(Record, kw_only=True):
    exec_mode: str
    command: Sequence[str]
    config: Mapping[str, Any] | UnsetType = UNSET
    upstreams: Sequence[UpstreamView] | UnsetType = UNSET


class ConnectView(Record, kw_only=True):
    native: bool | UnsetType = UNSET
    proxy: ManagedView | UnsetType = UNSET


class DestinationView(Record, kw_only=True):
    destination_service_name: str
    destination_service_id: str | UnsetType = UNSET
    local_service_address: str | UnsetType = UNSET
    local_service_port: int | UnsetType = UNSET
    config: Mapping[str, Any] | UnsetType = UNSET
    upstreams: Sequence[UpstreamView] = ()


class AgentService(Record, kw_only=True):
    kind: str | UnsetType = UNSET
    id: str
    service: str
    tags: Sequence[str] | None
    meta: Mapping[str, str] | None
    port: int
    address: str
    weights: WeightsRecord
    enable_tag_override: bool = False
    content_hash: str | UnsetType = UNSET
    proxy_destination: str | UnsetType = UNSET
    proxy: DestinationView | UnsetType = UNSET
    connect: ConnectView | UnsetType = UNSET


class ProxyConfig(Record, kw_only=True):
    proxy_service_id: str
    target_service_id: str
    target_service_name: str
    content_hash: str
    exec_mode: str
    command: Sequence[str]
    config: Mapping[str, Any]
    upstreams: Sequence[UpstreamView]


class CheckView(Record, kw_only=True):
    node: str
    check_id: str
    name: str
    status: str
    notes: str
    output: str
    service_id: str
    service_name: str
    service_tags: Sequence[str] | None
    definition: Mapping[str, Any]
    create_index: int = 0
    modify_index: int = 0


class ServiceHealth(Record, kw_only=True):
    aggregated_status: str
    service: AgentService | None
    checks: Sequence[CheckView] | None


class NodeView(Record, kw_only=True):
    id: str
    node: str
    address: str
    datacenter: str
    tagged_addresses: Mapping[str, str] | None
    meta: Mapping[str, str] | None
    create_index: int
    modify_index: int


class NodeServices(Record, kw_only=True):
    node: NodeView
    services: Mapping[str, NodeService]


class HealthEntry(Record, kw_only=True):
    node: NodeView
    service: NodeService
    checks: Sequence[CheckView]


class CatalogEntry(Record, kw_only=True):
    id: str
    node: str
    address: str
    datacenter: str
    tagged_addresses: Mapping[str, str] | None
    node_meta: Mapping[str, str] | None
    service_kind: str
    service_id: str
    service_name: str
    service_tags: Sequence[str]
    service_address: str
    service_weights: WeightsRecord
    service_meta: Mapping[str, str]
    service_port: int
    service_enable_tag_override: bool
    service_proxy_destination: str
    service_proxy: object
    service_connect: object
    create_index: int
    modify_index: int


class RootView(Record, kw_only=True):
    id: str
    name: str
    serial_number: int
    signing_key_id: str
    external_trust_domain: str
    not_before: datetime
    not_after: datetime
    root_cert: str
    intermediate_certs: Sequence[str] | None
    active: bool
    create_index: int
    modify_index: int


class Roots(Record, kw_only=True):
    active_root_id: str
    trust_domain: str
    roots: Sequence[RootView]


class AuthorityConfigView(Record, kw_only=True):
    provider: str
    config: Mapping[str, Any] | None
    create_index: int
    modify_index: int


class LeafView(Record, kw_only=True):
    serial_number: str
    cert_pem: str
    private_key_pem: str
    service: str
    service_uri: str
    valid_after: datetime
    valid_before: datetime
    create_index: int
    modify_index: int


class Authorization(Record, kw_only=True):
    authorized: bool
    reason: str


def upstream(value: Upstream) -> UpstreamView:
    """An upstream of a proxy; what is empty is left out."""
    return UpstreamView(
        destination_type=value.destination_type or UNSET,
        destination_namespace=value.destination_namespace or UNSET,
        destination_name=value.destination_name,
        datacenter=value.datacenter or UNSET,
        local_bind_address=value.local_bind_address or UNSET,
        local_bind_port=value.local_bind_port or UNSET,
        config=value.config or UNSET,
    )


def agent_service(service: Service, managed: Managed | None) -> AgentService:
    """A service as the agent lists it; ``managed`` is its managed proxy, never the token (MP-CAT-004)."""
    target = service.destination
    connect: ConnectView | UnsetType = UNSET
    if managed is not None:
        connect = ConnectView(
            proxy=ManagedView(
                exec_mode=managed.proxy.exec_mode,
                command=managed.proxy.command,
                config=managed.proxy.config or UNSET,
                upstreams=[upstream(value) for value in managed.proxy.upstreams] or UNSET,
            )
        )
    elif service.native:
        connect = ConnectView(native=True)
    return AgentService(
        kind=service.kind or UNSET,
        id=service.id,
        service=service.name,
        tags=service.tags,
        meta=service.meta,
        port=service.port,
        address=service.address,
        weights=weights(service.weights),
        enable_tag_override=service.enable_tag_override,
        proxy_destination=UNSET if target is None else target.service_name,
        proxy=UNSET
        if target is None
        else DestinationView(
            destination_service_name=target.service_name,
            destination_service_id=target.service_id or UNSET,
            local_service_address=target.local_address or UNSET,
            local_service_port=target.local_port or UNSET,
            config=target.config or UNSET,
            upstreams=[upstream(value) for value in target.upstreams],
        ),
        connect=connect,
    )


def check(value: Check, node: str, *, created: int = 0, modified: int = 0) -> CheckView:
    """A check as lists show it."""
    return CheckView(
        node=node,
        check_id=value.id,
        name=value.name,
        status=value.status,
        notes=value.notes,
        output=value.output,
        service_id=value.service_id,
        service_name=value.service_name,
        service_tags=value.service_tags,
        definition=_plan(value.plan),
        create_index=created,
        modify_index=modified,
    )


def node(value: Indexed[Node]) -> NodeView:
    """A node of the catalog."""
    return NodeView(
        id=value.value.id,
        node=value.value.name,
        address=value.value.address,
        datacenter=value.value.datacenter,
        tagged_addresses=value.value.tagged_addresses,
        meta=value.value.meta,
        create_index=value.created,
        modify_index=value.modified,
    )


def node_check(found: NodeCheck) -> CheckView:
    """A check of the catalog, with its node."""
    check_ = found.check
    return check(check_.value, found.node.name, created=check_.created, modified=check_.modified)


def node_services(node_: Indexed[Node], services: Sequence[Indexed[Service]]) -> NodeServices:
    """A node with what runs on it."""
    return NodeServices(node=node(node_), services={each.value.id: _indexed(each) for each in services})


def _indexed(found: Indexed[Service]) -> NodeService:
    service = node_service(found.value)
    service.tags = service.tags or ()
    service.create_index, service.modify_index = found.created, found.modified
    return service


def _plan(plan: CheckPlan) -> Mapping[str, Any]:
    """What is said of how a check is done; the rest is left out."""
    spans = {
        "Interval": plan.interval,
        "Timeout": plan.timeout,
        "DeregisterCriticalServiceAfter": plan.deregister_after,
    }
    others = {
        "HTTP": plan.http,
        "TLSSkipVerify": plan.tls_skip_verify,
        "Header": plan.header,
        "Method": plan.method,
        "TCP": plan.tcp,
    }
    said = {key: format_duration(span) for key, span in spans.items() if span}
    return said | {key: value for key, value in others.items() if value}


def health_entry(instance: Instance) -> HealthEntry:
    """An instance as ``/v1/health`` shows it."""
    name = instance.node.value.name
    return HealthEntry(
        node=node(instance.node),
        service=_indexed(instance.service),
        checks=[check(c.value, name, created=c.created, modified=c.modified) for c in instance.checks],
    )


def catalog_entry(instance: Instance) -> CatalogEntry:
    """An instance as ``/v1/catalog`` shows it."""
    where, service = instance.node.value, instance.service.value
    record = node_service(service)
    return CatalogEntry(
        id=where.id,
        node=where.name,
        address=where.address,
        datacenter=where.datacenter,
        tagged_addresses=where.tagged_addresses,
        node_meta=where.meta,
        service_kind=service.kind,
        service_id=service.id,
        service_name=service.name,
        service_tags=service.tags,
        service_address=service.address,
        service_weights=record.weights,
        service_meta=service.meta,
        service_port=service.port,
        service_enable_tag_override=service.enable_tag_override,
        service_proxy_destination="" if service.destination is None else service.destination.service_name,
        service_proxy=record.proxy,
        service_connect=record.connect,
        create_index=instance.service.created,
        modify_index=instance.service.modified,
    )


def roots(known: Sequence[Root], trust_domain: str) -> Roots:
    """The roots of the mesh; never a private key (MP-INT-016)."""
    return Roots(
        active_root_id=next(root.id for root in known if root.active),
        trust_domain=trust_domain,
        roots=[
            RootView(
                id=root.id,
                name=root.name,
                serial_number=root.serial,
                signing_key_id=root.signing_key_id,
                external_trust_domain=root.external_trust_domain,
                not_before=root.not_before,
                not_after=root.not_after,
                root_cert=root.certificate,
                intermediate_certs=root.intermediates or None,
                active=root.active,
                create_index=root.created,
                modify_index=root.modified,
            )
            for root in known
        ],
    )


def leaf(value: Leaf) -> LeafView:
    """A leaf with its key, for its owner (MP-INT-014)."""
    return LeafView(
        serial_number=value.serial,
        cert_pem=value.certificate,
        private_key_pem=value.private_key,
        service=value.service,
        service_uri=value.uri,
        valid_after=value.valid_after,
        valid_before=value.valid_before,
        create_index=value.created,
        modify_index=value.index,
    )
