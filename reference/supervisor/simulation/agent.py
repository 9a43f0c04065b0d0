"""An agent of the simulated machine: the real local state, data directory, supervisor and world, put together.

Left out are its faces (HTTP, DNS) and the mesh. An operator's request is one call of :meth:`SimulatedAgent.register`,
:meth:`~SimulatedAgent.deregister` or :meth:`~SimulatedAgent.reload`; when it returns, the request is acknowledged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from reference.agent.observers import ProcessFeed
from reference.agent.persistence import DataDirectory, Memory, restore
from reference.agent.services import LocalState, ProxySettings
from reference.catalog.watch import Watch
from reference.config.model import ManagedProxy, ProxyDefaults, ServiceDefinition
from reference.supervisor import events as ev
from reference.supervisor.core import TRANSITIONS, Supervisor
from reference.supervisor.real import RealWorld
from reference.supervisor.runner import Runner
from reference.supervisor.simulation.kernel import SimulatedKernel
from reference.supervisor.simulation.machine import OWN_PROGRAM
from reference.supervisor.simulation.schedule import BUILT_IN
from reference.supervisor.simulation.seeds import PORT_RANGE
from reference.supervisor.spec import ProxySpec, ProxyState, ProxyStatus

DATA = Path("/data")
SNAPSHOT = DATA / "proxy/snapshot.json"
PIDS = DATA / "proxy/pids"


_ARGUMENTS = ("connect", "proxy")


def command_of(program: str) -> tuple[str, ...]:
    """What is executed for a program; :attr:`SimulatedProcess.command` has the same."""
    return (OWN_PROGRAM, *_ARGUMENTS) if program == BUILT_IN else (f"/opt/{program}/proxy",)


@dataclass(frozen=True, kw_only=True)
class Definition:
    """What an operator wants of a service: its proxy's program, and its port if not any will do."""

    service: str
    program: str
    port: int = 0

    def given(self) -> ServiceDefinition:
        """The same as the agent reads it."""
        return ServiceDefinition(
            id=self.service,
            name=self.service,
            port=8000,
            proxy=ManagedProxy(
                command=() if self.program == BUILT_IN else command_of(self.program),
                config={"bind_port": self.port} if self.port else {},
            ),
        )


@dataclass(frozen=True, kw_only=True)
class Granted:
    """What an agent keeps for a proxy: it stays the same until the service is removed."""

    token: str = field(repr=False)
    port: int


class SimulatedAgent:
    """One life of an agent on a machine. ``dev`` has no data directory."""

    def __init__(
        self,
        kernel: SimulatedKernel,
        *,
        dev: bool,
        core: Supervisor,
        on_change: Callable[[str, ProxyStatus | None], None],
    ) -> None:
        self.kernel = kernel
        self.started_at = kernel.machine.time
        self._launcher = (kernel.executable,)
        self._dev = dev
        self._core = core
        self._on_change = on_change
        self.state: LocalState
        self._runner: Runner

    def start(self, files: Iterable[Definition]) -> None:
        """As the real agent does. Raises what the real one ends with: ``KeeperError``, ``PortsExhausted``."""
        kernel, directory, memory, agent_id = self.kernel, None, Memory(), "dev"
        if not self._dev:
            directory = DataDirectory(DATA, files=kernel.files)
            directory.open()
            memory, agent_id = directory.load(), directory.node_id()
        self.state = state = LocalState(
            ProxySettings(
                bind_addr="127.0.0.1",
                min_port=PORT_RANGE[0],
                max_port=PORT_RANGE[1],
                defaults=ProxyDefaults(),
                command=(*self._launcher, *_ARGUMENTS),
            ),
            watch=Watch(),
            remembered=memory.remembered,
            is_free=kernel.can_bind,
            shuffle=Random(kernel.name).shuffle,
        )
        for definition in files:
            state.register(definition.given(), from_file=True)
        for problem in restore(state, memory):
            kernel.machine.note(kernel.name, "note", problem)
        state.settle()
        if directory is not None:
            directory.keep(state)
        self._runner = Runner(
            self._core,
            world=lambda post: RealWorld(
                kernel,
                data_dir=None if self._dev else DATA,
                agent_id=agent_id,
                post=post,
                locate=lambda launcher: (kernel.executable,),
                release=kernel.executable,
            ),
            on_change=self._on_change,
        )
        self._runner.remember()
        state.attach(ProcessFeed(self, environment=(("HOME", "/"),), launcher=self._launcher))
        self._runner.feed(ev.Settled())

    # --- what an operator asks for -------------------------------------------------------------------

    def register(self, definition: Definition) -> None:
        self.state.register(definition.given(), from_file=False)

    def deregister(self, service: str) -> None:
        self.state.deregister(service)

    def reload(self, files: Iterable[Definition]) -> None:
        self.state.reconcile([definition.given() for definition in files])

    def restart(self, service: str) -> bool:
        """Whether there was a proxy to restart."""
        return self._tell(ev.Restart(proxy_id=f"{service}-proxy", reason="restarted by hand"))

    def hold(self, service: str) -> bool:
        """Whether there was a proxy to stop."""
        return self._tell(ev.Hold(proxy_id=f"{service}-proxy", reason="stopped by hand"))

    def _tell(self, event: ev.Restart | ev.Hold) -> bool:
        status = self._core.status().get(event.proxy_id)
        if status is None or (status.state, type(event)) not in TRANSITIONS:
            return False
        self._runner.feed(event)
        return True

    def detach(self) -> None:
        """The end that SIGTERM brings: every proxy stays."""
        self._runner.world.detach()

    # --- what can be seen of it ----------------------------------------------------------------------

    def shown(self, service: str) -> Definition | None:
        """The service as the agent has it, with the program ``""`` where it has no proxy."""
        if self.state.registration(service) is None:
            return None
        managed = self.state.proxy(f"{service}-proxy")
        if managed is None:
            return Definition(service=service, program="")
        program = managed.proxy.command[0].split("/")[2] if managed.own_command else BUILT_IN
        port = managed.proxy.config.get("bind_port", 0)
        return Definition(service=service, program=program, port=port)

    def granted(self, service: str) -> Granted | None:
        managed = self.state.proxy(f"{service}-proxy")
        return None if managed is None else Granted(token=managed.token, port=managed.service.port)

    def states(self) -> dict[str, ProxyState]:
        """What the supervisor says of each proxy."""
        return {proxy_id: status.state for proxy_id, status in self._core.status().items()}

    def running(self) -> set[int]:
        """The pids of its proxies that are not being stopped."""
        statuses = self._core.status().values()
        return {s.process.pid for s in statuses if s.state is ProxyState.RUNNING and s.process is not None}

    def outdated(self) -> set[str]:
        """The proxies of which the agent says that they run another release of its program."""
        return {proxy_id for proxy_id, status in self._core.status().items() if status.outdated}

    def port_of(self, proxy_id: str) -> int | None:
        managed = self.state.proxy(proxy_id)
        return None if managed is None else managed.service.port

    # --- the supervisor, for the process feed --------------------------------------------------------

    def define(self, spec: ProxySpec) -> None:
        self._runner.feed(ev.Defined(spec=spec))

    def remove(self, proxy_id: str) -> None:
        self._runner.feed(ev.Removed(proxy_id=proxy_id))
