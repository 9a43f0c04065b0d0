"""A machine in virtual time: everything that outlives an agent."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

#: Few, so that pids recycle within minutes instead of weeks.
PID_LIMIT = 48
#: The kernel's resolution of start times, in seconds.
TICK = 0.01
#: The agent whose story is told, in all its lives.
AGENT_ID = "this-agent"


class Breach(AssertionError):
    """Something happened that must never happen, whatever the seed."""


class AgentKilled(Exception):
    """The agent died between two steps of what it was doing."""


@dataclass
class SimulatedProcess:
    """One process. ``agent_id`` is what its environment says; a stranger has none, or another agent's."""

    pid: int
    start_time: int
    proxy_id: str = ""
    agent_id: str = ""
    fingerprint: str = ""
    stubborn: bool = False
    on_exit: list[Callable[[str], None]] = field(default_factory=list)

    @property
    def stranger(self) -> bool:
        return self.agent_id != AGENT_ID


@dataclass
class Disk:
    """Files as text. What is written but not synced is lost with the power, and torn by a crash in between."""

    durable: dict[str, str] = field(default_factory=dict)
    cached: dict[str, str] = field(default_factory=dict)
    full: bool = False

    def read(self, name: str) -> str | None:
        return self.cached.get(name, self.durable.get(name))

    def write(self, name: str, text: str) -> None:
        if self.full:
            raise OSError("no space left on device")
        self.cached[name] = text

    def sync(self, name: str) -> None:
        if name in self.cached:
            self.durable[name] = self.cached.pop(name)

    def rename(self, old: str, new: str) -> None:
        """Takes the content as durable as it was: an unsynced file keeps its name and loses its bytes."""
        if old in self.cached:
            self.cached[new] = self.cached.pop(old)
            self.durable[new] = ""
        else:
            self.durable[new] = self.durable.pop(old)
            self.cached.pop(new, None)

    def remove(self, name: str) -> None:
        self.cached.pop(name, None)
        self.durable.pop(name, None)

    def lose_power(self) -> None:
        self.cached.clear()


class Machine:
    """Clock, process table, disk. ``trace`` tells what happened, a line each, the same for the same seed."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.time = 0.0
        self.booted_at = 0.0
        self.boot = "boot-1"
        self.processes: dict[int, SimulatedProcess] = {}
        self.disk = Disk()
        self.trace: list[str] = []
        self._next_pid = 2
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = 0

    def note(self, line: str) -> None:
        self.trace.append(f"{self.time:10.2f} {line}")

    # --- time ----------------------------------------------------------------------------------------

    def at(self, seconds: float, action: Callable[[], None]) -> None:
        """Do something ``seconds`` from now."""
        self._sequence += 1
        heapq.heappush(self._agenda, (self.time + seconds, self._sequence, action))

    def step(self, until: float) -> bool:
        """Let the next thing happen that is due before ``until``; ``False`` when there is none."""
        if not self._agenda or self._agenda[0][0] > until:
            self.time = max(self.time, until)
            return False
        self.time, _, action = heapq.heappop(self._agenda)
        action()
        return True

    # --- processes -----------------------------------------------------------------------------------

    def spawn(self, process: SimulatedProcess) -> SimulatedProcess:
        """Give the process a pid and a start time."""
        while self._next_pid in self.processes:
            self._advance_pid()
        process.pid = self._next_pid
        process.start_time = 1 + int((self.time - self.booted_at) / TICK)
        self.processes[process.pid] = process
        self._advance_pid()
        return process

    def _advance_pid(self) -> None:
        self._next_pid = 2 + (self._next_pid - 1) % (PID_LIMIT - 2)

    def end(self, process: SimulatedProcess, reason: str) -> None:
        """The process is gone; whoever watches it hears."""
        if self.processes.get(process.pid) is not process:
            return
        del self.processes[process.pid]
        self.note(f"process {process.pid} ({process.proxy_id or 'stranger'}) {reason}")
        for heard in tuple(process.on_exit):
            heard(reason)

    def signal(self, pid: int, name: str) -> None:
        """Deliver a signal to whoever has this pid now."""
        target = self.processes.get(pid)
        if target is None:
            return
        self.note(f"{name} to process {pid} ({target.proxy_id or 'stranger'})")
        if target.stranger:
            raise Breach(f"{name} was sent to process {pid}, a stranger")
        if name == "SIGKILL" or not target.stubborn:
            self.at(self.random.uniform(0.0, 0.5), lambda: self.end(target, f"ended by {name}"))

    def reboot(self) -> None:
        """Power off and on: no process survives, unsynced writes are lost, pids and ticks begin anew."""
        self.note("the machine reboots")
        for process in self.processes.values():
            process.on_exit.clear()
        self.processes.clear()
        self._agenda.clear()
        self.disk.lose_power()
        self.booted_at = self.time
        self.boot = f"boot-{int(self.boot.partition('-')[2]) + 1}"
        self._next_pid = 2
