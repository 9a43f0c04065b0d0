"""Who acts on changes of the local state: the catalog shows them, the supervisor carries them out."""

from __future__ import annotations

import logging
from typing import Protocol

from reference.agent.proxies import Managed
from reference.agent.services import Registration
from reference.catalog.store import Catalog
from reference.config.model import ExecMode
from reference.supervisor.spec import ProxySpec

_log = logging.getLogger("agent/proxy")


class CatalogFeed:
    """Shows services and the records of their proxies in the catalog."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def service_put(self, registration: Registration) -> None:
        """Show a service."""
        self._catalog.put_service(registration.service)

    def service_gone(self, service_id: str) -> None:
        """Show it no longer."""
        self._catalog.remove_service(service_id)

    def proxy_put(self, managed: Managed) -> None:
        """Show the record of a proxy."""
        self._catalog.put_service(managed.service)

    def proxy_gone(self, managed: Managed) -> None:
        """Show it no longer."""
        self._catalog.remove_service(managed.service.id)


class Processes(Protocol):
    """What is needed of the supervisor."""

    def define(self, spec: ProxySpec) -> None:
        """Have this proxy run."""

    def remove(self, proxy_id: str) -> None:
        """Have it stopped."""


class ProcessFeed:
    """Has a process run for each managed proxy of mode ``daemon``; ``script`` is accepted and not run (MP-CFG-008)."""

    def __init__(self, processes: Processes, *, environment: tuple[tuple[str, str], ...]) -> None:
        self._processes = processes
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
        self._processes.define(
            ProxySpec(
                proxy_id=proxy_id,
                token=managed.token,
                command=managed.proxy.command,
                environment=self._environment,
            )
        )

    def proxy_gone(self, managed: Managed) -> None:
        """Stop the process."""
        if managed.service.id in self._running:
            self._running.remove(managed.service.id)
            self._processes.remove(managed.service.id)
