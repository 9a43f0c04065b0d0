"""The ``World`` port on the simulated machine, step by step as the real one does it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from reference.supervisor import events as ev
from reference.supervisor import snapshot
from reference.supervisor.fingerprint import fingerprint
from reference.supervisor.simulation.machine import AGENT_ID, AgentKilled, Breach, Machine, SimulatedProcess
from reference.supervisor.spec import Process, ProxySpec
from reference.supervisor.world import Post

SNAPSHOT = "snapshot.json"


class Safeguard(StrEnum):
    """What the real world does to be right; each can be switched off to see that the simulator notices."""

    START_TIME = "start-time"
    BOOT_ID = "boot-id"
    SEARCH = "search"
    ATOMIC_REPLACE = "atomic-replace"
    SYNC = "sync"


@dataclass(frozen=True, kw_only=True)
class Habits:
    """How the programs of this machine behave: chances from 0 to 1."""

    start_fails: float = 0.05
    stubborn: float = 0.2
    crashes: float = 0.3


class SimulatedWorld:
    """One agent's hands on the machine; dead once the agent is."""

    def __init__(
        self,
        machine: Machine,
        post: Post,
        *,
        habits: Callable[[], Habits],
        without: frozenset[Safeguard] = frozenset(),
    ) -> None:
        self._machine = machine
        self._post = post
        self._habits = habits
        self._without = without
        self._watched: dict[str, tuple[Process, SimulatedProcess]] = {}
        self._timers: dict[str, object] = {}
        self.alive = True
        #: After this many more steps the agent is killed; ``None`` lets it live.
        self.steps_left: int | None = None

    def now(self) -> float:
        return self._machine.time

    def detach(self) -> None:
        self.alive = False

    def _step(self) -> None:
        """A moment in which the agent may die."""
        if self.steps_left is not None:
            self.steps_left -= 1
            if self.steps_left < 0:
                raise AgentKilled

    # --- memory --------------------------------------------------------------------------------------

    def remember(self) -> tuple[ev.Memory, ...]:
        memories = {memory.proxy_id: memory for memory in self._read_snapshot()}
        if Safeguard.SEARCH not in self._without:
            for process in self._machine.processes.values():
                memory = memories.get(process.proxy_id)
                if process.agent_id == AGENT_ID and (
                    memory is None or self._is_still(memory.process) is None
                ):
                    memories[process.proxy_id] = ev.Memory(
                        proxy_id=process.proxy_id,
                        process=self._identity(process),
                        fingerprint="",
                        starts=memory.starts if memory else 1,
                    )
        return tuple(memories.values())

    def _read_snapshot(self) -> tuple[ev.Memory, ...]:
        machine = self._machine
        text = machine.disk.read(SNAPSHOT)
        if text is None:
            return ()
        try:
            found = snapshot.decode(text)
        except snapshot.SnapshotError as error:
            raise Breach(f"the snapshot cannot be read: {error}") from None
        if found.boot_id != machine.boot and Safeguard.BOOT_ID not in self._without:
            return ()
        return found.memories

    def _identity(self, process: SimulatedProcess) -> Process:
        return Process(pid=process.pid, start_time=process.start_time, boot_id=self._machine.boot)

    def _is_still(self, remembered: Process | None) -> SimulatedProcess | None:
        """The process that has this identity now."""
        found = self._machine.processes.get(remembered.pid) if remembered else None
        if found is None or remembered is None:
            return None
        if Safeguard.START_TIME not in self._without and found.start_time != remembered.start_time:
            return None
        return found

    # --- commands ------------------------------------------------------------------------------------

    def execute(self, command: ev.Command) -> None:
        self._step()
        match command:
            case ev.Seek():
                self._seek(command)
            case ev.Spawn(spec=spec):
                self._spawn(spec)
            case ev.Signal(proxy_id=proxy_id, process=process, signal=name):
                if proxy_id in self._watched and self._watched[proxy_id][0] == process:
                    self._machine.signal(process.pid, name)
            case ev.SetTimer():
                self._set_timer(command)
            case ev.CancelTimer(proxy_id=proxy_id):
                self._timers.pop(proxy_id, None)
            case ev.Persist(memories=memories):
                text = snapshot.encode(snapshot.Snapshot(boot_id=self._machine.boot, memories=memories))
                self._replace(SNAPSHOT, text)
            case ev.WritePidFile(proxy_id=proxy_id, pid=pid):
                self._replace(f"{proxy_id}.pid", str(pid))
            case ev.RemovePidFile(proxy_id=proxy_id):
                self._machine.disk.remove(f"{proxy_id}.pid")

    def _seek(self, command: ev.Seek) -> None:
        spec, memory = command.spec, command.memory
        found = self._is_still(memory.process) if memory else None
        if found is None or memory is None or memory.process is None:
            self._post(ev.Sought(proxy_id=command.proxy_id, process=None, current=False))
            return
        started_from = memory.fingerprint or found.fingerprint
        current = spec is not None and fingerprint(spec) == started_from
        self._adopt(command.proxy_id, memory.process, found, current=current)

    def _adopt(self, proxy_id: str, identity: Process, found: SimulatedProcess, *, current: bool) -> None:
        self._machine.note(f"process {found.pid} is adopted for {proxy_id}")
        self._watch(proxy_id, identity, found)
        self._post(ev.Sought(proxy_id=proxy_id, process=identity, current=current))

    def _spawn(self, spec: ProxySpec) -> None:
        machine, habits = self._machine, self._habits()
        if machine.random.random() < habits.start_fails:
            self._post(ev.StartFailed(proxy_id=spec.proxy_id, reason="cannot execute it"))
            return
        process = SimulatedProcess(
            pid=0,
            start_time=0,
            proxy_id=spec.proxy_id,
            agent_id=AGENT_ID,
            fingerprint=fingerprint(spec),
            stubborn=machine.random.random() < habits.stubborn,
        )
        machine.spawn(process)
        machine.note(f"process {process.pid} starts for {spec.proxy_id}")
        if machine.random.random() < habits.crashes:
            machine.at(machine.random.expovariate(1 / 20), lambda: machine.end(process, "crashed"))
        self._step()
        identity = self._identity(process)
        self._watch(spec.proxy_id, identity, process)
        self._post(ev.Started(proxy_id=spec.proxy_id, process=identity))

    def _watch(self, proxy_id: str, identity: Process, process: SimulatedProcess) -> None:
        self._watched[proxy_id] = (identity, process)

        def gone(reason: str) -> None:
            if self.alive and self._watched.get(proxy_id, (None, None))[1] is process:
                del self._watched[proxy_id]
                self._post(ev.Exited(proxy_id=proxy_id, process=identity, reason=reason))

        process.on_exit.append(gone)

    def _set_timer(self, command: ev.SetTimer) -> None:
        ticket = object()
        self._timers[command.proxy_id] = ticket

        def fire() -> None:
            if self.alive and self._timers.get(command.proxy_id) is ticket:
                del self._timers[command.proxy_id]
                self._post(ev.TimerFired(proxy_id=command.proxy_id, timer=command.timer))

        self._machine.at(command.seconds, fire)

    def _replace(self, name: str, text: str) -> None:
        disk = self._machine.disk
        try:
            if Safeguard.ATOMIC_REPLACE in self._without:
                disk.write(name, text[: len(text) // 2])
                self._step()
                disk.write(name, text)
                disk.sync(name)
                return
            disk.write(f"{name}.new", text)
            self._step()
            if Safeguard.SYNC not in self._without:
                disk.sync(f"{name}.new")
            disk.rename(f"{name}.new", name)
        except OSError as error:
            self._machine.note(f"cannot write {name}: {error}")
