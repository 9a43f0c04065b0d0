"""``/v1/agent/connect``: what proxies live on. Configuration, leaves, authorization (section INT)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TypeVar

import msgspec

from reference.access.authorizer import Level, Resource
from reference.access.register import UnknownToken
from reference.access.tokens import PermissionDenied, same_token
from reference.agent.proxies import Managed, digest
from reference.agent.records import WeightsRecord
from reference.catalog.model import Service
from reference.config.model import Telemetry
from reference.http import wire
from reference.http.authority import cached, mesh
from reference.http.exchange import Answer, ApiError, Call
from reference.http.reading import checked_options
from reference.mesh.authorize import AuthorizeInputError, authorize
from reference.mesh.mesh import LeafNameError

T = TypeVar("T")

#: The options that the agent's own telemetry has; a proxy's block with others is its own affair (MP-INT-010).
_TELEMETRY_KEYS = frozenset(
    {
        "allowed_prefixes",
        "blocked_prefixes",
        "circonus_api_app",
        "circonus_api_token",
        "circonus_api_url",
        "circonus_broker_id",
        "circonus_broker_select_tag",
        "circonus_check_display_name",
        "circonus_check_force_metric_activation",
        "circonus_check_id",
        "circonus_check_instance_id",
        "circonus_check_search_tag",
        "circonus_check_tags",
        "circonus_submission_interval",
        "circonus_submission_url",
        "disable_hostname",
        "dogstatsd_addr",
        "dogstatsd_tags",
        "filter_default",
        "metrics_prefix",
        "prometheus_retention_time",
        "statsd_address",
        "statsite_address",
    }
)


class _AuthorizeRequest(msgspec.Struct, rename="lower", kw_only=True):
    target: str = ""
    client_cert_uri: str = msgspec.field(name="clientcerturi", default="")
    client_cert_serial: str = msgspec.field(name="clientcertserial", default="")


async def proxy_config(call: Call) -> Answer:
    """``GET /v1/agent/connect/proxy/:id``, hash-blocking (MP-INT-001 to MP-INT-010)."""
    proxy_id = call.path("id")
    config, content_hash = await until_changed(call, proxy_id, lambda: _config_view(call, proxy_id))
    return Answer(body=config, headers={"X-Consul-ContentHash": content_hash})


async def service_view_of_proxy(call: Call, proxy_id: str) -> Answer:
    """The same in the form of a service (MP-INT-011, MP-INT-012)."""
    config, content_hash = await until_changed(call, proxy_id, lambda: _config_view(call, proxy_id))
    managed = call.backend.state.proxy(proxy_id)
    address = str(config.config["local_service_address"])
    host, _, port = address.rpartition(":")
    if not port.isdecimal():
        # As in the catalog: where the address names no port it is the service's.
        destination = None if managed is None else managed.service.destination
        host, port = address, str(0 if destination is None else destination.local_port)
    view = wire.AgentService(
        kind="connect-proxy",
        id=config.proxy_service_id,
        service=managed.service.name if managed is not None else config.target_service_name + "-proxy",
        tags=None,
        meta=None,
        port=config.config["bind_port"],
        address=config.config["bind_address"],
        weights=WeightsRecord(passing=0, warning=0),
        content_hash=content_hash,
        proxy=wire.DestinationView(
            destination_service_name=config.target_service_name,
            destination_service_id=config.target_service_id,
            local_service_address=host.strip("[]"),
            local_service_port=int(port),
            config=config.config,
            upstreams=config.upstreams,
        ),
    )
    return Answer(body=view, headers={"X-Consul-ContentHash": content_hash})


async def leaf(call: Call) -> Answer:
    """``GET /v1/agent/connect/ca/leaf/:service``, blocking (MP-INT-014, MP-INT-015, MP-TOK-004, MP-TOK-005)."""
    service = call.path("service")
    checked_options(call)
    grant = call.backend.state.grant(call.token)
    if grant is None:
        call.require(Resource.SERVICE, service, Level.WRITE)
    elif grant.service != service:
        raise PermissionDenied
    leaves = mesh(call).leaves
    hit = True

    def read() -> tuple[int, wire.LeafView]:
        nonlocal hit
        value, hit = leaves.current(service)
        return value.index, wire.leaf(value)

    try:
        index, view = await call.newer(
            read, sleep=lambda seconds: leaves.wait_for_newer(service, seconds=seconds)
        )
    except LeafNameError as error:
        raise ApiError(400, str(error)) from error
    return Answer(body=view, headers={"X-Consul-Index": str(index), **cached(hit=hit)})


async def authorize_peer(call: Call) -> Answer:
    """``POST /v1/agent/connect/authorize`` (MP-INT-017 to MP-INT-023)."""
    try:
        body = await call.json()
        if not isinstance(body, dict):
            raise ValueError("'' expected a map")
        # Keys in any case, as the original reads them.
        asked = msgspec.convert({key.lower(): value for key, value in body.items()}, _AuthorizeRequest)
    except ValueError as error:
        raise ApiError(400, f"Bad request: Request decode failed: {error}") from error
    try:
        decision = authorize(
            target=asked.target,
            client_uri=asked.client_cert_uri,
            intentions=call.backend.intentions.known,
            access=call.backend.access,
        )
    except AuthorizeInputError as error:
        raise ApiError(400, f"Bad request: {error}") from error
    _check_speaks_for(call, asked.target)
    view = wire.Authorization(authorized=decision.authorized, reason=decision.reason)
    return Answer(body=view, headers=cached(hit=True))


def _check_speaks_for(call: Call, service: str) -> None:
    """Whoever asks who may talk to a service has to be allowed to register it (MP-INT-019)."""
    if not call.backend.access.enabled:
        return
    grant = call.backend.state.grant(call.token)
    if grant is None:
        call.require(Resource.SERVICE, service, Level.WRITE)
        call.require(Resource.INTENTION, service, Level.READ)
    elif grant.service != service:
        raise PermissionDenied


async def until_changed(call: Call, record_id: str, read: Callable[[], tuple[T, str]]) -> tuple[T, str]:
    """What ``read`` gives, with its hash; with ``?hash=`` of the same value wait for another (MP-INT-004)."""
    wait, known = call.wait(), call.query.get("hash", "")
    deadline = time.monotonic() + wait
    while True:
        value, content_hash = read()
        remaining = deadline - time.monotonic()
        if content_hash != known or remaining <= 0 or call.backend.watch.closed:
            return value, content_hash
        await call.backend.state.wait_for_change(record_id, seconds=remaining)


def _config_view(call: Call, proxy_id: str) -> tuple[wire.ProxyConfig, str]:
    state = call.backend.state
    managed = state.proxy(proxy_id)
    if managed is None:
        raise ApiError(404, f"unknown proxy service ID: {proxy_id}")
    target = state.target_of(managed)
    config = state.effective_config(managed)
    own = same_token(call.token, managed.token)
    if not own and call.backend.access.enabled:
        # Whoever may register the service may see the configuration; another proxy's token is none here.
        if state.grant(call.token) is not None:
            raise UnknownToken
        call.require(Resource.SERVICE, target.name, Level.WRITE)
    if own:
        config["telemetry"] = _telemetry(config.get("telemetry"), target, call.backend.config.telemetry)
    content_hash = _config_hash(managed, target)
    view = wire.ProxyConfig(
        proxy_service_id=proxy_id,
        target_service_id=target.id,
        target_service_name=target.name,
        content_hash=content_hash,
        exec_mode=managed.proxy.exec_mode,
        command=managed.proxy.command,
        config=config,
        upstreams=[wire.upstream(value) for value in managed.proxy.upstreams],
    )
    return view, content_hash


def _config_hash(managed: Managed, target: Service) -> str:
    return digest((managed.proxy, managed.target_id, target.name, target.port))


def _telemetry(own: object, target: Service, options: Telemetry) -> object:
    """The agent's telemetry for this proxy under the proxy's own, if that is such a block (MP-INT-009/010)."""
    prefix = f"{options.metrics_prefix}.proxy.{target.id}"
    agents = {**options.for_proxies, "metrics_prefix": prefix}
    if own is None:
        return agents
    if isinstance(own, Mapping) and own.keys() <= _TELEMETRY_KEYS:
        return agents | {key: value for key, value in own.items() if value}
    return own
