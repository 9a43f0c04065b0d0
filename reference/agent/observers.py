"""Who acts on changes of the local state: the catalog shows them, the supervisor carries them out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from reference.agent.proxies import Managed
from reference.agent.services import Registration
from reference.catalog.model import Check, Node, Service
from reference.catalog.store import NODE_ALIVE, Catalog
from reference.config.model import ExecMode
from reference.supervisor.spec import ProxySpec

_log = logging.getLogger("agent/proxy")
_agent_log = logging.getLogger("agent")


#: The original's servers register themselves; clients look for them under this name.
SERVER = Service(id="consul", name="consul", port=8300)

#: How long a change of the agent's record from outside may last (s); the original takes up to a minute.
SYNC_DELAY = 5.0


class CatalogFeed:
    """Shows services and the records of their proxies in the catalog.

    ``results`` gives the checks of this agent, which show their results here. ``may_show`` decides what may be
    shown at all: a service whose token does not allow its registration runs, and nobody finds it.
    """

    def __init__(
        self,
        catalog: Catalog,
        node: Node,
        *,
        services: Callable[[], Iterable[Service]],
        results: Callable[[], Mapping[str, Check]],
        may_show: Callable[[Service], bool] = lambda service: True,
    ) -> None:
        self._catalog = catalog
        self._node = node
        self._services = services
        self._results = results
        self._may_show = may_show
        self._blocked: set[str] = set()
        catalog.put_service(SERVER)

    def sync(self) -> None:
        """Make the record of this node what this agent says, whatever others made of it (MP-CAT-011)."""
        catalog, node = self._catalog, self._node.name
        shown = (service for service in self._services() if self._shows(service))
        services = {service.id: service for service in (SERVER, *shown)}
        results = {
            key: check for key, check in self._results().items() if check.service_id not in self._blocked
        }
        checks = {NODE_ALIVE.id: NODE_ALIVE, **results}
        catalog.put_node(self._node)
        for found in catalog.checks_on(node):
            if found.check.value.id not in checks:
                catalog.remove_check(found.check.value.id)
        for known in catalog.services_on(node):
            if known.value.id not in services:
                catalog.remove_service(known.value.id)
        for service in services.values():
            catalog.put_service(service)
        for check in checks.values():
            catalog.put_check(check)

    def service_put(self, registration: Registration) -> None:
        """Show a service."""
        self._put(registration.service)

    def service_gone(self, service_id: str) -> None:
        """Show it no longer."""
        self._blocked.discard(service_id)
        self._catalog.remove_service(service_id)

    def proxy_put(self, managed: Managed) -> None:
        """Show the record of a proxy."""
        self._put(managed.service)

    def proxy_gone(self, managed: Managed) -> None:
        """Show it no longer."""
        self.service_gone(managed.service.id)

    def put_check(self, check: Check) -> None:
        """Show the result of a check, if its service is shown."""
        if check.service_id not in self._blocked:
            self._catalog.put_check(check)

    def remove_check(self, check_id: str) -> None:
        """Show it no longer."""
        self._catalog.remove_check(check_id)

    def _put(self, service: Service) -> None:
        was_blocked = service.id in self._blocked
        if self._shows(service):
            self._catalog.put_service(service)
            if was_blocked:
                # Their results came while nobody could be told.
                for check in self._results().values():
                    if check.service_id == service.id:
                        self._catalog.put_check(check)
        else:
            self._catalog.remove_service(service.id)

    def _shows(self, service: Service) -> bool:
        if self._may_show(service):
            self._blocked.discard(service.id)
            return True
        if service.id not in self._blocked:
            _agent_log.warning('Service "%s" registration blocked by ACLs', service.id)
            self._blocked.add(service.id)
        return False


class Processes(Protocol):
    """What is needed of the supervisor."""

    def define(self, spec: ProxySpec) -> None:
        """Have this proxy run."""

    def remove(self, proxy_id: str) -> None:
        """Have it stopped."""


class ProcessFeed:
    """Has a process run for each managed proxy of mode ``daemon``; ``script`` is accepted and not run (MP-CFG-008).

    ``launcher`` starts the agent's own program: the front of every command that nobody gave.
    """

    def __init__(
        self,
        processes: Processes,
        *,
        environment: tuple[tuple[str, str], ...],
        launcher: tuple[str, ...] = (),
    ) -> None:
        self._processes = processes
        self._launcher = launcher
        self._environment = environment
        self._running: set[str] = set()

    def service_put(self, registration: Registration) -> None:
        """Services have no process here."""

    def service_gone(self, service_id: str) -> None:
        """Services have no process here."""

    def proxy_put(self, managed: Managed) -> None:
        """Start the process, or replace it when its command changed (MP-LIFE-013)."""
        proxy_id = managed.service.id
        if managed.proxy.exec_mode != ExecMode.DAEMON:
            _log.error(
                'failed to initialize proxy for "%s": unsupported managed proxy type: "%s"; use "daemon"',
                proxy_id,
                managed.proxy.exec_mode,
            )
            self.proxy_gone(managed)
            return
        self._running.add(proxy_id)
        command, launcher = managed.proxy.command, self._launcher
        if managed.own_command or command[: len(launcher)] != launcher:
            launcher = ()
        self._processes.define(
            ProxySpec(
                proxy_id=proxy_id,
                token=managed.token,
                command=command[len(launcher) :],
                launcher=launcher,
                environment=self._environment,
            )
        )

    def proxy_gone(self, managed: Managed) -> None:
        """Stop the process."""
        if managed.service.id in self._running:
            self._running.remove(managed.service.id)
            self._processes.remove(managed.service.id)
