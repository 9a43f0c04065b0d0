"""The rules, and the watchman who looks after every step whether one is broken.

He sees the machine and what operators were promised, not what the supervisor thinks. From it he knows only when a
proxy is started, since each attempt has a patience of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from reference.supervisor.simulation.agent import SimulatedAgent
from reference.supervisor.simulation.machine import Breach, Machine, SimulatedProcess
from reference.supervisor.spec import ProxyState, ProxyStatus, Timings

#: Every rule, by the name that a breach has.
RULES: Mapping[str, str] = {
    "stranger": "no process that is not ours is ever signalled",
    "twins": "no service ever has two live proxies",
    "down": "while an agent is up, no wanted proxy is down for longer than its back-off allows",
    "orphan": "while an agent is up, nothing unwanted lives for longer than the grace it is given",
    "port": "no port is handed out that another service has or another program listens on",
    "lost": "nothing that was acknowledged is lost: definitions, tokens, ports",
    "snapshot": "a snapshot that no accident has touched can be read",
    "outdated": "an agent tells which of its proxies run another release of its program, and no others",
    "hang": "the agent never waits for a process that goes on",
    "error": "nothing that happens is unforeseen",
    "diverged": "once accidents stop, exactly what is wanted runs, and the files tell the same",
}

#: How much later than due something may happen: news, the end of a killed process, the next step.
SLACK = 1.0


class Watchman:
    """Raises :class:`Breach` as soon as one of the rules that hold at every moment is broken."""

    def __init__(self, machine: Machine, timings: Timings) -> None:
        self._machine = machine
        self._timings = timings
        self._down_since: dict[str, float] = {}
        self._unwanted_since: dict[SimulatedProcess, float] = {}
        self._attempts: Counter[str] = Counter()
        #: Ran for so long that a crash is the first one again.
        self._healthy: set[str] = set()

    def heard(self, proxy_id: str, status: ProxyStatus | None) -> None:
        """What an agent says of a proxy."""
        if status is None:
            self._attempts.pop(proxy_id, None)
        elif status.state is ProxyState.STARTING:
            self._attempts[proxy_id] = self._count(proxy_id) + 1
            self._healthy.discard(proxy_id)
            self._down_since.pop(proxy_id, None)

    def pause(self) -> None:
        """Nobody is there to keep the rules about time, or is slow for a known reason: they begin anew."""
        self._down_since.clear()
        self._unwanted_since.clear()
        # A run whose end nobody saw may have been any length.
        self._healthy.clear()

    def succeed(self, wanted: Iterable[str]) -> None:
        """Another agent takes over. The one before may have counted a start that it did not live to make."""
        self.pause()
        for proxy_id in wanted:
            self._attempts[proxy_id] += 1

    def _count(self, proxy_id: str) -> int:
        return 0 if proxy_id in self._healthy else self._attempts[proxy_id]

    def redefined(self, proxy_id: str) -> None:
        """Another definition has other chances."""
        self._down_since.pop(proxy_id, None)

    def check(self, agents: Iterable[SimulatedAgent], wanted: Mapping[str, tuple[str, ...]]) -> None:
        """``wanted`` has the command of each proxy that shall run, by its id."""
        ours = [p for p in self._machine.processes.values() if p.ours and not p.zombie]
        leaders = [process for process in ours if process.leader]
        live = Counter(process.name for process in leaders)
        for proxy_id, count in live.items():
            if count > 1:
                raise Breach("twins", f"{proxy_id} has {count} live processes")
        awake = [agent for agent in agents if agent.kernel.stalled_until <= self._machine.time]
        if not awake:
            self.pause()
            return
        up_since = min(agent.started_at for agent in awake)
        self._check_wanted(leaders, wanted, up_since)
        self._check_unwanted(ours, leaders, wanted)

    def _check_wanted(
        self, leaders: list[SimulatedProcess], wanted: Mapping[str, tuple[str, ...]], up_since: float
    ) -> None:
        now = self._machine.time
        live = {process.name for process in leaders}
        for process in leaders:
            if now - max(process.started_at, up_since) >= self._timings.healthy_run:
                self._healthy.add(process.name)
        for proxy_id in wanted:
            if proxy_id in live:
                self._down_since.pop(proxy_id, None)
                continue
            since = self._down_since.setdefault(proxy_id, now)
            allowed = self._timings.delay_before(self._count(proxy_id) + 1)
            if now - since > allowed + SLACK:
                raise Breach(
                    "down", f"{proxy_id} is down for {now - since:.1f} s, {allowed:g} s would be its back-off"
                )
        for proxy_id in self._down_since.keys() - wanted.keys():
            del self._down_since[proxy_id]

    def _check_unwanted(
        self,
        ours: list[SimulatedProcess],
        leaders: list[SimulatedProcess],
        wanted: Mapping[str, tuple[str, ...]],
    ) -> None:
        now = self._machine.time
        led = {process.pid for process in leaders}
        unwanted = [p for p in ours if p.command != wanted.get(p.name) or p.session not in led]
        self._unwanted_since = {process: self._unwanted_since.get(process, now) for process in unwanted}
        for process, since in self._unwanted_since.items():
            grace = self._timings.stop_grace + self._timings.kill_retry + process.program.kill
            if now - since > grace + SLACK:
                raise Breach("orphan", f"{process.lane} is unwanted, and alive for {now - since:.1f} s")
