"""Ending proxies, and what is left of them."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from reference.agent.checks import HealthChecks
from reference.agent.observers import ProcessFeed
from reference.agent.persistence import DataDirectory
from reference.agent.proxies import Managed
from reference.agent.services import LocalState
from reference.supervisor import events, processes
from reference.supervisor.core import Supervisor
from reference.supervisor.kernel import Kernel
from reference.supervisor.linux import Linux
from reference.supervisor.real import RealWorld
from reference.supervisor.runner import ManagedProxies
from reference.supervisor.spec import Process, ProxyState, Timings
from tests.faulty import fault
from tests.faulty._seams import handles, timed

_A_DAY = 86400.0


@fault("stopping/retry/01")
def gives_up_on_the_stubborn() -> None:
    """Kills a proxy that does not end when it is asked to, and never looks whether that helped."""
    honest = Supervisor.__init__

    def careless(self: Supervisor, *, timings: Timings | None = None, **rest: Any) -> None:
        honest(self, timings=replace(timings or Timings(), kill_retry=_A_DAY), **rest)

    Supervisor.__init__ = careless  # type: ignore[method-assign,assignment]


@fault("stopping/group/01", "stopping/group/02")
def leaves_children() -> None:
    """Signals the process of a proxy alone, and cares for nothing that it started."""

    def leader_only(kernel: Kernel, descriptor: int, pid: int, number: int) -> None:
        kernel.signal(descriptor, number)

    def kill_group(self: Linux, group: int, number: int) -> None:
        """Nothing."""

    def kill_remnants(kernel: Kernel, leader: Process) -> None:
        """Nothing."""

    processes.signal_group = leader_only
    processes.kill_remnants = kill_remnants
    Linux.kill_group = kill_group  # type: ignore[method-assign]


@fault(
    "removal/complete/01",
    "removal/complete/02",
    "removal/complete/03",
    "removal/reap/01",
    "stopping/deregister/03",
)
def forgets_to_clean_up() -> None:
    """Leaves the persisted definition of a proxy when its service goes."""

    def proxy_gone(self: DataDirectory, managed: Managed) -> None:
        """Nothing."""

    DataDirectory.proxy_gone = proxy_gone  # type: ignore[method-assign]


@fault("removal/reap/01")
def never_reaps() -> None:
    """Leaves services alone whose checks asked for their removal."""
    HealthChecks.reap = lambda self: None  # type: ignore[method-assign]


@fault("stopping/clean/01", "stopping/deregister/08", "stopping/escalate/01")
def asks_with_another_signal() -> None:
    """Asks proxies to end with SIGTERM where it was told nothing else."""
    timed(stop_signal="SIGTERM")


@fault("stopping/escalate/01")
def is_impatient() -> None:
    """Kills a proxy that has not ended four seconds after it was asked to."""
    timed(stop_grace=4.0)


@fault("stopping/escalate/01")
def is_patient() -> None:
    """Kills a proxy that has not ended nine seconds after it was asked to."""
    timed(stop_grace=9.0)


@fault(
    "lifecycle/reload/03",
    "stopping/deregister/01",
    "stopping/deregister/03",
    "stopping/deregister/05",
    disturbs=("stopping/deregister/07",),
)
def starts_what_it_has_stopped() -> None:
    """Starts a proxy once more after it was stopped for good."""
    honest, forget = Supervisor._remove_running, Supervisor._forget
    wanted: dict[str, Any] = {}

    def remove(self: Supervisor, proxy: Any, event: Any) -> None:
        wanted[proxy.proxy_id] = proxy.wanted
        honest(self, proxy, event)

    def forgetting(self: Supervisor, proxy: Any) -> None:
        proxy.wanted = wanted.pop(proxy.proxy_id, None)
        if proxy.wanted is None:
            forget(self, proxy)
        else:
            self._start(proxy)

    handles(ProxyState.RUNNING, events.Removed, remove)
    Supervisor._forget = forgetting  # type: ignore[method-assign]


@fault(
    "stopping/deregister/02",
    "stopping/deregister/06",
    "removal/complete/01",
    "removal/complete/02",
    "removal/complete/03",
    "removal/reap/01",
)
def leaves_checks() -> None:
    """Leaves the check of a proxy behind when its service goes."""
    HealthChecks.proxy_gone = lambda self, managed: None  # type: ignore[method-assign]


@fault("stopping/deregister/04")
def deregisters_proxies_alone() -> None:
    """Removes a managed proxy by itself when it is asked to deregister it."""
    honest = LocalState.deregister

    def deregister(self: LocalState, service_id: str) -> bool:
        managed = self.proxy(service_id)
        if managed is None:
            return honest(self, service_id)
        self._drop_proxy(managed)
        return True

    LocalState.deregister = deregister  # type: ignore[method-assign]


@fault("stopping/deregister/05", "removal/complete/01")
def stops_all_for_one() -> None:
    """Stops the proxies of all services when one is deregistered."""
    honest = ProcessFeed.proxy_gone

    def proxy_gone(self: ProcessFeed, managed: Managed) -> None:
        honest(self, managed)
        for proxy_id in tuple(self._running):
            self._running.remove(proxy_id)
            self._processes.remove(proxy_id)

    ProcessFeed.proxy_gone = proxy_gone  # type: ignore[method-assign]


@fault("stopping/deregister/06")
def drops_all_checks_for_one() -> None:
    """Drops the checks of all proxies when the service of one is deregistered."""
    honest = HealthChecks.proxy_gone

    def proxy_gone(self: HealthChecks, managed: Managed) -> None:
        honest(self, managed)
        for check_id in [known for known in self.records() if known.endswith("-proxy")]:
            self._drop(check_id)

    HealthChecks.proxy_gone = proxy_gone  # type: ignore[method-assign]


@fault("stopping/deregister/07")
def forgets_what_waits() -> None:
    """Goes on with a back-off when the service of the proxy is deregistered."""
    handles(ProxyState.BACKOFF, events.Removed, lambda self, proxy, event: None)


@fault("lifecycle/adopt/05", "lifecycle/adopt/07", "lifecycle/adopt/12", "stopping/deregister/08")
def cannot_stop_what_it_adopted() -> None:
    """Signals no process that it has not started itself."""
    honest = RealWorld._signal

    def signal_own(self: RealWorld, command: Any) -> None:
        watched = self._watched.get(command.proxy_id)
        if watched is not None and watched.child is not None:
            honest(self, command)

    RealWorld._signal = signal_own  # type: ignore[method-assign]


@fault("dev/exit/01", "dev/exit/02", "dev/exit/03", "dev/exit/04")
def leaves_proxies_of_development() -> None:
    """Leaves its proxies running when it ends, also where nobody can find them again."""
    honest, launch = ManagedProxies.shut_down, Linux.launch

    async def shut_down(self: ManagedProxies, *, stop: bool) -> None:
        await honest(self, stop=False)

    ManagedProxies.shut_down = shut_down  # type: ignore[method-assign]
    Linux.launch = lambda self, order: launch(self, replace(order, dies_with_parent=False))  # type: ignore[method-assign]


@fault("lifecycle/reload/02")
def kills_what_has_changed() -> None:
    """Kills a proxy whose command has changed, without asking it to end."""
    honest = Supervisor._stop

    def stop(self: Supervisor, proxy: Any, reason: str) -> None:
        timings = self._timings
        if "changed" in reason:
            self._timings = replace(timings, stop_signal="SIGKILL")
        honest(self, proxy, reason)
        self._timings = timings

    Supervisor._stop = stop  # type: ignore[method-assign]


@fault("dev/exit/03", "dev/exit/04")
def asks_and_does_not_look_back() -> None:
    """Asks its proxies to end when it ends where nobody can find them again, and does not wait for that."""
    honest, launch = ManagedProxies.shut_down, Linux.launch

    async def shut_down(self: ManagedProxies, *, stop: bool) -> None:
        if stop:
            self._runner.feed(events.AgentStopping())
        await honest(self, stop=False)

    ManagedProxies.shut_down = shut_down  # type: ignore[method-assign]
    Linux.launch = lambda self, order: launch(self, replace(order, dies_with_parent=False))  # type: ignore[method-assign]
