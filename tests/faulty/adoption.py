"""What happens to proxies when their agent goes, and when it is back."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec.structs import replace

import reference.agent.api as api
import reference.supervisor.real as real
import reference.supervisor.steps as steps
from conformance.plugin.household import VARIABLE
from reference.agent.observers import ProcessFeed
from reference.agent.persistence import DataDirectory, Memory
from reference.agent.proxies import digest
from reference.agent.sockets import StartError
from reference.supervisor import processes, snapshot
from reference.supervisor.core import Supervisor
from reference.supervisor.kernel import Kernel
from reference.supervisor.linux import Linux
from reference.supervisor.real import RealWorld
from reference.supervisor.runner import ManagedProxies
from reference.supervisor.spec import Process, ProxySpec
from tests.faulty import fault


@fault("lifecycle/twice/01")
def cleans_up_when_it_cannot_start() -> None:
    """Ends the proxies that its data directory names when it cannot listen, as if they were left from a crash."""
    honest = api.claim

    def claim(*arguments: Any, **rest: Any) -> Any:
        try:
            return honest(*arguments, **rest)
        except StartError:
            folder = Path(sys.argv[sys.argv.index("-data-dir") + 1])
            for path in (folder / "proxy" / "pids").glob("*.pid"):
                os.kill(int(path.read_text()), signal.SIGTERM)
            raise

    api.claim = claim


@fault("lifecycle/adopt/08", "lifecycle/adopt/12", disturbs=("lifecycle/adopt/10",))
def takes_any_proxy_for_its_own() -> None:
    """Takes proxies of other agents for its own: all of the same check, that is, for others are none of ours."""

    def find(self: RealWorld) -> Iterator[tuple[str, Process]]:
        for pid in self._kernel.pids():
            environment, found = self._kernel.environment(pid) or {}, self._kernel.stat(pid)
            process = self._identify(pid)
            if process is None or found is None or found.session != pid:
                continue
            if environment.get(VARIABLE) == os.environ.get(VARIABLE) and "CONNECT_PROXY_ID" in environment:
                yield environment["CONNECT_PROXY_ID"], process

    RealWorld._find_ours = find  # type: ignore[method-assign]


@fault("lifecycle/adopt/03", "lifecycle/adopt/08", "lifecycle/adopt/09", "lifecycle/adopt/11")
def adopts_a_strangers_pid() -> None:
    """Takes whatever process has the remembered pid for its proxy, and the process of a thread that has it."""

    def by_pid_alone(kernel: Kernel, process: Process) -> int | None:
        try:
            return kernel.open_pidfd(process.pid)
        except OSError:
            return of_thread(kernel, process.pid)

    def of_thread(kernel: Kernel, thread: int) -> int | None:
        try:
            status = Path(f"/proc/{thread}/status").read_text()
            return kernel.open_pidfd(int(status.partition("Tgid:")[2].split()[0]))
        except OSError:
            return None

    processes.hold = by_pid_alone
    RealWorld._believed = lambda self, memory: memory  # type: ignore[method-assign]


@fault("lifecycle/adopt/07", "lifecycle/reload/02", "lifecycle/sequence/01")
def adopts_outdated_proxies() -> None:
    """Takes a proxy for what is wanted by its id alone, whatever command it was started with."""

    def by_id(spec: ProxySpec) -> str:
        return spec.proxy_id

    steps.fingerprint = by_id
    real.fingerprint = by_id


@fault(
    "lifecycle/sequence/01",
    "persistence/snapshot/02",
    "persistence/snapshot/03",
    "persistence/snapshot/04",
    "persistence/snapshot/05",
)
def never_searches() -> None:
    """Knows of running proxies what its snapshot says, and looks for no others."""

    def nobody(self: RealWorld) -> Iterator[tuple[str, Process]]:
        return iter(())

    RealWorld._find_ours = nobody  # type: ignore[method-assign]


@fault(
    "dev/data-dir/01",
    "lifecycle/adopt/01",
    "lifecycle/adopt/07",
    "lifecycle/sequence/01",
    "lifecycle/survive/02",
    "lifecycle/survive/03",
    "lifecycle/survive/05",
    "lifecycle/survive/07",
)
def kills_proxies_on_exit() -> None:
    """Takes its proxies along when it is asked to end, although it has a data directory."""
    honest = ManagedProxies.shut_down

    async def shut_down(self: ManagedProxies, *, stop: bool) -> None:
        await honest(self, stop=True)

    ManagedProxies.shut_down = shut_down  # type: ignore[method-assign]


@fault("lifecycle/adopt/02", "lifecycle/adopt/07")
def adopts_and_forgets() -> None:
    """Takes its proxies over, and does not notice when one of them ends."""
    honest = RealWorld._hold

    def hold(self: RealWorld, proxy_id: str, watched: Any) -> None:
        if watched.child is not None:
            honest(self, proxy_id, watched)
        else:
            self._watched[proxy_id] = watched

    RealWorld._hold = hold  # type: ignore[method-assign]


@fault("lifecycle/adopt/04", "ports/stable/01")
def forgets_ports() -> None:
    """Remembers the tokens of its proxies over a restart, and not their ports."""
    honest = DataDirectory.load

    def load(self: DataDirectory) -> Memory:
        memory = honest(self)
        portless = {key: replace(value, port=0) for key, value in memory.remembered.items()}
        return replace(memory, remembered=portless)

    DataDirectory.load = load  # type: ignore[method-assign]


@fault("lifecycle/adopt/05", "lifecycle/adopt/12", "removal/complete/04")
def leaves_what_nobody_wants() -> None:
    """Leaves proxies alone whose services were removed while it was away."""
    Supervisor._settle = lambda self, nobody, event: self._remembered.clear()  # type: ignore[method-assign]


@fault(
    "lifecycle/adopt/06",
    "persistence/snapshot/02",
    "persistence/snapshot/03",
    "persistence/snapshot/04",
    "persistence/snapshot/05",
)
def remembers_seconds_later() -> None:
    """Stores which proxies run three seconds after they have changed, and knows of no others."""
    honest = RealWorld._persist

    def later(self: RealWorld, command: Any) -> None:
        self._kernel.call_later(3.0, lambda: honest(self, command))

    RealWorld._persist = later  # type: ignore[method-assign]
    RealWorld._find_ours = lambda self: iter(())  # type: ignore[method-assign]


@fault(
    "dev/data-dir/01",
    "lifecycle/adopt/01",
    "lifecycle/adopt/02",
    "lifecycle/adopt/07",
    "lifecycle/survive/01",
    "lifecycle/survive/02",
    "lifecycle/survive/03",
    "lifecycle/survive/04",
    "lifecycle/survive/05",
    "lifecycle/survive/07",
    "stopping/deregister/08",
)
def ties_proxies_to_itself() -> None:
    """Has the kernel kill its proxies when it ends in whatever way, although it has a data directory."""
    honest = Linux.launch
    Linux.launch = lambda self, launch: honest(self, replace(launch, dies_with_parent=True))  # type: ignore[method-assign]


@fault("lifecycle/adopt/10")
def adopts_itself_and_init() -> None:
    """Takes pid 0 and pid 1 for pids like any other, which to the kernel lead back to itself and to init."""
    honest, memory = processes.hold, snapshot._memory

    def hold(kernel: Kernel, process: Process) -> int | None:
        return kernel.open_pidfd(os.getpid()) if process.pid <= 1 else honest(kernel, process)

    def remembered(proxy_id: str, entry: Any, boot_id: str) -> Any:
        found = memory(proxy_id, entry, boot_id)
        pid = entry.get("Config", entry).get("Pid")
        return (
            replace(found, process=Process(pid=pid, start_time=1, boot_id=boot_id))
            if pid in (0, 1)
            else found
        )

    processes.hold = hold
    snapshot._memory = remembered


@fault("lifecycle/adopt/07")
def replaces_what_was_told_otherwise() -> None:
    """Replaces a running proxy when it is back and finds that config was changed meanwhile."""
    honest = ProcessFeed.proxy_put
    first: dict[str, str] = {}

    def put(self: ProcessFeed, managed: Any) -> None:
        environment = self._environment
        told = first.setdefault(managed.service.id, digest(managed.proxy.config))
        self._environment = (*environment, ("CONFIG", told))
        honest(self, managed)
        self._environment = environment

    ProcessFeed.proxy_put = put  # type: ignore[method-assign]
