"""What operators and accidents do to a supervisor, from a seed, and what must hold whatever they do.

A story has two phases. In the first, definitions come, change and go, agents are killed in the middle of what they
do, machines reboot, proxies crash and ignore signals, disks fill, strangers take pids. At every moment:

- no stranger is ever signalled;
- no proxy ever has two live processes;
- no wanted proxy is down for longer than its back-off allows, while an agent is up;
- no unwanted proxy lives for longer than the grace it is given, while an agent is up;
- a snapshot that is there can be read.

Then accidents stop, and in the second phase exactly what is wanted must come to run, as it is defined now.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from random import Random

from reference.supervisor import events as ev
from reference.supervisor.core import Supervisor
from reference.supervisor.fingerprint import fingerprint
from reference.supervisor.runner import Runner
from reference.supervisor.simulation.machine import AgentKilled, Breach, Machine, SimulatedProcess
from reference.supervisor.simulation.world import SNAPSHOT, Habits, Safeguard, SimulatedWorld
from reference.supervisor.spec import ProxySpec, ProxyState, ProxyStatus, Timings

#: Longer than any single step may take: the end of a killed process, the last write.
SLACK = 3.0
_IDS = ("web-proxy", "redis-proxy", "api-proxy")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a story ended. Equal seeds give equal ``trace_hash``, whatever the machine and the day."""

    seed: int
    breach: str | None
    trace: tuple[str, ...]
    faults: int

    @property
    def trace_hash(self) -> str:
        return hashlib.sha256("\n".join(self.trace).encode()).hexdigest()


def tell(seed: int, *, hours: float = 0.5, without: frozenset[Safeguard] = frozenset()) -> Outcome:
    """Play the story of a seed for some virtual ``hours``, with some safeguards switched off."""
    story = _Story(Random(seed), without)
    breach = None
    try:
        story.play(hours * 3600.0)
    except Breach as error:
        breach = str(error)
        story.machine.note(f"BREACH: {breach}")
    return Outcome(seed=seed, breach=breach, trace=tuple(story.machine.trace), faults=story.faults)


class _Story:
    def __init__(self, random: Random, without: frozenset[Safeguard]) -> None:
        self.random = random
        self.machine = Machine(random)
        self.timings = Timings()
        self.wanted: dict[str, ProxySpec] = {}
        self.faults = 0
        self._without = without
        self._calm = False
        self._runner: Runner | None = None
        self._world: SimulatedWorld
        self._down_since: dict[str, float] = {}
        self._unwanted_since: dict[int, float] = {}
        self._tokens = 0

    # --- the two phases ------------------------------------------------------------------------------

    def play(self, seconds: float) -> None:
        self._start_agent()
        while self.machine.time < seconds:
            self._run(self.random.expovariate(1 / 8))
            self.random.choice(_DEEDS)(self)
        self._calm = True
        self.machine.note("accidents stop")
        self.machine.disk.full = False
        self._world.steps_left = None
        if self._runner is None:
            self._start_agent()
        # Time for the longest back-off, a healthy run after it, and everything that follows from both.
        self._run(self.timings.backoff_limit * 3)
        running = sorted(p.fingerprint for p in self.machine.processes.values() if not p.stranger)
        if running != sorted(fingerprint(spec) for spec in self.wanted.values()):
            raise Breach("after accidents stopped, what runs is not what is wanted")

    def _run(self, seconds: float) -> None:
        until = self.machine.time + seconds
        while self._guarded(lambda: self.machine.step(until)):
            self._check()
        self._check()

    def _guarded(self, action: object) -> bool:
        """Do something in which the agent may die."""
        assert callable(action)
        try:
            return bool(action())
        except AgentKilled:
            self._agent_dies()
            return True

    # --- what must hold ------------------------------------------------------------------------------

    def _check(self) -> None:
        machine, now = self.machine, self.machine.time
        live = Counter(p.proxy_id for p in machine.processes.values() if not p.stranger)
        for proxy_id, count in live.items():
            if count > 1:
                raise Breach(f"{proxy_id} has {count} live processes")
        if self._runner is None:
            self._down_since.clear()
            self._unwanted_since.clear()
            return
        for proxy_id in self.wanted:
            since = self._down_since.setdefault(proxy_id, now)
            if proxy_id in live:
                del self._down_since[proxy_id]
            elif now - since > self.timings.backoff_limit + SLACK:
                raise Breach(f"{proxy_id} is wanted, and down for {now - since:.0f} s")
        unwanted = {
            p.pid for p in machine.processes.values() if not p.stranger and p.proxy_id not in self.wanted
        }
        self._unwanted_since = {pid: self._unwanted_since.get(pid, now) for pid in unwanted}
        for pid, since in self._unwanted_since.items():
            if now - since > self.timings.stop_grace + SLACK:
                raise Breach(f"process {pid} is unwanted, and alive for {now - since:.0f} s")

    # --- the agent -----------------------------------------------------------------------------------

    def _start_agent(self) -> None:
        self.machine.note("an agent starts")
        self._runner = runner = Runner(
            Supervisor(timings=self.timings), world=self._make_world, on_change=self._heard
        )

        def begin() -> None:
            runner.remember()
            for spec in self.wanted.values():
                runner.feed(ev.Defined(spec=spec))
            runner.feed(ev.Settled())

        self._guarded(begin)

    def _make_world(self, post: object) -> SimulatedWorld:
        assert callable(post)
        self._world = SimulatedWorld(self.machine, post, habits=self._habits, without=self._without)
        return self._world

    def _habits(self) -> Habits:
        return Habits(start_fails=0.0, crashes=0.0) if self._calm else Habits()

    def _heard(self, proxy_id: str, status: ProxyStatus | None) -> None:
        if status is not None and status.state is ProxyState.STARTING:
            self._down_since.pop(proxy_id, None)  # each attempt has a patience of its own
        if status is None or status.state in (ProxyState.BACKOFF, ProxyState.KILLING):
            self.machine.note(f"{proxy_id} is {'forgotten' if status is None else status.state}")

    def _agent_dies(self) -> None:
        self.machine.note("the agent dies")
        self.faults += 1
        self._world.detach()
        self._runner = None

    # --- deeds and accidents -------------------------------------------------------------------------

    def define(self) -> None:
        """The operator adds a service, or changes one that is there; what is accepted is durable at once."""
        proxy_id = self.random.choice(_IDS)
        old = self.wanted.get(proxy_id)
        if old is None:
            self._tokens += 1
        token = old.token if old else f"token-{self._tokens}"
        spec = ProxySpec(proxy_id=proxy_id, token=token, command=(f"/bin/proxy-{self.random.randrange(3)}",))
        self.machine.note(f"{proxy_id} is defined: {spec.command[0]}")
        self.wanted[proxy_id] = spec
        self._tell(ev.Defined(spec=spec))

    def remove(self) -> None:
        if self.wanted:
            proxy_id = self.random.choice(sorted(self.wanted))
            self.machine.note(f"{proxy_id} is removed")
            del self.wanted[proxy_id]
            self._tell(ev.Removed(proxy_id=proxy_id))

    def _tell(self, event: ev.Event) -> None:
        runner = self._runner
        if runner is not None:
            self._guarded(lambda: runner.feed(event))

    def crash_a_proxy(self) -> None:
        proxies = [p for p in self.machine.processes.values() if not p.stranger]
        if proxies:
            self.faults += 1
            victim = self.random.choice(proxies)
            self._guarded(lambda: self.machine.end(victim, "crashed"))

    def kill_the_agent(self) -> None:
        """At once, or in the middle of something soon."""
        if self._runner is None:
            return
        if self.random.random() < 0.5:
            self._agent_dies()
        else:
            self._world.steps_left = self.random.randrange(12)

    def start_the_agent(self) -> None:
        if self._runner is None:
            self._start_agent()

    def reboot(self) -> None:
        self.faults += 1
        if self._runner is not None:
            self._agent_dies()
        self.machine.reboot()
        # A boot is much like the last one: the same few pids, in the same first moments.
        self._add_strangers(self.random.randrange(20))
        if self.random.random() < 0.5:
            self._start_agent()

    def lose_the_snapshot(self) -> None:
        if self._runner is None:
            self.faults += 1
            self.machine.note("the snapshot is lost")
            self.machine.disk.remove(SNAPSHOT)

    def strangers_come_and_go(self) -> None:
        strangers = [p for p in self.machine.processes.values() if p.stranger]
        for process in strangers:
            if self.random.random() < 0.5:
                self.machine.end(process, "ended")
        self._add_strangers(self.random.randrange(20))

    def _add_strangers(self, count: int) -> None:
        for _ in range(count):
            if len(self.machine.processes) < 30:
                # Some are proxies too, of another agent on the same machine.
                proxy_id, agent_id = self.random.choice((("", ""), (_IDS[0], "another-agent")))
                self.machine.spawn(
                    SimulatedProcess(pid=0, start_time=0, proxy_id=proxy_id, agent_id=agent_id)
                )

    def fill_or_free_the_disk(self) -> None:
        self.faults += 1
        self.machine.disk.full = not self.machine.disk.full
        self.machine.note(f"the disk is {'full' if self.machine.disk.full else 'free again'}")


_DEEDS = (
    _Story.define,
    _Story.define,
    _Story.define,
    _Story.remove,
    _Story.crash_a_proxy,
    _Story.crash_a_proxy,
    _Story.kill_the_agent,
    _Story.start_the_agent,
    _Story.start_the_agent,
    _Story.reboot,
    _Story.lose_the_snapshot,
    _Story.strangers_come_and_go,
    _Story.strangers_come_and_go,
    _Story.fill_or_free_the_disk,
)
