"""What an agent remembers in its data directory::

    node-id            the UUID of the node
    services/<md5>     services registered over HTTP, and the records of managed proxies
    proxies/<md5>      managed proxies with their tokens

Names are the MD5 of the id, modes 0600 and 0700, as in the original (MP-SNAP-006, MP-SNAP-007). Each write is
atomic and on the disk before the change is acknowledged. A file that cannot be read is set aside under another
name and logged, and the rest is served; the original does not start then (MP-SNAP-009).
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import re
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from reference.agent import records
from reference.agent.files import TEMPORARY, make_private_directory, remove, write_atomically
from reference.agent.proxies import Managed
from reference.agent.services import KeeperError, Registration, Remembered
from reference.config.model import ServiceDefinition

_log = logging.getLogger("agent")
_NAME = re.compile(r"[0-9a-f]{32}")


class PersistenceError(KeeperError):
    """The data directory cannot be used; the text says where, why, and what to do."""


@dataclass(frozen=True, kw_only=True)
class Memory:
    """What an earlier run left: services registered over HTTP, and all managed proxies by id."""

    definitions: tuple[ServiceDefinition, ...] = ()
    remembered: Mapping[str, Remembered] = field(default_factory=dict)


class DataDirectory:
    """One agent's data directory, held for as long as the agent runs. An observer of the local state."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._services = path / "services"
        self._proxies = path / "proxies"
        self._lock = -1

    def open(self) -> None:
        """Create what is missing and keep other agents out. Raises :class:`PersistenceError`."""
        try:
            for directory in (self._path, self._services, self._proxies):
                make_private_directory(directory)
            self._lock = os.open(self._path / "agent.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.close()
            raise PersistenceError(
                f"the data directory {self._path} is in use by another agent. "
                "Stop that agent, or give this one its own -data-dir."
            ) from error
        except OSError as error:
            self.close()
            raise self._trouble("used", error) from error

    def close(self) -> None:
        """Let other agents in."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def node_id(self) -> str:
        """The UUID of this node, made and kept at the first start. Raises :class:`PersistenceError`."""
        path = self._path / "node-id"
        try:
            return str(uuid.UUID(path.read_text(encoding="ascii").strip()))
        except FileNotFoundError:
            pass
        except ValueError as error:
            _set_aside(path, error)
        except OSError as error:
            raise self._trouble("read", error) from error
        node_id = str(uuid.uuid4())
        self._write(path, node_id.encode())
        return node_id

    def load(self) -> Memory:
        """Read everything that can be read. Raises :class:`PersistenceError` when nothing can."""
        definitions: dict[str, ServiceDefinition] = {}
        proxies: dict[str, records.StoredProxy] = {}
        for path, content in self._files(self._services):
            try:
                definition = records.decode_service(content)
            except ValueError as error:
                _set_aside(path, error)
                continue
            if definition is not None:
                definitions[definition.id] = definition
        for path, content in self._files(self._proxies):
            try:
                stored = records.decode_proxy(content)
            except ValueError as error:
                _set_aside(path, error)
                continue
            proxies[stored.proxy_id] = stored
        for stored in proxies.values():
            target = definitions.get(stored.target_id)
            if target is not None and not stored.from_file:
                definitions[target.id] = replace(target, proxy=stored.proxy)
        return Memory(
            definitions=tuple(definitions.values()),
            remembered={proxy_id: stored.remembered for proxy_id, stored in proxies.items()},
        )

    def sweep(self, *, services: set[str], proxies: set[str]) -> None:
        """Remove the files of everything else, by id (MP-SNAP-008); so no orphan record is ever served."""
        for directory, ids in ((self._services, services), (self._proxies, proxies)):
            keep = {_hash(id_) for id_ in ids}
            for path in self._entries(directory):
                if path.name not in keep:
                    _log.debug("purging stale file %s", path)
                    self._remove(path)

    def service_put(self, registration: Registration) -> None:
        """Keep a service that was registered over HTTP; one of a file needs no memory."""
        path = self._services / _hash(registration.service.id)
        if registration.from_file:
            self._remove(path)
        else:
            self._write(path, records.encode_service(registration.service, registration.token))

    def service_gone(self, service_id: str) -> None:
        """Forget a service."""
        self._remove(self._services / _hash(service_id))

    def proxy_put(self, managed: Managed) -> None:
        """Keep a managed proxy: the definition first, so that a record never stands alone."""
        name = _hash(managed.service.id)
        self._write(self._proxies / name, records.encode_proxy(managed))
        self._write(self._services / name, records.encode_service(managed.service, ""))

    def proxy_gone(self, managed: Managed) -> None:
        """Forget a managed proxy (MP-CLEAN-001)."""
        name = _hash(managed.service.id)
        self._remove(self._services / name)
        self._remove(self._proxies / name)

    def _files(self, directory: Path) -> Iterator[tuple[Path, bytes]]:
        for path in self._entries(directory):
            try:
                yield path, path.read_bytes()
            except OSError as error:
                _log.error("%s cannot be read and is left out: %s", path, error.strerror)

    def _entries(self, directory: Path) -> Iterator[Path]:
        try:
            entries = sorted(directory.iterdir())
        except OSError as error:
            raise self._trouble("read", error) from error
        for path in entries:
            if path.name.endswith(TEMPORARY):
                self._remove(path)
            elif _NAME.fullmatch(path.name) and path.is_file():
                yield path

    def _write(self, path: Path, content: bytes) -> None:
        try:
            # Each start writes everything anew; most of it is there.
            if not (path.exists() and path.read_bytes() == content):
                write_atomically(path, content)
        except OSError as error:
            raise self._trouble("written", error) from error

    def _remove(self, path: Path) -> None:
        try:
            remove(path)
        except OSError as error:
            raise self._trouble("written", error) from error

    def _trouble(self, what: str, error: OSError) -> PersistenceError:
        return PersistenceError(
            f"the data directory {self._path} cannot be {what}: {error.strerror} ({error.filename}). "
            "Check its owner, its mode and the free space, or name another with -data-dir."
        )


def _hash(id_: str) -> str:
    return hashlib.md5(id_.encode(), usedforsecurity=False).hexdigest()


def _set_aside(path: Path, error: Exception) -> None:
    aside = path.with_name(f"{path.name}.corrupt-{uuid.uuid4()}")
    try:
        path.replace(aside)
    except OSError as trouble:
        _log.error("%s cannot be understood (%s) nor moved away: %s", path, error, trouble.strerror)
    else:
        _log.error("%s cannot be understood (%s), it is kept as %s; the rest is served", path, error, aside)
