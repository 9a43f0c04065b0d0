"""The checks that this agent is to do: who registered them, and what they are about.

What comes out of them is in :mod:`reference.agent.checks`. Everything here is synchronous and in memory; a change
goes first to the keeper, which may refuse it by raising, then into the state, then to the observers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from msgspec.structs import replace

from reference.catalog.model import Check, Service, Status
from reference.config.checks import CheckDefinition
from reference.secretive import Secretive

NODE_MAINTENANCE = "_node_maintenance"
SERVICE_MAINTENANCE = "_service_maintenance:"

_NODE_REASON = (
    "Maintenance mode is enabled for this node, but no reason was provided. This is a default message."
)
_SERVICE_REASON = (
    "Maintenance mode is enabled for this service, but no reason was provided. This is a default message."
)


class LocalCheck(Secretive, frozen=True, kw_only=True):
    """A registered check. ``record`` is how it stands at first; without ``definition`` it stays as it is.

    ``inline`` ones are part of the definition of their service, and come and go with it in files.
    """

    UNSHOWN = frozenset({"token"})

    record: Check
    definition: CheckDefinition | None
    token: str = ""
    from_file: bool = False
    inline: bool = False

    @property
    def id(self) -> str:
        """The id, which no two checks of an agent share."""
        return self.record.id

    @property
    def service_id(self) -> str:
        """The service that it is about, empty for the node."""
        return self.record.service_id


class CheckObserver(Protocol):
    """Hears of each change. A put may be the first or a replacement."""

    def check_put(self, check: LocalCheck) -> None:
        """A check is registered."""

    def check_gone(self, check: LocalCheck) -> None:
        """It is deregistered."""


class LocalChecks:
    """The registered checks of one agent, by id. Those of managed proxies are not among them: nobody registers them."""

    def __init__(self) -> None:
        self._checks: dict[str, LocalCheck] = {}
        self._keeper: CheckObserver | None = None
        self._observers: list[CheckObserver] = []

    def attach(self, observer: CheckObserver, *, keeper: bool = False) -> None:
        """Tell ``observer`` everything that is, and from now on what changes; a keeper hears of it first."""
        if keeper:
            self._keeper = observer
        else:
            self._observers.append(observer)
        for check in self._checks.values():
            observer.check_put(check)

    def rehearsal(self) -> LocalChecks:
        """A copy whose changes nobody hears of."""
        copied = LocalChecks()
        copied._checks = dict(self._checks)
        return copied

    def __iter__(self) -> Iterator[LocalCheck]:
        return iter(tuple(self._checks.values()))

    def get(self, check_id: str) -> LocalCheck | None:
        """The check with this id."""
        return self._checks.get(check_id)

    def about(self, service_id: str) -> list[LocalCheck]:
        """The checks of one service."""
        return [check for check in self._checks.values() if check.service_id == service_id]

    def new_among(self, checks: Iterable[LocalCheck]) -> list[LocalCheck]:
        """Those of ``checks`` that would change something."""
        return [check for check in checks if self._checks.get(check.id) != check]

    def keep(self, checks: Iterable[LocalCheck]) -> None:
        """Let the keeper refuse them, before anything is changed."""
        if self._keeper is not None:
            for check in checks:
                self._keeper.check_put(check)

    def show(self, checks: Iterable[LocalCheck]) -> None:
        """Take up checks that are kept."""
        for check in checks:
            self._checks[check.id] = check
            for observer in self._observers:
                observer.check_put(check)

    def put(self, *checks: LocalCheck) -> None:
        """Add or replace checks. Of equal ones the keeper hears nothing; to the others it is a sign of life."""
        self.keep(self.new_among(checks))
        self.show(checks)

    def drop(self, check_id: str) -> bool:
        """Remove a check; False when there is none."""
        check = self._checks.get(check_id)
        if check is None:
            return False
        if self._keeper is not None:
            self._keeper.check_gone(check)
        del self._checks[check_id]
        for observer in self._observers:
            observer.check_gone(check)
        return True


def check_id_of(definition: CheckDefinition) -> str:
    """The id of a check that was defined by itself."""
    return definition.id or definition.name


def check_by_itself(
    definition: CheckDefinition, service: Service | None, *, token: str, from_file: bool
) -> LocalCheck:
    """A check that was defined by itself, about ``service`` or about the node."""
    record = Check(
        id=check_id_of(definition),
        name=definition.name,
        status=_status(definition),
        notes=definition.notes,
    )
    local = LocalCheck(record=record, definition=definition, token=token, from_file=from_file)
    return local if service is None else about(local, service)


def checks_of_service(
    service: Service, definitions: Sequence[CheckDefinition], *, token: str, from_file: bool
) -> tuple[LocalCheck, ...]:
    """The checks in the definition of a service, with the original's ids and names for those that have none."""
    checks = []
    for number, definition in enumerate(definitions, start=1):
        check_id = f"service:{service.id}" + (f":{number}" if len(definitions) > 1 else "")
        record = Check(
            id=definition.id or check_id,
            name=definition.name or f"Service '{service.name}' check",
            status=_status(definition),
            notes=definition.notes,
        )
        local = LocalCheck(
            record=record, definition=definition, token=token, from_file=from_file, inline=True
        )
        checks.append(about(local, service))
    return tuple(checks)


def about(check: LocalCheck, service: Service) -> LocalCheck:
    """The same check, with the name and the tags that its service has now."""
    record = replace(
        check.record, service_id=service.id, service_name=service.name, service_tags=service.tags
    )
    return replace(check, record=record)


def maintenance(service: Service | None, *, reason: str, token: str) -> LocalCheck:
    """The check that keeps a service, or the whole node, out of use until it is removed."""
    record = Check(
        id=NODE_MAINTENANCE,
        name="Node Maintenance Mode",
        status=Status.CRITICAL,
        notes=reason or _NODE_REASON,
    )
    if service is None:
        return LocalCheck(record=record, definition=None, token=token)
    record = replace(
        record,
        id=SERVICE_MAINTENANCE + service.id,
        name="Service Maintenance Mode",
        notes=reason or _SERVICE_REASON,
        service_id=service.id,
        service_name=service.name,
        service_tags=service.tags,
    )
    return LocalCheck(record=record, definition=None, token=token)


def _status(definition: CheckDefinition) -> Status:
    return Status(definition.status or Status.CRITICAL)
