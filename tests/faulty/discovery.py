"""What others learn of proxies: agent, catalog, health, DNS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from reference.agent import checks, proxies
from reference.agent.proxies import Managed
from reference.catalog.model import Service, Status
from reference.dns.zone import Zone
from reference.http import agent_services, wire
from reference.http.exchange import Answer, ApiError, Call
from reference.supervisor.kernel import Launch
from reference.supervisor.linux import Linux
from tests.faulty import fault


@fault("discovery/agent/02")
def names_proxies_by_id() -> None:
    """Names the proxy of a service after the id of the service, not after its name."""
    honest = proxies.proxy_service

    def by_id(target: Service, *arguments: Any, **rest: Any) -> Service:
        made = honest(target, *arguments, **rest)
        return replace(made, name=made.id)

    proxies.proxy_service = by_id


@fault("discovery/agent/03")
def shows_no_upstreams() -> None:
    """Shows managed proxies in the list of services without their upstreams."""
    honest = wire.agent_service

    def without(service: Service, managed: Managed | None) -> wire.AgentService:
        bare = managed and replace(managed, proxy=replace(managed.proxy, upstreams=()))
        return honest(service, bare)

    wire.agent_service = without


@fault("discovery/agent/04")
def knows_every_id() -> None:
    """Answers who asks for a service that there is not with an empty one."""
    honest = agent_services.service

    async def always(call: Call) -> Answer:
        try:
            return await honest(call)
        except ApiError:
            return Answer(body={})

    agent_services.service = always


@fault("discovery/catalog/01")
def lists_the_applications_port() -> None:
    """Lists proxies in the catalog with the port of the application."""
    honest = wire.catalog_entry

    def in_catalog(instance: Any) -> wire.CatalogEntry:
        found = honest(instance)
        target = instance.service.value.destination
        return msgspec.structs.replace(found, service_port=target.local_port) if target else found

    wire.catalog_entry = in_catalog


@fault("discovery/dns/01")
def answers_with_the_applications_port() -> None:
    """Answers DNS questions for the proxy of a service with the port of its application."""
    honest = Zone._locations

    def locations(self: Zone, name: Any, instances: Any, *arguments: Any, **rest: Any) -> Any:
        return honest(self, name, [_of_application(each) for each in instances], *arguments, **rest)

    Zone._locations = locations  # type: ignore[method-assign]


@fault("discovery/dns/01")
def remembers_its_answers() -> None:
    """Answers DNS questions for proxies with what it found first, for ever."""
    honest = Zone.answer
    found: dict[tuple[Any, ...], Any] = {}

    def answer(self: Zone, name: Any, kind: Any, **rest: Any) -> Any:
        reply = honest(self, name, kind, **rest)
        return found.setdefault((name, kind), reply) if reply.answers else found.get((name, kind), reply)

    Zone.answer = answer  # type: ignore[method-assign]


def _of_application(instance: Any) -> Any:
    service = instance.service.value
    if service.destination is None:
        return instance
    moved = replace(service, port=service.destination.local_port)
    return replace(instance, service=replace(instance.service, value=moved))


@fault("discovery/health/01", "discovery/health/02", "discovery/health/05", "discovery/health/06")
def trusts_its_proxies() -> None:
    """Takes each managed proxy for healthy, starts its default ones in its own time, and looks at none."""
    honest, launch = checks.HealthChecks._start, Linux.launch

    def start(self: checks.HealthChecks, run: Any) -> None:
        if run.target is not None:
            healthy = replace(run.check, status=Status.PASSING)
            run.check = run.shown = healthy
            run.look = None
        honest(self, run)

    def at_leisure(self: Linux, order: Launch) -> Any:
        # Or a proxy may listen before anybody can ask whether it is said to.
        if "connect" in order.arguments:
            later = ("/bin/sh", "-c", 'sleep 3; exec "$@"', "sh", *order.arguments)
            order = replace(order, arguments=later, executable="/bin/sh")
        return launch(self, order)

    checks.HealthChecks._start = start  # type: ignore[method-assign]
    Linux.launch = at_leisure  # type: ignore[method-assign]


@fault("discovery/health/03", "discovery/health/05")
def always_looks() -> None:
    """Looks whether a proxy listens also where ``disable_tcp_check`` says not to."""
    honest = checks.check_target

    def target(config: Mapping[str, Any]) -> tuple[str, int] | None:
        return honest({**config, "disable_tcp_check": False})

    checks.check_target = target


@fault("discovery/health/06")
def believes_in_good_health() -> None:
    """Takes a managed proxy for healthy for ever that was healthy once."""
    honest = checks.HealthChecks._result

    def result(self: checks.HealthChecks, run: Any, status: Status, output: str) -> None:
        if run.target is None or run.check.status is not Status.PASSING:
            honest(self, run, status, output)

    checks.HealthChecks._result = result  # type: ignore[method-assign]
