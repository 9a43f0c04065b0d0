"""``/v1/agent``: this agent, its services, its checks, and changes to them."""

from __future__ import annotations

import sys
from dataclasses import replace

from msgspec import UNSET

import proxyproof
from reference.agent import proxies
from reference.agent.ports import PortsExhausted
from reference.agent.proxies import ProxyError, digest
from reference.agent.services import KeeperError, NotAllowed
from reference.catalog.model import NODE_META, worst
from reference.config.definition import definition_from_api
from reference.config.errors import ConfigError
from reference.http import wire
from reference.http.backend import ReloadFailed
from reference.http.connect import service_view_of_proxy, until_changed
from reference.http.exchange import Answer, ApiError, Call

#: The version of the API that is spoken here.
API_VERSION = "1.4.3"

#: How checks of one service are shown on the health endpoint: with every option of a check, all at rest.
_CHECK_DEFINITION = {
    "Interval": "0s",
    "Timeout": "0s",
    "DeregisterCriticalServiceAfter": "0s",
    "HTTP": "",
    "Header": None,
    "Method": "",
    "TLSSkipVerify": False,
    "TCP": "",
}
_HTTP_STATUS = {"passing": 200, "warning": 429, "critical": 503}


async def self_(call: Call) -> Answer:
    """``GET /v1/agent/self``: who this is and how it is configured, without secrets."""
    backend = call.backend
    config, node = backend.config, backend.node
    return Answer(
        body={
            "Config": {
                "Datacenter": config.datacenter,
                "NodeName": node.name,
                "NodeID": node.id,
                "Revision": f"proxyproof-{proxyproof.__version__}",
                "Server": True,
                "Version": API_VERSION,
            },
            "DebugConfig": {
                "BindAddr": config.bind_addr,
                "ClientAddrs": [config.client_addr],
                "ConnectEnabled": config.connect_enabled,
                "ConnectProxyAllowManagedAPIRegistration": config.allow_managed_api_registration,
                "ConnectProxyAllowManagedRoot": config.allow_managed_root,
                "ConnectProxyBindMaxPort": config.proxy_max_port,
                "ConnectProxyBindMinPort": config.proxy_min_port,
                "ConnectProxyDefaultConfig": config.proxy_defaults.config,
                "ConnectProxyDefaultDaemonCommand": config.proxy_defaults.daemon_command,
                "ConnectProxyDefaultExecMode": config.proxy_defaults.exec_mode,
                "DNSPort": config.dns_port,
                "DataDir": "" if config.data_dir is None else str(config.data_dir),
                "Datacenter": config.datacenter,
                "DevMode": config.dev_mode,
                "HTTPPort": config.http_port,
                "LogLevel": str(config.log_level),
                "NodeID": node.id,
                "NodeName": node.name,
                "ServerMode": True,
            },
            "Member": _member(call),
            "Stats": {
                "agent": {
                    "checks": str(len(backend.checks.records())),
                    "services": str(len(backend.state.services())),
                },
                "build": {"revision": f"proxyproof-{proxyproof.__version__}", "version": API_VERSION},
                "consul": {"acl": "disabled", "leader": "true", "server": "true"},
                "runtime": {"os": sys.platform, "version": f"python{sys.version.split()[0]}"},
            },
            "Meta": NODE_META,
        }
    )


async def members(call: Call) -> Answer:
    """``GET /v1/agent/members``: this agent is the only one."""
    return Answer(body=[_member(call)])


async def services(call: Call) -> Answer:
    """``GET /v1/agent/services`` (MP-CAT-001, MP-CAT-004)."""
    state = call.backend.state
    return Answer(body={service.id: _agent_service(call, service.id) for service in state.services()})


async def service(call: Call) -> Answer:
    """``GET /v1/agent/service/:id``, hash-blocking (MP-INT-011, MP-INT-013)."""
    service_id = call.path("id")
    state = call.backend.state
    if state.proxy(service_id) is not None:
        return await service_view_of_proxy(call, service_id)

    def read() -> tuple[wire.AgentService, str]:
        record = state.service(service_id)
        if record is None:
            raise ApiError(404, f"unknown proxy service ID: {service_id}")
        view = wire.agent_service(record, None)
        view.proxy_destination = UNSET
        view.tags, view.meta = record.tags or None, record.meta or None
        view.content_hash = digest(view)
        return view, view.content_hash

    view, content_hash = await until_changed(call, service_id, read)
    return Answer(body=view, headers={"X-Consul-ContentHash": content_hash})


async def checks(call: Call) -> Answer:
    """``GET /v1/agent/checks`` (MP-CAT-006)."""
    records = call.backend.checks.records()
    return Answer(body={key: wire.check(value, call.backend.node.name) for key, value in records.items()})


async def service_health(call: Call) -> Answer:
    """``GET /v1/agent/health/service/id/:id``: the status code tells the state (MP-CAT-012)."""
    service_id = call.path("id")
    if not service_id:
        raise ApiError(400, "Bad request: Missing serviceID")
    as_text = call.query.get("format") == "text" or call.request.headers.get("accept") == "text/plain"
    if call.backend.state.service(service_id) is None:
        reason = f"ServiceId {service_id} not found"
        gone = wire.ServiceHealth(aggregated_status="critical", service=None, checks=None)
        return _health_answer(gone, reason=reason, status=404, as_text=as_text)
    checks = call.backend.checks.of_service(service_id)
    status = worst({check.status for check in checks})
    views = [wire.check(check, call.backend.node.name) for check in checks]
    for view in views:
        view.service_tags, view.definition = view.service_tags or None, _CHECK_DEFINITION
    known = wire.ServiceHealth(
        aggregated_status=status, service=_agent_service(call, service_id), checks=views
    )
    return _health_answer(known, reason=status, status=_HTTP_STATUS[status], as_text=as_text)


async def register(call: Call) -> Answer:
    """``PUT /v1/agent/service/register`` (section API). Refused input changes nothing."""
    try:
        body = await call.json()
    except ValueError as error:
        raise ApiError(400, f"Request decode failed: {error}") from error
    if not isinstance(body, dict):
        raise ApiError(400, "Request decode failed: '' expected a map")
    try:
        definition = definition_from_api(body)
    except ConfigError as error:
        raise ApiError(400, error.problem) from error
    if definition.proxy is not None and not call.backend.config.allow_managed_api_registration:
        raise ApiError(400, "Bad request: Managed proxy registration via the API is disallowed.")
    try:
        call.backend.state.register(replace(definition, token=call.token), from_file=False)
    except NotAllowed as error:
        raise ApiError(400, f"Bad request: {error}") from error
    except (ProxyError, PortsExhausted, KeeperError) as error:
        raise ApiError(500, str(error)) from error
    return Answer()


async def deregister(call: Call) -> Answer:
    """``PUT /v1/agent/service/deregister/:id``; an unknown id is no error (MP-API-004, MP-API-005)."""
    service_id = call.path("id")
    if not service_id:
        raise ApiError(400, "Bad request: ServiceID missing")
    try:
        call.backend.state.deregister(service_id)
    except NotAllowed as error:
        raise ApiError(400, f"Bad request: {error}") from error
    except KeeperError as error:
        raise ApiError(500, str(error)) from error
    return Answer()


async def reload(call: Call) -> Answer:
    """``PUT /v1/agent/reload``: read the configuration again; a broken one changes nothing (MP-LIFE-012)."""
    try:
        call.backend.reload()
    except ReloadFailed as error:
        raise ApiError(500, str(error)) from error
    return Answer()


async def leave(call: Call) -> Answer:
    """``PUT /v1/agent/leave``: the agent ends, its proxies stay where they can be adopted (MP-LIFE-007)."""
    call.backend.leave()
    return Answer()


def _agent_service(call: Call, service_id: str) -> wire.AgentService:
    state = call.backend.state
    record = state.service(service_id)
    if record is None:
        raise ApiError(404, f"unknown service ID: {service_id}")
    return wire.agent_service(record, state.proxy(proxies.proxy_id(service_id)))


def _health_answer(body: wire.ServiceHealth, *, reason: str, status: int, as_text: bool) -> Answer:
    headers = {"X-Consul-Reason": reason}
    if as_text:
        return Answer(text=reason, status=status, headers=headers)
    return Answer(body=body, status=status, headers=headers)


def _member(call: Call) -> dict[str, object]:
    node = call.backend.node
    return {
        "Name": node.name,
        "Addr": node.address,
        "Port": 8301,
        "Tags": {
            "acls": "0",
            "build": f"{API_VERSION}:proxyproof",
            "dc": node.datacenter,
            "id": node.id,
            "port": "8300",
            "role": "consul",
            "segment": "",
        },
        "Status": 1,
        "ProtocolMin": 1,
        "ProtocolMax": 5,
        "ProtocolCur": 2,
        "DelegateMin": 2,
        "DelegateMax": 5,
        "DelegateCur": 4,
    }
