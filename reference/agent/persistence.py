"""What an agent remembers in its data directory::

    node-id            the UUID of the node
    services/<md5>     services registered over HTTP, and the records of managed proxies
    proxies/<md5>      managed proxies with their tokens
    checks/            checks, see :mod:`reference.agent.check_files`

Names are the MD5 of the id, modes 0600 and 0700, as in the original (MP-SNAP-006, MP-SNAP-007). Each write is
atomic and on the disk before the change is acknowledged. A file that cannot be read is set aside under another
name and logged, and the rest is served; the original does not start then (MP-SNAP-009).
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
from msgspec.structs import replace

from reference.agent import records
from reference.agent.check_files import CheckFiles
from reference.agent.folder import PersistenceError, RecordFiles, file_name
from reference.agent.local_checks import LocalCheck
from reference.agent.ports import PortsExhausted
from reference.agent.proxies import Managed, ProxyError
from reference.agent.services import LocalState, NotAllowed, Registration, Remembered
from reference.config.model import ServiceDefinition
from reference.files import Files, LinuxFiles

_log = logging.getLogger("agent")


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """What an earlier run left: services and checks registered over HTTP, and all managed proxies by id.

    ``sidecars`` has the ids of those services that are part of another one, with its id.
    """

    definitions: tuple[ServiceDefinition, ...] = ()
    sidecars: Mapping[str, str] = msgspec.field(default_factory=dict)
    remembered: Mapping[str, Remembered] = msgspec.field(default_factory=dict)
    checks: tuple[LocalCheck, ...] = ()


def restore(state: LocalState, memory: Memory) -> Iterator[str]:
    """Bring back what came in over HTTP, unless a file says otherwise; tells what could not be.

    Nothing of it keeps the agent from starting.
    """
    for definition in memory.definitions:
        if state.registration(definition.id) is not None:
            continue
        try:
            state.register(definition, from_file=False, sidecar_of=memory.sidecars.get(definition.id, ""))
        except (ProxyError, PortsExhausted, NotAllowed) as error:
            yield f"service {definition.id} cannot be restored: {error}"
    for check in memory.checks:
        try:
            state.restore_check(check)
        except NotAllowed as error:
            yield f"check {check.id} cannot be restored: {error}"


class DataDirectory:
    """One agent's data directory, held for as long as the agent runs. An observer of the local state.

    ``node`` is the name of the node, which stands in the files of checks.
    """

    def __init__(self, path: Path, *, files: Files | None = None, node: str = "") -> None:
        self._path = path
        self._disk = LinuxFiles() if files is None else files
        self._records = RecordFiles(path, self._disk)
        self.checks = CheckFiles(path, self._records, node=node)
        self._services = path / "services"
        self._proxies = path / "proxies"
        self._lock = -1

    def open(self) -> None:
        """Create what is missing and keep other agents out. Raises :class:`PersistenceError`."""
        try:
            for directory in (self._path, self._services, self._proxies, self.checks.directory):
                self._disk.make_directory(directory)
            self._lock = self._disk.lock(self._path / "agent.lock")
        except BlockingIOError as error:
            self.close()
            raise PersistenceError(
                f"the data directory {self._path} is in use by another agent. "
                "Stop that agent, or give this one its own -data-dir."
            ) from error
        except OSError as error:
            self.close()
            raise self._records.trouble("used", error) from error

    def close(self) -> None:
        """Let other agents in."""
        if self._lock >= 0:
            self._disk.close(self._lock)
            self._lock = -1

    def node_id(self) -> str:
        """The UUID of this node, made and kept at the first start. Raises :class:`PersistenceError`."""
        path = self._path / "node-id"
        try:
            return str(uuid.UUID(self._disk.read(path).decode("ascii").strip()))
        except FileNotFoundError:
            pass
        except ValueError as error:
            self._records.set_aside(path, error)
        except OSError as error:
            raise self._records.trouble("read", error) from error
        node_id = str(uuid.uuid4())
        self._records.write(path, node_id.encode())
        return node_id

    def load(self) -> Memory:
        """Read everything that can be read. Raises :class:`PersistenceError` when nothing can."""
        services: dict[str, records.StoredService] = {}
        proxies: dict[str, records.StoredProxy] = {}
        damaged = set()
        for path, content in self._records.files(self._proxies):
            try:
                stored = records.decode_proxy(content)
            except ValueError as error:
                self._records.set_aside(path, error)
                damaged.add(path.name)
                continue
            proxies[stored.proxy_id] = stored
        for path, content in self._records.files(self._services):
            try:
                service = records.decode_service(content)
            except ValueError as error:
                self._records.set_aside(path, error)
                continue
            # The record of a managed proxy follows from its file; without that it would belong to nobody.
            if service.definition.id not in proxies and path.name not in damaged:
                services[service.definition.id] = service
        definitions = {service_id: service.definition for service_id, service in services.items()}
        for stored in proxies.values():
            target = definitions.get(stored.target_id)
            if target is not None and not stored.from_file:
                definitions[target.id] = replace(target, proxy=stored.proxy)
        return Memory(
            definitions=tuple(definitions.values()),
            sidecars={key: each.sidecar_of for key, each in services.items() if each.sidecar_of},
            remembered={proxy_id: stored.remembered for proxy_id, stored in proxies.items()},
            checks=self.checks.load(),
        )

    def keep(self, state: LocalState) -> None:
        """Forget what ``state`` does not have, and remember each change of it from now on.

        Raises :class:`~reference.agent.services.KeeperError`.
        """
        services = {service.id for service in state.services()}
        self.sweep(
            services=services,
            proxies={service_id for service_id in services if state.proxy(service_id)},
            checks={check.id for check in state.checks},
        )
        state.attach(self, keeper=True)
        state.checks.attach(self.checks, keeper=True)

    def sweep(self, *, services: set[str], proxies: set[str], checks: set[str]) -> None:
        """Remove the files of everything else, by id (MP-SNAP-008); so no orphan record is ever served."""
        self.checks.sweep(checks)
        for directory, ids in ((self._services, services), (self._proxies, proxies)):
            keep = {file_name(id_) for id_ in ids}
            for path in self._records.entries(directory):
                if path.name not in keep:
                    _log.debug("purging stale file %s", path)
                    self._records.remove(path)

    def service_put(self, registration: Registration) -> None:
        """Keep a service that was registered over HTTP; one of a file needs no memory."""
        path = self._services / file_name(registration.service.id)
        if registration.from_file:
            self._records.remove(path)
        else:
            self._records.write(path, records.encode_service(registration))

    def service_gone(self, service_id: str) -> None:
        """Forget a service."""
        self._records.remove(self._services / file_name(service_id))

    def proxy_put(self, managed: Managed) -> None:
        """Keep a managed proxy: the definition first, so that a record never stands alone."""
        name = file_name(managed.service.id)
        self._records.write(self._proxies / name, records.encode_proxy(managed))
        self._records.write(self._services / name, records.encode_managed_service(managed.service))

    def proxy_gone(self, managed: Managed) -> None:
        """Forget a managed proxy (MP-CLEAN-001)."""
        name = file_name(managed.service.id)
        self._records.remove(self._services / name)
        self._records.remove(self._proxies / name)
