"""What proxies and those who ask about them are told."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

import reference.agent.agent as agent
import reference.agent.checks as checks
import reference.agent.proxies as proxies
import reference.http.agent_health as agent_health
import reference.http.connect as connect
from reference.agent.proxies import digest
from reference.catalog.model import Service
from reference.config.model import AgentConfig
from reference.mesh.leaf import LeafCache
from tests.faulty import fault


@fault("integration/blocking/05")
def forgets_upstreams_in_the_hash() -> None:
    """Gives the same content hash to definitions that differ in their upstreams alone."""
    connect._config_hash = lambda managed, target: digest(
        (managed.proxy.command, managed.proxy.config, target.port)
    )


@fault("integration/telemetry/01")
def names_metrics_after_the_service() -> None:
    """Tells the proxies of all instances of a service to send their metrics under one and the same prefix."""
    honest = connect._telemetry
    connect._telemetry = lambda own, target, options: honest(own, replace(target, id=target.name), options)


@fault("integration/telemetry/02")
def knows_better_where_metrics_go() -> None:
    """Gives proxies the agent's telemetry settings, whatever their own say."""
    honest = connect._telemetry
    connect._telemetry = lambda own, target, options: honest(None, target, options)


@fault("integration/leaf/02")
def issues_a_leaf_for_who_waits() -> None:
    """Issues a new leaf as soon as somebody waits for one."""

    async def renew(own: LeafCache, service: str, *, seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.2))
        own._leaves.pop(service, None)

    LeafCache.wait_for_newer = renew  # type: ignore[method-assign]


@fault("environment/verify/01")
def never_asks_to_verify() -> None:
    """Tells its proxies not to verify whom they take for the agent, whatever it was told itself."""
    honest = agent.proxy_environment

    def careless(config: AgentConfig, own: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
        return tuple({**dict(honest(config, own)), "CONSUL_HTTP_SSL_VERIFY": "false"}.items())

    agent.proxy_environment = careless


def _record(**changes: Any) -> None:
    honest = proxies.proxy_service

    def changed(target: Service, *arguments: Any, **rest: Any) -> Service:
        record = honest(target, *arguments, **rest)
        return replace(record, **{name: change(target, record) for name, change in changes.items()})

    proxies.proxy_service = changed


@fault("discovery/agent/05")
def copies_the_tags() -> None:
    """Gives the proxy service the tags of its service."""
    _record(tags=lambda target, record: target.tags)


@fault("discovery/catalog/02")
def keeps_upstreams_to_itself() -> None:
    """Shows the upstreams of a managed proxy to nobody but the proxy."""
    _record(destination=lambda target, record: replace(record.destination, upstreams=()))


@fault("access/registration/02", "discovery/agent/02")
def names_proxies_after_ids() -> None:
    """Names the proxy service after the id of the instance rather than the service."""
    _record(name=lambda target, record: f"{target.id}-proxy")


@fault("discovery/health/04")
def looks_where_the_proxy_binds() -> None:
    """Checks the address that the proxy binds, whatever tcp_check_address says."""
    honest = checks.check_target

    def bound(config: Mapping[str, Any]) -> tuple[str, int] | None:
        return honest({key: value for key, value in config.items() if key != "tcp_check_address"})

    checks.check_target = bound


@fault("discovery/health/05")
def calls_critical_a_warning() -> None:
    """Answers for a critical service with the status of a warning."""
    agent_health._HTTP_STATUS["critical"] = agent_health._HTTP_STATUS["warning"]
