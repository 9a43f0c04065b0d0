"""The local state: which services this agent speaks for, and which managed proxies they have.

Everything here is synchronous and in memory. A change goes first to the keeper, which may refuse it by raising
(a full disk changes nothing), then into the state, then to the observers: the catalog, the checks, the processes.

Rules (sections API, PORT and TOK of the requirements):

1. A managed proxy lives and dies with its service; nobody registers or removes one by itself.
2. Token and port stay the same until the service is deregistered, over reload, change and restart.
3. A service of a file is what the file says; one registered over HTTP keeps its proxy when it is registered
   again without one.
4. An equal registration is no change.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from reference.access.tokens import ProxyGrant, new_token
from reference.agent import proxies
from reference.agent.ports import PortsExhausted, can_bind, choose_port
from reference.agent.proxies import Managed, ProxyError
from reference.catalog.model import Service
from reference.catalog.watch import Watch
from reference.config.model import ManagedProxy, Opaque, ProxyDefaults, ServiceDefinition

_log = logging.getLogger("agent")


class NotAllowed(Exception):
    """The request contradicts the rules of the local state; the text is for the user."""


class KeeperError(Exception):
    """A change could not be kept, so it was not made; the text is for the user."""


@dataclass(frozen=True, kw_only=True)
class Registration:
    """A service that somebody registered, with the token given for it."""

    service: Service
    token: str = field(repr=False)
    from_file: bool


@dataclass(frozen=True, kw_only=True)
class Remembered:
    """What an earlier run of the agent left of a managed proxy."""

    token: str = field(repr=False)
    port: int


@dataclass(frozen=True, kw_only=True)
class ProxySettings:
    """What the agent's own configuration says about all managed proxies; ``command`` is the built-in one."""

    bind_addr: str
    min_port: int
    max_port: int
    defaults: ProxyDefaults
    command: tuple[str, ...]


class Observer(Protocol):
    """Hears of each change. A put may be the first or a replacement."""

    def service_put(self, registration: Registration) -> None:
        """A service is registered."""

    def service_gone(self, service_id: str) -> None:
        """A service is deregistered; its proxy went before."""

    def proxy_put(self, managed: Managed) -> None:
        """A service has this managed proxy."""

    def proxy_gone(self, managed: Managed) -> None:
        """A service has no managed proxy any more."""


class LocalState:
    """The services and managed proxies of one agent.

    ``remembered`` gives proxies of an earlier run their token and port back until :meth:`settle` is called.
    """

    def __init__(
        self,
        settings: ProxySettings,
        *,
        watch: Watch,
        remembered: Mapping[str, Remembered] | None = None,
        is_free: Callable[[str, int], bool] = can_bind,
    ) -> None:
        self.settings = settings
        self._watch = watch
        self._remembered = dict(remembered or {})
        self._is_free = is_free
        self._registrations: dict[str, Registration] = {}
        self._proxies: dict[str, Managed] = {}
        self._keeper: Observer | None = None
        self._observers: list[Observer] = []

    def attach(self, observer: Observer, *, keeper: bool = False) -> None:
        """Tell ``observer`` everything that is, and from now on what changes; a keeper hears of it first."""
        if keeper:
            self._keeper = observer
        else:
            self._observers.append(observer)
        for registration in self._registrations.values():
            observer.service_put(registration)
        for managed in self._proxies.values():
            observer.proxy_put(managed)

    def settle(self) -> None:
        """Everything of the start is registered: forget what is left of proxies that nobody defined."""
        self._remembered.clear()

    def registration(self, service_id: str) -> Registration | None:
        """The registered service with this id; managed proxies are none."""
        return self._registrations.get(service_id)

    def proxy(self, proxy_id: str) -> Managed | None:
        """The managed proxy with this id."""
        return self._proxies.get(proxy_id)

    def service(self, service_id: str) -> Service | None:
        """The record with this id, be it a service or a managed proxy."""
        managed = self._proxies.get(service_id)
        if managed is not None:
            return managed.service
        registration = self._registrations.get(service_id)
        return None if registration is None else registration.service

    def services(self) -> tuple[Service, ...]:
        """All records, those of managed proxies included."""
        registered = (registration.service for registration in self._registrations.values())
        return (*registered, *(managed.service for managed in self._proxies.values()))

    def grants(self) -> Iterable[ProxyGrant]:
        """What the tokens of the managed proxies open."""
        for managed in self._proxies.values():
            yield ProxyGrant(token=managed.token, service=self.target_of(managed).name)

    def target_of(self, managed: Managed) -> Service:
        """The service that a managed proxy stands in front of."""
        return self._registrations[managed.target_id].service

    def effective_config(self, managed: Managed) -> dict[str, Any]:
        """What a managed proxy is told."""
        return proxies.effective_config(
            managed,
            target=self.target_of(managed),
            defaults=self.settings.defaults.config,
            bind_addr=self.settings.bind_addr,
        )

    def register(self, definition: ServiceDefinition, *, from_file: bool) -> None:
        """Add or change a service and its managed proxy.

        Raises :class:`NotAllowed` before anything is changed; :class:`ProxyError` and :class:`PortsExhausted`
        with the service registered, without the change to its proxy (MP-API-008).
        """
        if definition.id in self._proxies:
            raise NotAllowed(f"service ID {definition.id} belongs to a managed proxy, choose another")
        registration = Registration(
            service=Service(
                id=definition.id,
                name=definition.name,
                port=definition.port,
                address=definition.address,
                tags=definition.tags,
                meta=definition.meta,
                enable_tag_override=definition.enable_tag_override,
                native=definition.native,
            ),
            token=definition.token,
            from_file=from_file,
        )
        existing = self._proxies.get(proxies.proxy_id(definition.id))
        if existing is not None and definition.proxy is None and from_file:
            self._drop_proxy(existing)
        if self._registrations.get(definition.id) != registration:
            self._put_service(registration)
        if definition.proxy is not None:
            self._define_proxy(definition.proxy, registration)
        elif existing is not None and not from_file:
            self._define_proxy(_as_given(existing), registration)

    def deregister(self, service_id: str) -> bool:
        """Remove a service and its managed proxy; False when there is none (MP-API-004, MP-API-005).

        Raises :class:`NotAllowed` for the id of a managed proxy.
        """
        if service_id in self._proxies:
            raise NotAllowed(
                "Managed proxy service cannot be deregistered directly. Deregister the service that has a "
                "managed proxy to automatically deregister the managed proxy itself."
            )
        if service_id not in self._registrations:
            return False
        managed = self._proxies.get(proxies.proxy_id(service_id))
        if managed is not None:
            self._drop_proxy(managed)
        if self._keeper is not None:
            self._keeper.service_gone(service_id)
        del self._registrations[service_id]
        for observer in self._observers:
            observer.service_gone(service_id)
        self._watch.notify(_topic(service_id))
        return True

    def reconcile(self, definitions: Iterable[ServiceDefinition]) -> None:
        """Make the services of files those of ``definitions``; the others stay (MP-LIFE-012, MP-LIFE-017).

        A definition that cannot be carried out is logged and does not hold up the others.
        """
        wanted = {definition.id: definition for definition in definitions}
        for registration in list(self._registrations.values()):
            if registration.from_file and registration.service.id not in wanted:
                self.deregister(registration.service.id)
        for definition in wanted.values():
            try:
                self.register(definition, from_file=True)
            except (NotAllowed, ProxyError, PortsExhausted) as error:
                _log.error("reload: service %s: %s", definition.id, error)

    def _put_service(self, registration: Registration) -> None:
        if self._keeper is not None:
            self._keeper.service_put(registration)
        self._registrations[registration.service.id] = registration
        for observer in self._observers:
            observer.service_put(registration)
        self._watch.notify(_topic(registration.service.id))

    def _define_proxy(self, proxy: ManagedProxy, registration: Registration) -> None:
        target = registration.service
        proxy_id = proxies.proxy_id(target.id)
        if proxy_id in self._registrations:
            raise ProxyError(f"service ID {proxy_id} is taken, so {target.id} can have no managed proxy")
        before = self._proxies.get(proxy_id)
        remembered = self._remembered.get(proxy_id)
        settings = self.settings
        config = {**settings.defaults.config, **proxy.config}
        port = (
            proxies.configured_port(config)
            or (before.service.port if before is not None else 0)
            or (remembered.port if remembered is not None else 0)
            or self._new_port(config)
        )
        managed = Managed(
            proxy=proxies.complete(proxy, defaults=settings.defaults, command=settings.command),
            service=proxies.proxy_service(target, proxy.config, port=port),
            target_id=target.id,
            token=(
                before.token
                if before is not None
                else remembered.token
                if remembered is not None
                else new_token()
            ),
            from_file=registration.from_file,
            own_command=bool(proxy.command),
        )
        if self._keeper is not None and managed != before:
            self._keeper.proxy_put(managed)
        self._proxies[proxy_id] = managed
        # Told even when it looks the same: the check and the config follow the service too.
        for observer in self._observers:
            observer.proxy_put(managed)
        self._watch.notify(_topic(proxy_id))

    def _drop_proxy(self, managed: Managed) -> None:
        if self._keeper is not None:
            self._keeper.proxy_gone(managed)
        del self._proxies[managed.service.id]
        for observer in self._observers:
            observer.proxy_gone(managed)
        self._watch.notify(_topic(managed.service.id))

    def _new_port(self, config: Opaque) -> int:
        address = config.get("bind_address", self.settings.bind_addr)
        taken = {managed.service.port for managed in self._proxies.values()}
        taken.update(remembered.port for remembered in self._remembered.values())
        return choose_port(
            low=self.settings.min_port,
            high=self.settings.max_port,
            taken=taken,
            is_free=lambda port: self._is_free(str(address), port),
        )

    async def wait_for_change(self, service_id: str, *, seconds: float) -> bool:
        """Wait up to ``seconds`` for a change of this record or proxy; False when there was none."""
        return await self._watch.wait(_topic(service_id), seconds=seconds)


def _as_given(managed: Managed) -> ManagedProxy:
    return managed.proxy if managed.own_command else replace(managed.proxy, command=())


def _topic(service_id: str) -> str:
    return f"local/{service_id}"
