"""A machine in virtual time: clock, processes and ports; what it knows, everybody on it shares.

Pids are few, so that they come round within minutes instead of weeks. A pid is given to nobody else while it names a
process, a zombie, a thread, a group or a session, as on Linux.
"""

from __future__ import annotations

import heapq
import signal
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from reference.supervisor.simulation.chronicle import Chronicle
from reference.supervisor.simulation.disk import Disk
from reference.supervisor.simulation.programs import PROGRAMS, Program

PID_LIMIT = 200
#: An init that is slow to collect zombies lets so many of them stand around.
_ZOMBIES = 24
#: The kernel's resolution of start times, in seconds.
TICK = 0.01
#: Stands for the agent's program in a command, wherever upgrades have moved it.
OWN_PROGRAM = "<the agent's own program>"


class Breach(AssertionError):
    """Something happened that must never happen. ``rule`` names which of the rules it breaks."""

    def __init__(self, rule: str, text: str) -> None:
        super().__init__(text)
        self.rule = rule


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """What a process has from whoever started it. ``ours`` if an agent under test did, or one of its proxies.

    ``foreign`` is another user's: its environment cannot be read, and it cannot be signalled. ``parent`` is who
    collects it when it has ended; ``None`` is init.
    """

    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    ours: bool = False
    foreign: bool = False
    parent: object = None
    dies_with_parent: bool = False


#: Somebody's, and none of our business.
STRANGER = Origin()


@dataclass(eq=False, slots=True)
class SimulatedProcess:
    """A process of the machine."""

    pid: int
    name: str
    start_time: int
    started_at: float
    group: int
    session: int
    program: Program
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    ours: bool
    foreign: bool
    parent: object
    dies_with_parent: bool
    port: int | None = None
    threads: tuple[int, ...] = ()
    ending: bool = False
    zombie: bool = False
    exit_code: int = 0
    on_exit: list[Callable[[], None]] = field(default_factory=list)

    @property
    def leader(self) -> bool:
        return self.session == self.pid

    @property
    def command(self) -> tuple[str, ...]:
        """What was executed, wherever the agent's own program was at the time."""
        program, rest = self.arguments[:1], self.arguments[1:]
        return (*(name if _given(name) else OWN_PROGRAM for name in program), *rest)

    @property
    def lane(self) -> str:
        return f"{self.name} {self.pid}"


class Machine:
    """``lazy_init`` is slow to collect zombies, as in many containers; an ``old_kernel`` has no group pidfds."""

    def __init__(self, *, lazy_init: bool = False, old_kernel: bool = False) -> None:
        self.time = 0.0
        self.booted_at = 0.0
        #: Seconds since boot in which it was suspended: start times count them, the monotonic clock does not.
        self.asleep = 0.0
        #: What the wall clock is wrong by.
        self.wall_error = 0.0
        self.boots = 1
        #: Counts the upgrades: each moves the program of the agent, and takes the old one away.
        self.version = 1
        self.old_kernel = old_kernel
        self.processes: dict[int, SimulatedProcess] = {}
        self.disk = Disk()
        self.chronicle = Chronicle()
        #: From here on programs that crash by themselves no longer do.
        self.calm = False
        #: The port that a proxy is told to listen on by an agent that is up; set by whoever plays the agent.
        self.port_of: Callable[[str], int | None] = lambda _: None
        self._lazy_init = lazy_init
        self._uncollected: deque[SimulatedProcess] = deque()
        self._next_pid = 2
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = 0

    def note(self, who: str, kind: str, text: str) -> None:
        self.chronicle.add(self.time, who, kind, text)

    # --- time ----------------------------------------------------------------------------------------

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Do something ``seconds`` from now, unless the machine is rebooted before."""
        self._sequence += 1
        heapq.heappush(self._agenda, (self.time + max(0.0, seconds), self._sequence, action))

    def step(self, until: float) -> bool:
        """Let the next thing happen that is due before ``until``; ``False`` when there is none."""
        if not self._agenda or self._agenda[0][0] > until:
            self.time = max(self.time, until)
            return False
        self.time, _, action = heapq.heappop(self._agenda)
        action()
        return True

    # --- processes -----------------------------------------------------------------------------------

    def spawn(
        self,
        name: str,
        program: Program,
        origin: Origin = STRANGER,
        *,
        session: int | None = None,
        threads: int = 0,
    ) -> SimulatedProcess:
        """Start a process, the leader of a new session unless one is given."""
        pid = self._new_pid()
        process = SimulatedProcess(
            pid=pid,
            name=name,
            program=program,
            start_time=1 + int((self.time - self.booted_at + self.asleep) / TICK),
            started_at=self.time,
            group=pid if session is None else session,
            session=pid if session is None else session,
            arguments=origin.arguments,
            environment=origin.environment,
            ours=origin.ours,
            foreign=origin.foreign,
            parent=origin.parent,
            dies_with_parent=origin.dies_with_parent,
        )
        self.processes[pid] = process
        process.threads = tuple(self._new_pid() for _ in range(threads))
        self.note(process.lane, "begin", "starts" if process.leader else f"starts in session {session}")
        if program.run is not None and not self.calm:
            self.after(program.run, lambda: self.end(process, "crashes", code=1))
        return process

    def run_proxy(self, name: str, origin: Origin) -> SimulatedProcess:
        """Start a program that listens where the agent has told it to, with its children."""
        program = PROGRAMS[program_name(origin.arguments[0])]
        process = self.spawn(name, program, origin)
        for _ in range(program.children):
            self.spawn(name, PROGRAMS["deaf"], replace(origin, parent=None), session=process.pid)
        self.after(0.02, lambda: self.listen(process))
        return process

    def listen(self, process: SimulatedProcess) -> None:
        """Have a proxy take the port that its agent names now, if one is there; end it if that port is taken."""
        if process.zombie or self.processes.get(process.pid) is not process:
            return
        port = self.port_of(process.name)
        if port is None or port == process.port:
            return
        if any(other.session != process.session for other in self.listeners(port)):
            self.end(process, f"cannot listen on {port}, which is taken", code=1)
            return
        for member in self.session(process.session):
            member.port = port

    def listeners(self, port: int) -> Iterator[SimulatedProcess]:
        return (p for p in self.processes.values() if p.port == port and not p.zombie)

    def session(self, number: int) -> list[SimulatedProcess]:
        return [p for p in self.processes.values() if p.session == number and not p.zombie]

    def end(self, process: SimulatedProcess, text: str, *, code: int) -> None:
        """The process ends; it stays a zombie until its parent collects it."""
        if process.zombie or self.processes.get(process.pid) is not process:
            return
        self.note(process.lane, "end", text)
        process.zombie, process.exit_code, process.port = True, code, None
        process.threads = ()
        if process.parent is None:
            self.orphaned(process)
        for heard in tuple(process.on_exit):
            heard()

    def orphaned(self, process: SimulatedProcess) -> None:
        """Its parent is gone: init collects it, if this init does."""
        process.parent = None
        if process.zombie:
            self._uncollected.append(process)
        while len(self._uncollected) > (_ZOMBIES if self._lazy_init else 0):
            self.collect(self._uncollected.popleft())

    def collect(self, process: SimulatedProcess) -> None:
        """Its pid may be used again."""
        if self.processes.get(process.pid) is process:
            del self.processes[process.pid]

    def signal(self, process: SimulatedProcess, number: int, *, by: str) -> None:
        """Deliver a signal. Raises :class:`Breach` when an agent sends it to a stranger."""
        if number == 0 or process.zombie:
            return
        name = signal.Signals(number).name
        self.note(process.lane, "signal", f"{name} from {by}")
        if not process.ours:
            raise Breach("stranger", f"{name} was sent to {process.lane}, a stranger")
        seconds = process.program.kill if number == signal.SIGKILL else process.program.interrupt
        if seconds is None or (process.ending and number != signal.SIGKILL):
            return
        process.ending = True
        self.after(seconds, lambda: self.end(process, f"ends by {name}", code=-number))

    # --- accidents -----------------------------------------------------------------------------------

    def turn_pids_back_to(self, pid: int) -> None:
        """Have the numbers come round: the next process gets this pid if it is free."""
        self._next_pid = pid

    def reboot(self, kept: float) -> None:
        """Power off and on: no process survives; pids, ticks and the monotonic clock begin anew."""
        for process in self.processes.values():
            self.note(process.lane, "end", "ends with the power")
        self.processes.clear()
        self._uncollected.clear()
        self._agenda.clear()
        self.disk.lose_power(kept)
        self.booted_at, self.asleep = self.time, 0.0
        self.boots += 1
        self._next_pid = 2

    def _new_pid(self) -> int:
        taken = set(self.processes)
        for process in self.processes.values():
            taken.update((process.group, process.session, *process.threads))
        for _ in range(PID_LIMIT):
            pid = self._next_pid
            self._next_pid = pid + 1 if pid + 1 < PID_LIMIT else 2
            if pid not in taken:
                return pid
        raise RuntimeError("the simulated machine has no pid left")


def program_name(executable: str) -> str:
    """Which program a path names: ``/opt/deaf/proxy`` is a deaf one, an agent's own path its polite built-in one."""
    return executable.split("/")[2] if _given(executable) else "polite"


def _given(executable: str) -> bool:
    """Whether an operator gave it, and not the agent."""
    return executable.startswith("/opt/")
