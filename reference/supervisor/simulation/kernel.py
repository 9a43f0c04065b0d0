"""The simulated machine as one agent sees it: the ``Kernel`` port, in which the agent can die at every call."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from reference.supervisor.kernel import Launch, Stat
from reference.supervisor.simulation.disk import SimulatedFiles
from reference.supervisor.simulation.machine import Breach, Machine, Origin, SimulatedProcess, program_name
from reference.supervisor.simulation.programs import PROGRAMS

#: How long it takes until an agent hears of the end of a process.
_NEWS = 0.001


class AgentKilled(BaseException):
    """The agent died here. Nothing catches it on the way, as nothing would in a process that is gone."""


class SimulatedKernel:
    """One life of one agent. Everything the agent does happens within :meth:`run`."""

    def __init__(self, machine: Machine, name: str, *, on_death: Callable[[], None]) -> None:
        self.machine = machine
        self.name = name
        self.alive = True
        #: After this many more calls the agent is killed; ``None`` lets it live.
        self.calls_left: int | None = None
        #: Until then it is stalled: it hears and does nothing.
        self.stalled_until = 0.0
        self._on_death = on_death
        self._files = SimulatedFiles(machine.disk, self.call)
        self._held: dict[int, SimulatedProcess] = {}
        self._watching: dict[int, Callable[[], None]] = {}
        self._next = 1000

    @property
    def files(self) -> SimulatedFiles:
        return self._files

    # --- life and death ------------------------------------------------------------------------------

    def run(self, action: Callable[[], None]) -> None:
        """Let the agent do something; it may die of it."""
        try:
            if self.alive:
                action()
        except AgentKilled:
            self.die("is killed")

    def call(self) -> None:
        """A moment in which the agent may die."""
        if not self.alive:
            raise AgentKilled
        if self.calls_left is not None:
            self.calls_left -= 1
            if self.calls_left < 0:
                raise AgentKilled

    def die(self, text: str) -> None:
        """The agent's process is gone, and whatever the kernel kept for it."""
        if not self.alive:
            return
        self.alive = False
        self.machine.note(self.name, "end", text)
        self._files.abandon()
        for process in list(self.machine.processes.values()):
            if process.parent is self:
                if process.dies_with_parent and self.kills_orphans():
                    self.machine.end(process, "ends with its agent", code=-signal.SIGKILL)
                self.machine.orphaned(process)
        self._on_death()

    def kills_orphans(self) -> bool:
        """Whether the death signal that was asked for is delivered."""
        return True

    def _later(self, seconds: float, action: Callable[[], None], *, last: bool = False) -> None:
        """Have the agent do something, but not while it is stalled; when it wakes, news come ``last``.

        So does its event loop: timers that are due come before what there is to read.
        """

        def now() -> None:
            wait = self.stalled_until - self.machine.time
            if self.alive and wait > 0:
                self.machine.after(wait + (_NEWS if last else 0.0), now)
            else:
                self.run(action)

        self.machine.after(seconds, now)

    # --- time ----------------------------------------------------------------------------------------

    def now(self) -> float:
        return self.machine.time - self.machine.booted_at

    def call_later(self, seconds: float, action: Callable[[], None]) -> _Alarm:
        self.call()
        alarm = _Alarm(action)
        self._later(seconds, alarm.ring)
        return alarm

    def boot_id(self) -> str:
        return f"boot-{self.machine.boots}"

    # --- looking at processes ------------------------------------------------------------------------

    def pids(self) -> list[int]:
        self.call()
        return list(self.machine.processes)

    def stat(self, pid: int) -> Stat | None:
        self.call()
        process = self.machine.processes.get(pid)
        if process is None:
            process = next((p for p in self.machine.processes.values() if pid in p.threads), None)
        if process is None:
            return None
        return Stat(
            state="Z" if process.zombie else "S",
            threads=1 + len(process.threads),
            group=process.group,
            session=process.session,
            start_time=process.start_time,
        )

    def environment(self, pid: int) -> Mapping[str, str] | None:
        process = self._process(pid)
        if process is None or process.foreign:
            return None
        return {} if process.zombie else process.environment

    def arguments(self, pid: int) -> tuple[str, ...]:
        process = self._process(pid)
        return () if process is None or process.zombie else process.arguments

    def _process(self, pid: int) -> SimulatedProcess | None:
        self.call()
        return self.machine.processes.get(pid)

    def can_bind(self, address: str, port: int) -> bool:
        """Whether nobody listens on this port."""
        self.call()
        return not any(self.machine.listeners(port))

    # --- starting and holding them -------------------------------------------------------------------

    def launch(self, launch: Launch) -> _Child:
        self.call()
        path = launch.executable
        program = PROGRAMS[program_name(path)]
        own_path = not path.startswith("/opt/")
        if (own_path and path != self.executable) or not (program.executable or self.machine.calm):
            raise _error(errno.ENOENT, path)
        origin = Origin(
            arguments=tuple(launch.arguments),
            environment=dict(launch.environment),
            ours=True,
            parent=self,
            dies_with_parent=launch.dies_with_parent,
        )
        process = self.machine.run_proxy(launch.environment["CONNECT_PROXY_ID"], origin)
        self.call()
        return _Child(self, process)

    @property
    def executable(self) -> str:
        """Where the agent's own program is now."""
        return f"/usr/lib/agent-{self.machine.version}/proxyproof"

    def open_pidfd(self, pid: int) -> int:
        process = self._process(pid)
        if process is None:
            thread = any(pid in p.threads for p in self.machine.processes.values())
            raise _error(errno.EINVAL if thread else errno.ESRCH)
        self._next += 1
        self._held[self._next] = process
        return self._next

    def close_pidfd(self, descriptor: int) -> None:
        self.call()
        del self._held[descriptor]

    def on_exit(self, descriptor: int, action: Callable[[], None]) -> None:
        self.call()
        self._watching[descriptor] = action
        process = self._held[descriptor]

        def ended() -> None:
            self._later(_NEWS, lambda: self._tell(descriptor), last=True)

        if process.zombie or not self._exists(process):
            ended()
        else:
            process.on_exit.append(ended)

    def forget_exit(self, descriptor: int) -> None:
        self.call()
        self._watching.pop(descriptor, None)

    def _tell(self, descriptor: int) -> None:
        action = self._watching.get(descriptor)
        if action is not None:
            action()

    # --- signalling ----------------------------------------------------------------------------------

    def held(self, descriptor: int) -> SimulatedProcess:
        """The process behind a pidfd. Raises :class:`ProcessLookupError` when it was collected."""
        process = self.descriptor(descriptor)
        if not self._exists(process):
            raise _error(errno.ESRCH)
        return process

    def descriptor(self, descriptor: int) -> SimulatedProcess:
        """What a pidfd was opened for, collected or not."""
        return self._held[descriptor]

    def signal(self, descriptor: int, number: int) -> None:
        self.call()
        self._deliver([self.held(descriptor)], number)

    def signal_group(self, descriptor: int, number: int) -> None:
        self.call()
        if self.machine.old_kernel:
            raise _error(errno.EINVAL)
        self._deliver(self.members(self.held(descriptor).pid), number)

    def kill_group(self, group: int, number: int) -> None:
        self.call()
        members = self.members(group)
        if not members:
            raise _error(errno.ESRCH)
        self._deliver(members, number)

    def members(self, group: int) -> list[SimulatedProcess]:
        """The processes of a group."""
        return [p for p in self.machine.processes.values() if p.group == group]

    def _deliver(self, targets: list[SimulatedProcess], number: int) -> None:
        if targets and all(process.foreign for process in targets):
            raise _error(errno.EPERM)
        for process in targets:
            if not process.foreign:
                self.machine.signal(process, number, by=self.name)

    def _exists(self, process: SimulatedProcess) -> bool:
        return self.machine.processes.get(process.pid) is process


@dataclass
class _Alarm:
    _action: Callable[[], None] | None

    def ring(self) -> None:
        if self._action is not None:
            self._action()

    def cancel(self) -> None:
        self._action = None


@dataclass(frozen=True)
class _Child:
    _kernel: SimulatedKernel
    _process: SimulatedProcess

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait(self) -> int:
        self._kernel.call()
        if not self._process.zombie:
            raise Breach("hang", f"the agent waits for {self._process.lane}, which runs")
        self._kernel.machine.collect(self._process)
        return self._process.exit_code

    def abandon(self) -> None:
        self._kernel.call()


def _error(number: int, path: str | None = None) -> OSError:
    return OSError(number, os.strerror(number), *(() if path is None else (path,)))
