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

import copy
import logging
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import msgspec
from msgspec.structs import replace

from reference.access.tokens import ProxyGrant, new_token
from reference.agent import proxies
from reference.agent.local_checks import (
    LocalCheck,
    LocalChecks,
    about,
    check_by_itself,
    check_id_of,
    checks_of_service,
)
from reference.agent.ports import can_bind, choose_port
from reference.agent.proxies import Managed, ProxyError
from reference.agent.sidecars import NoSidecarPort, sidecar_id
from reference.agent.sidecars import sidecar_of as sidecar_of_service
from reference.catalog.model import Service
from reference.catalog.watch import Watch
from reference.config.checks import CheckDefinition, CheckKind
from reference.config.model import CONNECT_PROXY, ManagedProxy, Opaque, ProxyDefaults, ServiceDefinition
from reference.secretive import Secretive

_log = logging.getLogger("agent")


class NotAllowed(Exception):
    """The request contradicts the rules of the local state; the text is for the user."""


class KeeperError(Exception):
    """A change could not be kept, so it was not made; the text is for the user."""


class Registration(Secretive, frozen=True, kw_only=True):
    """A service that somebody registered, with the token given for it.

    ``sidecar_of`` is the service whose definition it is a part of, or empty.
    """

    UNSHOWN = frozenset({"token"})

    service: Service
    token: str
    from_file: bool
    sidecar_of: str = ""


class Remembered(Secretive, frozen=True, kw_only=True):
    """What an earlier run of the agent left of a managed proxy."""

    UNSHOWN = frozenset({"token"})

    token: str
    port: int


class ProxySettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the agent's own configuration says about all proxies and checks; ``command`` is the built-in proxy's."""

    bind_addr: str
    min_port: int
    max_port: int
    defaults: ProxyDefaults
    command: tuple[str, ...]
    sidecar_min_port: int = 21000
    sidecar_max_port: int = 21255
    #: Whether requests may have the agent run programs.
    enable_script_checks: bool = False


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
        shuffle: Callable[[list[int]], None] = random.shuffle,
    ) -> None:
        self.settings = settings
        self.checks = LocalChecks()
        self._watch = watch
        self._remembered = dict(remembered or {})
        self._is_free = is_free
        self._shuffle = shuffle
        self._registrations: dict[str, Registration] = {}
        self._proxies: dict[str, Managed] = {}
        #: By their tokens; those are random, and looked up by hash, which tells nothing by the time that it takes.
        self._proxy_ids: dict[str, str] = {}
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

    def token_of(self, service_id: str) -> str:
        """The token that the service with this id was registered with, which is its managed proxy's, too; or empty."""
        managed = self._proxies.get(service_id)
        registration = self._registrations.get(service_id if managed is None else managed.target_id)
        return "" if registration is None else registration.token

    def grant(self, token: str) -> ProxyGrant | None:
        """What the token of a managed proxy opens; None for any other."""
        managed = self._proxies.get(self._proxy_ids.get(token, ""))
        if managed is None:
            return None
        registration = self._registrations[managed.target_id]
        upstreams: dict[str, set[str]] = {"service": set(), "prepared_query": set()}
        for upstream in managed.proxy.upstreams:
            upstreams.setdefault(upstream.destination_type, set()).add(upstream.destination_name.lower())
        return ProxyGrant(
            token=managed.token,
            service=registration.service.name,
            proxy=managed.service.name,
            service_token=registration.token,
            upstreams=frozenset(upstreams["service"]),
            queries=frozenset(upstreams["prepared_query"]),
        )

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

    def register(self, definition: ServiceDefinition, *, from_file: bool, sidecar_of: str = "") -> None:
        """Add or change a service with its checks, its managed proxy and its sidecar.

        Raises :class:`NotAllowed` before anything is changed; :class:`ProxyError` and :class:`PortsExhausted`
        with the service registered, without the change to its proxy (MP-API-008).
        """
        sidecar = self._sidecar(definition)
        for each in (definition, *([] if sidecar is None else [sidecar])):
            self._check_allowed(each, from_file=from_file)
        service = _record(definition)
        registration = Registration(
            service=service, token=definition.token, from_file=from_file, sidecar_of=sidecar_of
        )
        existing = self._proxies.get(proxies.proxy_id(definition.id))
        if existing is not None and definition.proxy is None and from_file:
            self._drop_proxy(existing)
        checks = checks_of_service(service, definition.checks, token=definition.token, from_file=from_file)
        self._put_service(registration, checks)
        if from_file:
            self._drop_parts(definition, {check.id for check in checks})
        if definition.proxy is not None:
            self._define_proxy(definition.proxy, registration)
        elif existing is not None and not from_file:
            self._define_proxy(_as_given(existing), registration)
        if sidecar is not None:
            self.register(sidecar, from_file=from_file, sidecar_of=definition.id)

    def register_check(self, definition: CheckDefinition, *, token: str, from_file: bool) -> None:
        """Add or change a check of a service or of the node. Raises :class:`NotAllowed`."""
        service = self.service(definition.service_id) if definition.service_id else None
        if definition.service_id and service is None:
            raise NotAllowed(f'ServiceID "{definition.service_id}" does not exist')
        self._check_check(definition, check_id_of(definition), from_file=from_file)
        self.checks.put(check_by_itself(definition, service, token=token, from_file=from_file))

    def restore_check(self, check: LocalCheck) -> None:
        """Add a check that an earlier run left, unless there is one. Raises :class:`NotAllowed`."""
        if self.checks.get(check.id) is not None:
            return
        service = self.service(check.service_id) if check.service_id else None
        if check.service_id and service is None:
            raise NotAllowed(f'ServiceID "{check.service_id}" does not exist')
        if check.definition is not None:
            self._check_check(check.definition, check.id, from_file=False)
        self.checks.put(check if service is None else about(check, service))

    def deregister(self, service_id: str) -> bool:
        """Remove a service with its checks, its managed proxy and its sidecar (MP-API-004, MP-API-005).

        False when there is none. Raises :class:`NotAllowed` for the id of a managed proxy.
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
        for check in self.checks.about(service_id):
            self.checks.drop(check.id)
        sidecar = self._registrations.get(sidecar_id(service_id))
        if sidecar is not None and sidecar.sidecar_of == service_id:
            self.deregister(sidecar.service.id)
        return True

    def reconcile(
        self, definitions: Iterable[ServiceDefinition], checks: Iterable[CheckDefinition] = ()
    ) -> None:
        """Make the services and checks of files those of the definitions; the others stay (MP-LIFE-012, MP-LIFE-017).

        Raises :class:`NotAllowed`, :class:`ProxyError` and :class:`PortsExhausted` before anything is changed. A
        :class:`KeeperError` comes in the middle: what was kept until then is so, and the next attempt does the rest.
        """
        wanted = {definition.id: definition for definition in definitions}
        by_id = {check_id_of(check): check for check in checks}
        rehearsal = self._rehearsal()
        rehearsal._replace_files(wanted, by_id)
        # The ports that were found free in the rehearsal are the ones that are used.
        self._remembered |= {
            proxy_id: Remembered(token=managed.token, port=managed.service.port)
            for proxy_id, managed in rehearsal._proxies.items()
            if proxy_id not in self._proxies
        }
        try:
            self._replace_files(wanted, by_id)
        finally:
            self._remembered.clear()

    def _rehearsal(self) -> LocalState:
        """A copy whose changes nobody hears of."""
        copied = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, dict):
                setattr(copied, name, dict(value))
        copied._keeper, copied._observers, copied._watch = None, [], Watch()
        copied.checks = self.checks.rehearsal()
        return copied

    def _replace_files(
        self, wanted: Mapping[str, ServiceDefinition], checks: Mapping[str, CheckDefinition]
    ) -> None:
        for registration in list(self._registrations.values()):
            if registration.from_file and (registration.sidecar_of or registration.service.id) not in wanted:
                self.deregister(registration.service.id)
        for definition in wanted.values():
            self.register(definition, from_file=True)
        for known in tuple(self.checks):
            if known.from_file and not known.inline and known.id not in checks:
                self.checks.drop(known.id)
        for check in checks.values():
            self.register_check(check, token=check.token, from_file=True)

    def _sidecar(self, definition: ServiceDefinition) -> ServiceDefinition | None:
        settings = self.settings
        try:
            return sidecar_of_service(
                definition,
                self.services(),
                low=settings.sidecar_min_port,
                high=settings.sidecar_max_port,
            )
        except NoSidecarPort as error:
            raise NotAllowed(f"Invalid SidecarService: {error}") from error

    def _check_allowed(self, definition: ServiceDefinition, *, from_file: bool) -> None:
        if definition.id in self._proxies:
            raise NotAllowed(f"service ID {definition.id} belongs to a managed proxy, choose another")
        for check in definition.checks:
            self._check_check(check, check.id, from_file=from_file)

    def _check_check(self, definition: CheckDefinition, check_id: str, *, from_file: bool) -> None:
        if definition.kind is CheckKind.SCRIPT and not (from_file or self.settings.enable_script_checks):
            raise NotAllowed(
                "Scripts are disabled on this agent from remote calls; to enable, configure "
                "'enable_script_checks' to true"
            )
        if check_id.removeprefix("service:") in self._proxies:
            raise NotAllowed(f"check ID {check_id} belongs to a managed proxy, choose another")

    def _put_service(self, registration: Registration, checks: Sequence[LocalCheck]) -> None:
        """Keep the checks before the service: one without its checks would pass for healthy."""
        service = registration.service
        before = self._registrations.get(service.id)
        if before is not None and before.service != service:
            own = {check.id for check in checks}
            others = [check for check in self.checks.about(service.id) if check.id not in own]
            checks = [*checks, *(about(check, service) for check in others)]
        self.checks.keep(self.checks.new_among(checks))
        if before != registration:
            if self._keeper is not None:
                self._keeper.service_put(registration)
            self._registrations[service.id] = registration
            for observer in self._observers:
                observer.service_put(registration)
            self._watch.notify(_topic(service.id))
        self.checks.show(checks)

    def _drop_parts(self, definition: ServiceDefinition, checks: set[str]) -> None:
        """Remove what the definition of a file no longer has: checks, and the sidecar."""
        for check in self.checks.about(definition.id):
            if check.inline and check.from_file and check.id not in checks:
                self.checks.drop(check.id)
        sidecar = self._registrations.get(sidecar_id(definition.id))
        if (
            definition.sidecar is None
            and sidecar is not None
            and sidecar.from_file
            and sidecar.sidecar_of == definition.id
        ):
            self.deregister(sidecar.service.id)

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
        complete = proxies.complete(proxy, defaults=settings.defaults, command=settings.command)
        managed = Managed(
            proxy=complete,
            service=proxies.proxy_service(target, complete, port=port),
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
        self._proxy_ids[managed.token] = proxy_id
        # Told even when it looks the same: the check and the config follow the service too.
        for observer in self._observers:
            observer.proxy_put(managed)
        self._watch.notify(_topic(proxy_id))

    def _drop_proxy(self, managed: Managed) -> None:
        if self._keeper is not None:
            self._keeper.proxy_gone(managed)
        del self._proxies[managed.service.id]
        del self._proxy_ids[managed.token]
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
            shuffle=self._shuffle,
        )

    async def wait_for_change(self, service_id: str, *, seconds: float) -> bool:
        """Wait up to ``seconds`` for a change of this record or proxy; False when there was none."""
        return await self._watch.wait(_topic(service_id), seconds=seconds)


def _record(definition: ServiceDefinition) -> Service:
    return Service(
        id=definition.id,
        name=definition.name,
        kind=definition.kind,
        port=definition.port,
        address=definition.address,
        tags=definition.tags,
        meta=definition.meta,
        weights=definition.weights,
        enable_tag_override=definition.enable_tag_override,
        native=definition.native,
        destination=definition.destination if definition.kind == CONNECT_PROXY else None,
    )


def _as_given(managed: Managed) -> ManagedProxy:
    return managed.proxy if managed.own_command else replace(managed.proxy, command=())


def _topic(service_id: str) -> str:
    return f"local/{service_id}"
