"""The stories of ``scenarios/`` on the simulated machine, under the eyes of the watchman."""

from __future__ import annotations

from collections.abc import Callable

from proxyproof.scenarios import Action, Expectation, Unfulfilled
from reference.supervisor.core import Supervisor
from reference.supervisor.simulation import deeds
from reference.supervisor.simulation.agent import PIDS
from reference.supervisor.simulation.machine import Breach, SimulatedProcess
from reference.supervisor.simulation.safeguards import Safeguard
from reference.supervisor.simulation.schedule import Deed, Schedule
from reference.supervisor.simulation.seeds import PORT_RANGE
from reference.supervisor.simulation.story import TIMINGS, Story, silence
from reference.supervisor.spec import ProxyState

#: Virtual seconds after which an expectation is given up, and for which one about "still" must hold.
_PATIENCE, _QUIET = 90.0, 10.0
_STEP = 0.25


class SimulatedWorld:
    """One story's machine, on which some safeguards may be switched off."""

    name = "simulated"

    def __init__(self, *, without: frozenset[Safeguard] = frozenset()) -> None:
        self._story = Story(Schedule(deeds=()), without=without, core=lambda: Supervisor(timings=TIMINGS))
        self._known: dict[str, SimulatedProcess] = {}
        self._connected: tuple[SimulatedProcess | None, ...] = ()
        self._stranger: SimulatedProcess | None = None

    def do(self, action: Action) -> str:
        """Do it now, and let a moment pass. Raises :class:`Unfulfilled` when a rule is broken meanwhile."""
        story, machine = self._story, self._story.machine
        if action.verb == "connect":
            both = ("web", "redis")
            self._until(lambda: all(map(self._processes, both)), lambda: "a proxy is missing")
            self._connected = tuple(self._processes(name)[0] for name in ("web", "redis"))
            return ""
        if action.verb == "occupy":
            low, high = PORT_RANGE
            for port in range(low, high):
                deeds.DOERS["occupy"](story, Deed(machine.time, "occupy", options=(("port", port),)))
            return ""
        options = tuple((name, value) for name, value in action.options.items() if name == "program")
        if action.verb == "define" and not options:
            options = (("program", "builtin"),)
        deed = Deed(machine.time, action.verb, action.service, options)
        machine.note("deed", "deed", deed.words)
        self._guarded(lambda: deeds.DOERS[action.verb](story, deed))
        if action.verb == "recycle":
            self._stranger = machine.processes.get(story.last[f"{action.service}-proxy"].pid)
        self._pass(_STEP)
        return ""

    def expect(self, expectation: Expectation) -> None:
        """Let time pass until it holds. Raises :class:`Unfulfilled`."""
        service, state = expectation.subject, expectation.state
        known = self._known.get(service)
        match state:
            case "runs":
                self._until(lambda: len(self._processes(service)) == 1, lambda: self._found(service))
            case "unchanged":
                self._hold(lambda: self._processes(service) == [known], lambda: self._found(service))
            case "replaced":
                self._until(lambda: self._others(service, known), lambda: self._found(service))
            case "waits":
                self._until(lambda: self._waits(service), lambda: self._found(service))
            case "gone":
                self._until(lambda: self._gone(service), lambda: self._found(service))
            case "refused":
                self._until(lambda: service in self._story.refused, lambda: "it was accepted")
            case "open":
                lives = self._story.machine.processes.values()
                self._hold(
                    lambda: all(end in lives for end in self._connected), lambda: "one of its proxies is gone"
                )
            case "unharmed":
                stranger = self._stranger
                lives = self._story.machine.processes.values()
                self._hold(
                    lambda: stranger is not None and stranger in lives and not stranger.ending,
                    lambda: "it is gone",
                )
        processes = self._processes(service)
        if processes:
            self._known[service] = processes[0]

    # --- looking -------------------------------------------------------------------------------------

    def _processes(self, service: str) -> list[SimulatedProcess]:
        name = f"{service}-proxy"
        return [
            process
            for process in self._story.machine.processes.values()
            if process.ours and process.leader and process.name == name and not process.zombie
        ]

    def _others(self, service: str, known: SimulatedProcess | None) -> bool:
        processes = self._processes(service)
        return len(processes) == 1 and processes[0] is not known

    def _waits(self, service: str) -> bool:
        return not self._processes(service) and any(
            agent.states().get(f"{service}-proxy") is ProxyState.BACKOFF for agent in self._story.agents
        )

    def _gone(self, service: str) -> bool:
        name = f"{service}-proxy"
        return (
            not any(
                process.ours and process.name == name for process in self._story.machine.processes.values()
            )
            and all(agent.shown(service) is None for agent in self._story.agents)
            and self._story.read(PIDS / f"{name}.pid") is None
        )

    def _found(self, service: str) -> str:
        lanes = ", ".join(process.lane for process in self._processes(service)) or "no process"
        return f"there is {lanes}"

    # --- time ----------------------------------------------------------------------------------------

    def _pass(self, seconds: float) -> None:
        story = self._story
        self._guarded(lambda: story.run_until(story.machine.time + seconds))

    def _guarded(self, action: Callable[[], None]) -> None:
        try:
            with silence():
                action()
        except Breach as error:
            raise Unfulfilled(f"a rule is broken ({error.rule}): {error}") from None

    def _until(self, holds: Callable[[], bool], found: Callable[[], str]) -> None:
        give_up = self._story.machine.time + _PATIENCE
        while not holds():
            if self._story.machine.time > give_up:
                raise Unfulfilled(f"not within {_PATIENCE:g} virtual seconds; {found()}")
            self._pass(_STEP)

    def _hold(self, holds: Callable[[], bool], found: Callable[[], str]) -> None:
        until = self._story.machine.time + _QUIET
        while self._story.machine.time < until:
            if not holds():
                raise Unfulfilled(found())
            self._pass(_STEP)
