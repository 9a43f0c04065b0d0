"""What the tests of the local state share: definitions, a state on its own, and an observer that takes notes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reference.agent.proxies import Managed
from reference.agent.services import LocalState, ProxySettings, Registration, Remembered
from reference.catalog.watch import Watch
from reference.config.model import ManagedProxy, ProxyDefaults, ServiceDefinition

BUILTIN = ("/usr/bin/program", "connect", "proxy")


def service(name: str = "web", /, *, proxy: ManagedProxy | None = None, **rest: Any) -> ServiceDefinition:
    return ServiceDefinition(**{"id": name, "name": name, "port": 80, "proxy": proxy, **rest})


def proxied(name: str = "web", /, **proxy: Any) -> ServiceDefinition:
    return service(name, proxy=ManagedProxy(**proxy))


def settings(**changes: Any) -> ProxySettings:
    given: dict[str, Any] = {
        "bind_addr": "127.0.0.1",
        "min_port": 20000,
        "max_port": 20255,
        "defaults": ProxyDefaults(),
        "command": BUILTIN,
    }
    return ProxySettings(**(given | changes))


def state(*, remembered: Mapping[str, Remembered] | None = None, **changes: Any) -> LocalState:
    return LocalState(
        settings(**changes), watch=Watch(), remembered=remembered, is_free=lambda address, port: True
    )


def managed(local: LocalState, proxy_id: str = "web-proxy") -> Managed:
    found = local.proxy(proxy_id)
    assert found is not None
    return found


class Notes:
    """An observer that writes down what it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []

    def service_put(self, registration: Registration) -> None:
        self.heard.append(("service put", registration.service.id))

    def service_gone(self, service_id: str) -> None:
        self.heard.append(("service gone", service_id))

    def proxy_put(self, managed: Managed) -> None:
        self.heard.append(("proxy put", managed.service.id))

    def proxy_gone(self, managed: Managed) -> None:
        self.heard.append(("proxy gone", managed.service.id))
