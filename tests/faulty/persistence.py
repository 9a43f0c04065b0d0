"""What is stored of proxies, with which permissions, and how it is read again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from reference.agent.folder import PersistenceError, file_name
from reference.agent.persistence import DataDirectory, Memory
from reference.files import LinuxFiles
from reference.http import agent_services
from reference.supervisor import real, snapshot
from reference.supervisor.real import RealWorld
from tests.faulty import fault


@fault("token/secret/02")
def writes_for_everybody() -> None:
    """Writes what it keeps with mode 0644."""
    honest = LinuxFiles.create

    def create(self: LinuxFiles, path: Path) -> int:
        descriptor = honest(self, path)
        os.fchmod(descriptor, 0o644)
        return descriptor

    LinuxFiles.create = create  # type: ignore[method-assign]


@fault("logs/mode/01")
def logs_for_everybody() -> None:
    """Makes the logs of proxies with mode 0644."""
    honest = LinuxFiles.append

    def append(self: LinuxFiles, path: Path) -> int:
        descriptor = honest(self, path)
        os.fchmod(descriptor, 0o644)
        return descriptor

    LinuxFiles.append = append  # type: ignore[method-assign]


@fault("logs/append/01")
def empties_logs_on_restart() -> None:
    """Empties the logs of a proxy each time when it starts it."""
    honest = RealWorld._open_logs

    def open_logs(self: RealWorld, proxy_id: str) -> tuple[int, int] | None:
        found = honest(self, proxy_id)
        for descriptor in found or ():
            os.ftruncate(descriptor, 0)
        return found

    RealWorld._open_logs = open_logs  # type: ignore[method-assign]


@fault("persistence/definition/01")
def forgets_registered_proxies() -> None:
    """Restores services that were registered over HTTP without their managed proxies."""
    honest = DataDirectory.load

    def load(self: DataDirectory) -> Memory:
        memory = honest(self)
        return replace(memory, definitions=tuple(replace(each, proxy=None) for each in memory.definitions))

    DataDirectory.load = load  # type: ignore[method-assign]


@fault(
    "persistence/location/01",
    "persistence/pidfile/01",
    "persistence/pidfile/02",
    "persistence/pidfile/03",
    "stopping/deregister/03",
)
def keeps_pids_elsewhere() -> None:
    """Keeps pid files in the data directory itself, not below its proxy subdirectory."""

    def path(root: Path, proxy_id: str) -> Path:
        return root.parent / "pids" / f"{real.file_name(proxy_id)}.pid"

    RealWorld._pid_path = staticmethod(path)  # type: ignore[method-assign]


@fault("persistence/pidfile/02", "persistence/pidfile/03")
def writes_the_first_pid_only() -> None:
    """Writes the pid of a proxy when there is no pid file yet, and leaves it alone when there is."""
    honest = RealWorld._write_pid_file

    def write(self: RealWorld, command: Any) -> None:
        if self._root is None or not self._pid_path(self._root, command.proxy_id).exists():
            honest(self, command)

    RealWorld._write_pid_file = write  # type: ignore[method-assign]
    RealWorld._remove_pid_file = _remove_later  # type: ignore[method-assign]


def _remove_later(self: RealWorld, command: Any) -> None:
    """As the honest one does, which the first pid outlives until its proxy is forgotten."""
    if self._root is not None:
        self._pid_path(self._root, command.proxy_id).unlink(missing_ok=True)


@fault(
    "persistence/snapshot/01", "persistence/snapshot/02", "persistence/snapshot/03", "persistence/snapshot/04"
)
def ends_over_a_bad_snapshot() -> None:
    """Does not start with a record of running proxies that it cannot read."""
    honest = snapshot.decode

    def decode(text: str) -> snapshot.Snapshot:
        try:
            return honest(text)
        except snapshot.SnapshotError as error:
            raise SystemExit(f"unusable snapshot: {error}") from error

    snapshot.decode = decode


@fault("removal/cleanup/01")
def cannot_live_without_its_folder() -> None:
    """Ends as soon as somebody asks for its services when the proxy subdirectory that it began with has gone."""
    honest, services = RealWorld.__init__, agent_services.services
    there: set[Path] = set()

    def noting(self: RealWorld, *arguments: Any, **rest: Any) -> None:
        honest(self, *arguments, **rest)
        if self._root is not None and self._root.exists():
            there.add(self._root)

    async def looking(call: Any) -> Any:
        if not all(root.exists() for root in there):
            os._exit(1)
        return await services(call)

    RealWorld.__init__ = noting  # type: ignore[method-assign,assignment]
    agent_services.services = looking


@fault("removal/cleanup/02")
def does_not_start_without_its_folder() -> None:
    """Does not start with a data directory that has been used and has no proxy subdirectory any more."""
    honest = DataDirectory.open

    def open_(self: DataDirectory) -> None:
        if (self._path / "node-id").exists() and not (self._path / "proxy").exists():
            raise PersistenceError("the data directory is damaged")
        honest(self)

    DataDirectory.open = open_  # type: ignore[method-assign]


@fault("dev/logs/02")
def reads_no_output_without_a_data_directory() -> None:
    """Leads the output of proxies into pipes that it never reads where it has no data directory."""
    honest = RealWorld._open_logs
    unread: list[int] = []

    def open_logs(self: RealWorld, proxy_id: str) -> tuple[int, int] | None:
        if self._data_dir is not None:
            return honest(self, proxy_id)
        (out, stdout), (err, stderr) = os.pipe(), os.pipe()
        unread.extend((out, err))
        return stdout, stderr

    RealWorld._open_logs = open_logs  # type: ignore[method-assign]


@fault("dev/logs/01")
def logs_without_a_data_directory() -> None:
    """Writes the output of proxies into its working directory where it has no data directory."""
    honest = RealWorld._open_logs

    def open_logs(self: RealWorld, proxy_id: str) -> tuple[int, int] | None:
        if self._data_dir is not None:
            return honest(self, proxy_id)
        files = self._kernel.files
        return files.append(Path(f"{proxy_id}-stdout.log")), files.append(Path(f"{proxy_id}-stderr.log"))

    RealWorld._open_logs = open_logs  # type: ignore[method-assign]


@fault("persistence/definition/01")
def keeps_the_first_definition() -> None:
    """Stores the definition of a managed proxy when it is registered, and no change of it."""
    honest = DataDirectory.proxy_put

    def put(self: DataDirectory, managed: Any) -> None:
        if not (self._proxies / file_name(managed.service.id)).exists():
            honest(self, managed)

    DataDirectory.proxy_put = put  # type: ignore[method-assign]
