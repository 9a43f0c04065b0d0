"""``/v1/agent``: this agent as a whole."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping

import proxyproof
from reference.access.authorizer import Level, Resource
from reference.agent.reload import ReloadFailed
from reference.config.durations import format_duration
from reference.config.network import Address, UnixAddress
from reference.http.cluster import member
from reference.http.exchange import Answer, ApiError, Call
from reference.http.version import API_VERSION

#: Under which names the original shows that it has tokens, whether it has them or not.
_ACCESS_TOKENS = ("ACLAgentMasterToken", "ACLAgentToken", "ACLMasterToken", "ACLReplicationToken", "ACLToken")
_HIDDEN = "hidden"
#: What a key is called whose value is nobody's business, as in the original.
_SECRET = re.compile("key|token|secret|password", re.IGNORECASE)


async def self_(call: Call) -> Answer:
    """``GET /v1/agent/self``: who this is and how it is configured, without secrets."""
    call.require(Resource.AGENT, call.backend.node.name, Level.READ)
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
                **dict.fromkeys(_ACCESS_TOKENS, _HIDDEN),
                "ACLDatacenter": config.datacenter if config.access.enabled else "",
                "ACLDefaultPolicy": "allow" if config.access.allows_by_default else "deny",
                "ACLEnableTokenPersistence": config.access.keeps_tokens,
                "ACLsEnabled": config.access.enabled,
                "BindAddr": config.bind_addr,
                "ClientAddrs": list(config.client_addrs),
                "CheckDeregisterIntervalMin": format_duration(config.check_deregister_interval_min),
                "CheckReapInterval": format_duration(config.check_reap_interval),
                "CheckUpdateInterval": format_duration(config.check_update_interval),
                "ConnectEnabled": config.connect_enabled,
                "ConnectProxyAllowManagedAPIRegistration": config.allow_managed_api_registration,
                "ConnectProxyAllowManagedRoot": config.allow_managed_root,
                "ConnectProxyBindMaxPort": config.proxy_max_port,
                "ConnectProxyBindMinPort": config.proxy_min_port,
                "ConnectProxyDefaultConfig": _without_secrets(config.proxy_defaults.config),
                "ConnectProxyDefaultDaemonCommand": config.proxy_defaults.daemon_command,
                "ConnectProxyDefaultExecMode": config.proxy_defaults.exec_mode,
                "ConnectSidecarMaxPort": config.sidecar_max_port,
                "ConnectSidecarMinPort": config.sidecar_min_port,
                "DNSPort": config.dns_port,
                "DataDir": "" if config.data_dir is None else str(config.data_dir),
                "Datacenter": config.datacenter,
                "DevMode": config.dev_mode,
                "DiscardCheckOutput": config.discard_check_output,
                "EnableLocalScriptChecks": config.enable_local_script_checks,
                "EnableRemoteScriptChecks": config.enable_script_checks,
                "HTTPAddrs": [_shown(address) for address in config.http_addrs],
                "HTTPPort": config.http_port,
                "HTTPSAddrs": [_shown(address) for address in config.https_addrs],
                "HTTPSPort": config.https_port,
                "LogLevel": str(config.log_level),
                "NodeID": node.id,
                "NodeName": node.name,
                "ServerMode": True,
            },
            "Member": member(call, name=node.name),
            "Stats": {
                "agent": {
                    "checks": str(len(backend.checks.records())),
                    "services": str(len(backend.state.services())),
                },
                "build": {"revision": f"proxyproof-{proxyproof.__version__}", "version": API_VERSION},
                "consul": {
                    "acl": "enabled" if backend.access.enabled else "disabled",
                    "leader": "true",
                    "server": "true",
                },
                "runtime": {"os": sys.platform, "version": f"python{sys.version.split()[0]}"},
            },
            "Meta": node.meta or {},
        }
    )


async def reload(call: Call) -> Answer:
    """``PUT /v1/agent/reload``: read the configuration again; a broken one changes nothing (MP-LIFE-012)."""
    call.require(Resource.AGENT, call.backend.node.name, Level.WRITE)
    try:
        call.backend.reload()
    except ReloadFailed as error:
        raise ApiError(500, str(error)) from error
    return Answer()


def _shown(address: Address) -> str:
    return str(address) if isinstance(address, UnixAddress) else f"tcp://{address}"


def _without_secrets(value: object) -> object:
    """Configuration as it can be shown: what the name of a key gives away as a secret is hidden."""
    match value:
        case Mapping():
            return {
                key: _HIDDEN if _SECRET.search(str(key)) else _without_secrets(inner)
                for key, inner in value.items()
            }
        case list() | tuple():
            return [_without_secrets(inner) for inner in value]
    return value
