"""A story: a schedule that is played on a machine, under the eyes of the watchman.

It has two phases. In the first the deeds of the schedule happen. Then accidents stop, and in the second phase exactly
what is wanted must come to run. The rules are in :mod:`~reference.supervisor.simulation.rules`.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from reference.agent.ports import PortsExhausted
from reference.agent.services import KeeperError
from reference.supervisor import snapshot
from reference.supervisor.core import Supervisor
from reference.supervisor.simulation import deeds
from reference.supervisor.simulation.agent import (
    PIDS,
    SNAPSHOT,
    Definition,
    Granted,
    SimulatedAgent,
    command_of,
)
from reference.supervisor.simulation.chronicle import Chronicle
from reference.supervisor.simulation.kernel import SimulatedKernel
from reference.supervisor.simulation.machine import OWN_PROGRAM, Breach, Machine, SimulatedProcess
from reference.supervisor.simulation.rules import Watchman
from reference.supervisor.simulation.safeguards import Safeguard, take_away
from reference.supervisor.simulation.schedule import IN_FILES, SERVICES, Schedule
from reference.supervisor.spec import ProxyStatus, Timings

TIMINGS = Timings()


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a story ended: with all rules kept, or at the breach of one (``rule``, and ``breach`` in words)."""

    schedule: Schedule
    rule: str
    breach: str
    chronicle: Chronicle


def play(
    schedule: Schedule,
    *,
    without: frozenset[Safeguard] = frozenset(),
    core: Callable[[], Supervisor] = lambda: Supervisor(timings=TIMINGS),
) -> Outcome:
    """Play a schedule to its end, or to the first breach, with some safeguards taken away."""
    story = Story(schedule, without=without, core=core)
    rule = breach = ""
    with silence():
        try:
            story.play()
        except Breach as error:
            rule, breach = error.rule, str(error)
        except Exception as error:
            rule, breach = "error", f"{type(error).__name__}: {error}"
    if rule:
        story.machine.note("rules", "breach", f"BROKEN ({rule}): {breach}")
    return Outcome(schedule=schedule, rule=rule, breach=breach, chronicle=story.machine.chronicle)


class Story:
    """What is going on: the machine, its agents, and what operators were promised."""

    def __init__(
        self, schedule: Schedule, *, without: frozenset[Safeguard], core: Callable[[], Supervisor]
    ) -> None:
        self.machine = Machine(
            lazy_init="lazy-init" in schedule.traits, old_kernel="old-kernel" in schedule.traits
        )
        self.machine.port_of = self._port_of
        self.dev = "dev" in schedule.traits
        self.watchman = Watchman(self.machine, TIMINGS)
        self.agents: list[SimulatedAgent] = []
        #: What the operator's files say, which the agent hears of when it starts or reloads.
        self.files: dict[str, Definition] = {}
        #: What was acknowledged, and what was granted to it.
        self.accepted: dict[str, Definition] = {}
        self.granted: dict[str, Granted] = {}
        #: Services of requests that were never answered: the old is as good as the new.
        self.doubtful: set[str] = set()
        #: Services of which the last request was refused.
        self.refused: set[str] = set()
        #: Services whose proxies were stopped by hand, until they are restarted or defined anew, or the agent is.
        self.held: set[str] = set()
        #: The process that each proxy had last.
        self.last: dict[str, SimulatedProcess] = {}
        #: What an accident left of the snapshot, which no agent is to blame for; ``()`` if none happened.
        self.spoilt: tuple[bytes | None, ...] = ()
        self._schedule = schedule
        self._without = without
        self._core = core
        self._lives = 0

    # --- the two phases ------------------------------------------------------------------------------

    def play(self) -> None:
        for deed in self._schedule.deeds:
            self.run_until(deed.at)
            self.machine.note("deed", "deed", deed.words)
            deeds.DOERS[deed.verb](self, deed)
            self._check()
        self._calm_down()
        self._check_converged()

    def run_until(self, time: float) -> None:
        """Let everything happen that is due, and look after the rules."""
        while self.machine.step(time):
            self._check()
        self._check()

    def _calm_down(self) -> None:
        """Accidents stop; time passes for the longest back-off, a healthy run, and what follows from both."""
        machine = self.machine
        machine.note("deed", "deed", "accidents stop")
        machine.calm = True
        machine.disk.full = False
        for process in [p for p in machine.processes.values() if not p.ours]:
            machine.end(process, "ends", code=0)
        for agent in self.agents:
            agent.kernel.calls_left = None
        self.files = {service: definition for service, definition in self.files.items() if definition.program}
        if not self.agents:
            self.start_agent()
        self.run_until(machine.time + TIMINGS.backoff_limit * 3)

    def _check(self) -> None:
        for process in self.machine.processes.values():
            if process.ours and process.leader and not process.zombie:
                self.last[process.name] = process
        self.watchman.check(self.agents, self.wanted())

    def wanted(self) -> dict[str, tuple[str, ...]]:
        """The command of each proxy that was promised, by its id."""
        return {
            f"{service}-proxy": command_of(accepted.program)
            for service, accepted in self.accepted.items()
            if accepted.program and service not in self.held
        }

    # --- the agent -----------------------------------------------------------------------------------

    def start_agent(self) -> None:
        """Start one, whether or not one runs; it may refuse, or die while it starts."""
        self._lives += 1
        name = f"agent {self._lives}"
        kernel = SimulatedKernel(self.machine, name, on_death=lambda: self._dead(kernel))
        take_away(self._without, kernel, kernel.files)
        agent = SimulatedAgent(kernel, dev=self.dev, core=self._core(), on_change=self._heard)
        self.machine.note(name, "begin", "starts")
        for service in set(IN_FILES) - self.files.keys():
            # Its files go as soon as an agent starts without it, even if that agent then does not get far.
            self.granted.pop(service, None)
        self._check_snapshot()

        def begin() -> None:
            try:
                agent.start(self.files.values())
            except (KeeperError, PortsExhausted) as error:
                kernel.die(f"does not start: {error}")
                return
            self.agents.append(agent)
            self.held.clear()
            self._compare(agent)
            self._check_outdated(agent)
            self.watchman.succeed(self.wanted())

        kernel.run(begin)
        self._tell_proxies()

    def _tell_proxies(self) -> None:
        """Proxies hear at once what their agent has for them."""
        for process in list(self.machine.processes.values()):
            if process.ours and process.leader:
                self.machine.after(0.02, partial(self.machine.listen, process))

    def with_agent(self, action: Callable[[SimulatedAgent], None]) -> None:
        """Have the agent do something, if one is up; one that is stalled does it when it wakes."""
        if not self.agents:
            return
        agent = self.agents[0]
        wait = agent.kernel.stalled_until - self.machine.time
        if wait > 0:
            self.machine.after(wait, lambda: agent.kernel.run(lambda: action(agent)))
        else:
            agent.kernel.run(lambda: action(agent))

    def ask(self, services: Iterable[str], request: Callable[[SimulatedAgent], None]) -> None:
        """A request of an operator: once it is answered, what the agent has then is what it has promised."""

        def answered(agent: SimulatedAgent) -> None:
            self.doubtful.update(services)
            self.refused.difference_update(services)
            try:
                request(agent)
                self.doubtful.difference_update(services)
            except (KeeperError, PortsExhausted) as error:
                self.machine.note(agent.kernel.name, "note", f"answers: {error}")
                self.refused.update(services)
            for service in services:
                self.promise(agent, service)

        self.with_agent(answered)
        self._tell_proxies()

    def promise(self, agent: SimulatedAgent, service: str) -> None:
        """Take down what the agent has of a service: it must not lose it any more."""
        shown, granted = agent.shown(service), agent.granted(service)
        before = self.accepted.get(service)
        if shown is None:
            self.accepted.pop(service, None)
        else:
            self.accepted[service] = shown
        if granted is None:
            self.granted.pop(service, None)
        else:
            self._check_port(service, granted, shown)
            self.granted[service] = granted
        if shown is None or before is None or shown.program != before.program:
            self.held.discard(service)
        if shown != before:
            self.watchman.redefined(f"{service}-proxy")

    def _dead(self, kernel: SimulatedKernel) -> None:
        self.agents = [agent for agent in self.agents if agent.kernel is not kernel]
        if self.dev:
            self.accepted.clear()
            self.granted.clear()

    def _heard(self, proxy_id: str, status: ProxyStatus | None) -> None:
        self.watchman.heard(proxy_id, status)
        text = "is forgotten" if status is None else f"is {status.state}: {status.reason or 'first start'}"
        self.machine.note(proxy_id, "note", text)

    def _port_of(self, proxy_id: str) -> int | None:
        return self.agents[0].port_of(proxy_id) if self.agents else None

    # --- what must hold when an agent starts, answers, and in the end --------------------------------

    def _check_snapshot(self) -> None:
        content = self.read(SNAPSHOT)
        if content is None or content in self.spoilt:
            return
        try:
            snapshot.decode(content.decode())
        except ValueError as error:
            raise Breach("snapshot", f"the snapshot cannot be read: {error}") from None

    def _compare(self, agent: SimulatedAgent) -> None:
        """What an agent starts with is what was acknowledged before."""
        for service in SERVICES:
            shown, granted = agent.shown(service), agent.granted(service)
            promised = self.files.get(service) if service in IN_FILES else self.accepted.get(service)
            if service not in self.doubtful and not self.dev:
                if shown != promised:
                    raise Breach("lost", f"{service} was {promised}, after a restart it is {shown}")
                before = self.granted.get(service)
                if granted is not None and before is not None and granted != before:
                    fixed = promised is not None and promised.port
                    if not fixed or granted.token != before.token:
                        raise Breach("lost", f"{service} had {before}, after a restart it has {granted}")
            elif service in self.doubtful and granted is not None:
                # A request that was never answered may have got this port before somebody else took it.
                self.granted[service] = granted
            self.doubtful.discard(service)
            self.promise(agent, service)

    def _check_port(self, service: str, granted: Granted, shown: Definition | None) -> None:
        before = self.granted.get(service)
        if (before is not None and before.port == granted.port) or (shown is not None and shown.port):
            return
        for other, theirs in self.granted.items():
            if other != service and theirs.port == granted.port:
                raise Breach("port", f"port {granted.port} was handed out to {other} and to {service}")
        for process in self.machine.listeners(granted.port):
            if process.name != f"{service}-proxy":
                raise Breach(
                    "port", f"port {granted.port} was handed out to {service}, {process.lane} listens on it"
                )

    def _check_outdated(self, agent: SimulatedAgent) -> None:
        adopted = (self.machine.processes.get(pid) for pid in agent.running())
        own = (
            process for process in adopted if process is not None and process.command[:1] == (OWN_PROGRAM,)
        )
        outdated = {process.name for process in own if process.arguments[0] != agent.kernel.executable}
        if agent.outdated() != outdated:
            raise Breach("outdated", f"outdated are {outdated or 'none'}, the agent says {agent.outdated()}")

    def _check_converged(self) -> None:
        running = {p.name: p for p in self.machine.processes.values() if p.ours and p.leader and not p.zombie}
        shall = self.wanted()
        commands = {name: process.command for name, process in running.items()}
        if commands != shall:
            raise Breach("diverged", f"{_told(commands)} runs, {_told(shall)} is wanted")
        for name, process in running.items():
            granted = self.granted[name.removesuffix("-proxy")]
            if process.port != granted.port:
                raise Breach("diverged", f"{process.lane} listens on {process.port}, not on {granted.port}")
        if self.dev:
            return
        pids = {name: process.pid for name, process in running.items()}
        content = self.read(SNAPSHOT)
        stored = {}
        if content is not None and content not in self.spoilt:
            found = snapshot.decode(content.decode())
            known = found.memories if found.boot_id == f"boot-{self.machine.boots}" else ()
            stored = {memory.proxy_id: memory.process.pid for memory in known if memory.process is not None}
        if stored != pids and content not in self.spoilt:
            raise Breach("diverged", f"the snapshot has {stored}, running is {pids}")
        noted = {
            path.name.removesuffix(".pid"): int(self.read(path) or b"0")
            for path in (self.machine.disk.names(PIDS) if pids else ())
            if path.name.endswith(".pid")
        }
        if {name: noted.get(name) for name in pids} != pids or noted.keys() - pids.keys():
            raise Breach("diverged", f"the pid files have {noted}, running is {pids}")

    def read(self, path: Path) -> bytes | None:
        """A file as it is now; ``None`` if there is none."""
        try:
            return self.machine.disk.content(path)
        except FileNotFoundError:
            return None


def _told(commands: dict[str, tuple[str, ...]]) -> str:
    return ", ".join(f"{name} ({command[0]})" for name, command in sorted(commands.items())) or "nothing"


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """What simulated agents log belongs to nobody's log."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
