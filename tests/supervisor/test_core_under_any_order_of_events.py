"""Whatever comes in whatever order: the table is honoured, nothing runs twice, and what is wanted runs in the end."""

from __future__ import annotations

from collections import deque
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from reference.supervisor import events as ev
from reference.supervisor.core import TRANSITIONS, Supervisor
from reference.supervisor.fingerprint import fingerprint
from reference.supervisor.spec import Process, ProxySpec, ProxyState, Timings
from tests.supervisor.playbook import process, spec

IDS = ("a-proxy", "b-proxy")
SPECS = {proxy_id: [spec(proxy_id, command=(f"/bin/{n}",)) for n in range(2)] for proxy_id in IDS}


class Machine:
    """A machine whose answers come late and in any order, driven by a list of small numbers."""

    def __init__(self) -> None:
        # One quick start only, so that short walks meet the back-off.
        self.core = Supervisor(timings=Timings(quick_starts=1))
        self.live: dict[int, tuple[str, str]] = {}
        self.wanted: dict[str, ProxySpec] = {}
        self.answers: deque[ev.Event] = deque()
        self.timers: dict[str, ev.TimerFired] = {}
        self.dying: set[int] = set()
        self.seen: set[tuple[ProxyState, type[ev.Event]]] = set()
        self.next_pid = 2
        self.now = 0.0

    def feed(self, event: ev.Event) -> None:
        proxy_id = event.spec.proxy_id if isinstance(event, ev.Defined) else getattr(event, "proxy_id", "")
        before = self.core.status().get(proxy_id)
        commands = self.core.handle(event, now=self.now)
        after = self.core.status().get(proxy_id)
        if before is not None:
            transition = TRANSITIONS[before.state, type(event)]
            assert (after.state if after else None) in transition.leads_to
            self.seen.add((before.state, type(event)))
        for command in commands:
            self.execute(command)

    def execute(self, command: ev.Command) -> None:
        match command:
            case ev.Seek():
                self.answers.append(ev.Sought(proxy_id=command.proxy_id, process=None, current=False))
            case ev.Spawn(spec=wanted):
                owners = [owner for owner, _ in self.live.values()]
                assert wanted.proxy_id not in owners, "two processes for one proxy"
                self.live[self.next_pid] = (wanted.proxy_id, fingerprint(wanted))
                self.answers.append(ev.Started(proxy_id=wanted.proxy_id, process=process(self.next_pid)))
                self.next_pid += 1
            case ev.Signal(process=target, signal=name):
                assert target.pid in self.live, "a stranger was signalled"
                # A process may ignore the polite request, never the other.
                if name == "SIGKILL" or target.pid % 2:
                    self.dying.add(target.pid)
            case ev.SetTimer(proxy_id=proxy_id, timer=timer):
                assert proxy_id not in self.timers
                self.timers[proxy_id] = ev.TimerFired(proxy_id=proxy_id, timer=timer)
            case ev.CancelTimer(proxy_id=proxy_id):
                del self.timers[proxy_id]

    def settle_answers(self) -> None:
        while self.answers:
            self.feed(self.answers.popleft())

    def end(self, pid: int) -> None:
        self.dying.discard(pid)
        proxy_id, _ = self.live.pop(pid)
        self.feed(
            ev.Exited(
                proxy_id=proxy_id, process=Process(pid=pid, start_time=pid * 10, boot_id="boot"), reason=""
            )
        )

    def fire(self, proxy_id: str) -> None:
        self.feed(self.timers.pop(proxy_id))

    def step(self, choice: int) -> None:
        self.now += 1.0
        proxy_id = IDS[choice % 2]
        kind = choice // 2 % 9
        if kind in (0, 1):
            self.wanted[proxy_id] = SPECS[proxy_id][kind]
            self.feed(ev.Defined(spec=SPECS[proxy_id][kind]))
        elif kind == 2 and proxy_id in self.wanted:
            del self.wanted[proxy_id]
            self.feed(ev.Removed(proxy_id=proxy_id))
        elif kind == 3 and self.answers:
            self.feed(self.answers.popleft())
        elif kind == 4 and not self.answers and self.live:
            self.end(min(self.live))
        elif kind == 5 and proxy_id in self.timers:
            self.fire(proxy_id)
        elif kind == 6:
            self.announce(proxy_id)
        elif kind == 7 and (self.state(proxy_id), ev.Restart) in TRANSITIONS:
            self.feed(ev.Restart(proxy_id=proxy_id, reason="somebody asked for it"))
        elif kind == 8 and (self.state(proxy_id), ev.Hold) in TRANSITIONS:
            self.feed(ev.Hold(proxy_id=proxy_id, reason="somebody asked for it"))

    def state(self, proxy_id: str) -> ProxyState | None:
        status = self.core.status().get(proxy_id)
        return status.state if status else None

    def announce(self, proxy_id: str) -> None:
        """The process says that it is ready, whatever is being done to it."""
        status = self.core.status().get(proxy_id)
        if status is not None and status.pid in self.live:
            self.feed(ev.Ready(proxy_id=proxy_id, process=process(status.pid)))

    def calm_down(self) -> None:
        """Let everything that is under way happen, and nothing new."""
        for _ in range(100):
            self.settle_answers()
            for pid in tuple(self.dying):
                self.end(pid)
            for proxy_id in tuple(self.timers):
                if proxy_id in self.timers:
                    self.fire(proxy_id)
        assert not self.timers

    def release(self) -> None:
        """What is held shall run again."""
        for proxy_id in IDS:
            if self.state(proxy_id) is ProxyState.STOPPED:
                assert proxy_id not in [owner for owner, _ in self.live.values()]
                self.feed(ev.Restart(proxy_id=proxy_id, reason="somebody asked for it"))
        self.calm_down()


@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(0, 17), max_size=60))
def test_what_is_wanted_runs_in_the_end_and_nothing_else_does(choices: list[int]) -> None:
    machine = Machine()
    for choice in choices:
        machine.step(choice)
    machine.calm_down()
    machine.release()
    assert sorted(machine.live.values()) == sorted(
        (proxy_id, fingerprint(wanted)) for proxy_id, wanted in machine.wanted.items()
    )
    assert {s.state for s in machine.core.status().values()} <= {ProxyState.RUNNING}


def test_the_walk_reaches_every_transition_that_needs_no_failure() -> None:
    """Otherwise the property above would hold of a core that does nothing."""
    seen: set[tuple[ProxyState, type[ev.Event]]] = set()
    random = Random(1)
    for _ in range(400):
        machine = Machine()
        for _ in range(60):
            machine.step(random.randrange(18))
        machine.calm_down()
        machine.release()
        seen |= machine.seen
    refused = {key for key in TRANSITIONS if key[0] is ProxyState.REFUSED}
    assert set(TRANSITIONS) - seen - refused == {(ProxyState.STARTING, ev.StartFailed)}
