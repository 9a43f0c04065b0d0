"""The core against a plain model of what it has to bring about, step by step, whatever happens in whatever order.

A second, independent check beside the simulator: no machine, no files, no schedules. The model knows what is wanted,
which processes live, and how often each was started lately; after every step the core must be waiting for the right
thing, and for nothing else.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from reference.supervisor import events as ev
from reference.supervisor.core import TRANSITIONS, Supervisor
from reference.supervisor.fingerprint import fingerprint
from reference.supervisor.spec import Process, ProxySpec, ProxyState, Timings
from tests.supervisor.playbook import spec

IDS = ("a-proxy", "b-proxy")
BOOT = "boot"
#: One start at once, so that short walks meet the back-off; then 2, 4, 5, 5 ... seconds.
TIMINGS = Timings(quick_starts=1, backoff_limit=5.0, healthy_run=10.0)
DELAYS = (0.0, 2.0, 4.0, 5.0)

ids = st.sampled_from(IDS)


@dataclass
class Live:
    """A process that runs, and what it was started from; ``asked`` once it was told to end."""

    process: Process
    started_from: ProxySpec
    since: float
    asked: bool = False


class PlainModel(RuleBasedStateMachine):
    """What is wanted and what is there, next to a core that is fed the same."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.pid = 1
        self.wanted: dict[str, ProxySpec] = {}
        self.held: set[str] = set()
        self.live: dict[str, Live] = {}
        self.count: dict[str, int] = {}
        #: When a back-off ends that an earlier agent began.
        self.retry: dict[str, float] = {}
        self.snapshot: tuple[ev.Memory, ...] = ()
        self.new_agent()

    def new_agent(self) -> None:
        self.core = Supervisor(timings=TIMINGS)
        self.questions: deque[ev.Seek | ev.Spawn] = deque()
        self.timers: dict[str, ev.SetTimer] = {}
        self.due: dict[str, float] = {}

    def feed(self, event: ev.Event) -> None:
        for command in self.core.handle(event, now=self.now):
            match command:
                case ev.Seek() | ev.Spawn():
                    self.questions.append(command)
                case ev.Persist(memories=memories):
                    self.snapshot = memories
                case ev.Signal(proxy_id=proxy_id, process=process):
                    assert self.live[proxy_id].process == process, "a signal for somebody else"
                    self.live[proxy_id].asked = True
                case ev.SetTimer(proxy_id=proxy_id):
                    assert proxy_id not in self.timers, "one timer at a time"
                    self.timers[proxy_id] = command
                    self.due[proxy_id] = self.now + command.seconds
                case ev.CancelTimer(proxy_id=proxy_id):
                    del self.timers[proxy_id]

    def asking(self, proxy_id: str) -> list[type[ev.Command]]:
        return [
            type(question)
            for question in self.questions
            if proxy_id == (question.spec.proxy_id if isinstance(question, ev.Spawn) else question.proxy_id)
        ]

    def can(self, proxy_id: str, event: type[ev.Event]) -> bool:
        status = self.core.status().get(proxy_id)
        return status is not None and (status.state, event) in TRANSITIONS

    # --- what happens --------------------------------------------------------------------------------

    @initialize()
    def begin(self) -> None:
        self.feed(ev.Settled())

    @rule(proxy_id=ids, variant=st.integers(0, 1))
    def define(self, proxy_id: str, variant: int) -> None:
        wanted = spec(proxy_id, command=(f"/bin/{variant}",))
        if proxy_id not in self.core.status():
            self.count[proxy_id] = 0  # it was forgotten with all that it did
        if self.wanted.get(proxy_id) != wanted:
            self.held.discard(proxy_id)
            if proxy_id in self.timers and self.timers[proxy_id].timer is ev.Timer.RESTART:
                self.count[proxy_id] = 0
        self.wanted[proxy_id] = wanted
        self.feed(ev.Defined(spec=wanted))

    @rule(proxy_id=ids)
    def remove(self, proxy_id: str) -> None:
        if self.wanted.pop(proxy_id, None) is not None:
            self.held.discard(proxy_id)
            self.feed(ev.Removed(proxy_id=proxy_id))

    @rule(proxy_id=ids)
    def hold(self, proxy_id: str) -> None:
        if proxy_id in self.wanted and self.can(proxy_id, ev.Hold):
            self.held.add(proxy_id)
            if proxy_id not in self.live:
                self.count[proxy_id] = 0
            self.feed(ev.Hold(proxy_id=proxy_id, reason="by hand"))

    @rule(proxy_id=ids)
    def restart(self, proxy_id: str) -> None:
        if proxy_id in self.wanted and self.can(proxy_id, ev.Restart):
            self.held.discard(proxy_id)
            if proxy_id not in self.live:
                self.count[proxy_id] = 0
            self.feed(ev.Restart(proxy_id=proxy_id, reason="by hand"))

    @precondition(lambda self: self.questions)
    @rule(works=st.booleans())
    def answer(self, works: bool) -> None:
        question = self.questions.popleft()
        if isinstance(question, ev.Seek):
            found, memory = self.live.get(question.proxy_id), question.memory
            current = found is not None and question.spec == found.started_from
            if found is not None and memory is not None and memory.fingerprint and question.spec is not None:
                remembered = memory.fingerprint == fingerprint(question.spec)
                assert remembered == current, "the snapshot must tell what a process was started from"
            if found is not None:
                found.since = self.now  # how long it ran before nobody knows
            self.feed(
                ev.Sought(
                    proxy_id=question.proxy_id,
                    process=None if found is None else found.process,
                    current=current,
                )
            )
            return
        proxy_id = question.spec.proxy_id
        assert proxy_id not in self.live, "two processes of one proxy"
        self.count[proxy_id] = self.count.get(proxy_id, 0) + 1
        self.retry.pop(proxy_id, None)
        if not works:
            self.feed(ev.StartFailed(proxy_id=proxy_id, reason="it cannot be executed"))
            return
        self.pid += 1
        process = Process(pid=self.pid, start_time=self.pid, boot_id=BOOT)
        self.live[proxy_id] = Live(process, question.spec, self.now)
        self.feed(ev.Started(proxy_id=proxy_id, process=process))

    @rule()
    def answer_all(self) -> None:
        while self.questions:
            self.answer(works=True)

    @rule(proxy_id=ids)
    def end_after_a_healthy_run(self, proxy_id: str) -> None:
        if not self.questions and proxy_id in self.live and not self.live[proxy_id].asked:
            self.pass_time(20.0)
            self.end(proxy_id)

    @rule(proxy_id=ids)
    def ready(self, proxy_id: str) -> None:
        if proxy_id in self.live and self.can(proxy_id, ev.Ready):
            self.feed(ev.Ready(proxy_id=proxy_id, process=self.live[proxy_id].process))
            assert self.core.status()[proxy_id].ready or self.live[proxy_id].asked

    @rule(proxy_id=ids)
    def end(self, proxy_id: str) -> None:
        """A process ends, by itself or because it was asked to; the agent hears, unless it does not know it yet."""
        if proxy_id not in self.live:
            return
        gone = self.live.pop(proxy_id)
        if not self.asking(proxy_id):
            if gone.asked or self.now - gone.since >= TIMINGS.healthy_run:
                self.count[proxy_id] = 0
            self.feed(ev.Exited(proxy_id=proxy_id, process=gone.process, reason="it ended"))

    @rule(seconds=st.sampled_from((0.5, 2.0, 6.0, 20.0)))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        for proxy_id, timer in sorted(self.timers.items()):
            if self.due[proxy_id] <= self.now and self.timers.get(proxy_id) is timer:
                del self.timers[proxy_id]
                self.feed(ev.TimerFired(proxy_id=proxy_id, timer=timer.timer))

    @precondition(lambda self: not self.questions)
    @rule(remembers=st.booleans())
    def another_agent(self, remembers: bool) -> None:
        """The agent is replaced. The next one has its snapshot, or finds what lives without it."""
        waiting = {
            proxy_id: self.due[proxy_id]
            for proxy_id, timer in self.timers.items()
            if timer.timer is ev.Timer.RESTART
        }
        memories = self.snapshot
        if not remembers:
            memories = tuple(
                ev.Memory(proxy_id=proxy_id, process=live.process, fingerprint="", starts=1)
                for proxy_id, live in self.live.items()
            )
        self.new_agent()
        self.held.clear()
        known = {memory.proxy_id: memory for memory in memories}
        for live in self.live.values():
            live.asked = False
        for proxy_id in IDS:
            remembered = known.get(proxy_id)
            self.count[proxy_id] = 0 if remembered is None else remembered.starts
            if remembers and proxy_id in waiting:
                assert remembered is not None, "a back-off must survive its agent"
                self.retry[proxy_id] = waiting[proxy_id]
            else:
                self.retry.pop(proxy_id, None)
        for memory in memories:
            self.feed(ev.Remembered(memory=memory))
        for wanted in self.wanted.values():
            self.feed(ev.Defined(spec=wanted))
        self.feed(ev.Settled())

    # --- what must be so after every step --------------------------------------------------------------

    @invariant()
    def every_proxy_waits_for_the_right_thing(self) -> None:
        for proxy_id in IDS:
            wanted, live = self.wanted.get(proxy_id), self.live.get(proxy_id)
            asking, timer = self.asking(proxy_id), self.timers.get(proxy_id)
            status = self.core.status().get(proxy_id)
            if asking:
                assert len(asking) == 1
                assert timer is None
                assert status is not None
            elif live is not None:
                assert status is not None
                assert status.process == live.process
                wrong = wanted != live.started_from or proxy_id in self.held
                assert live.asked or not wrong, "what is not wanted is asked to end"
                assert (timer is not None) == live.asked, (
                    "whoever was asked to end is not waited for without limit"
                )
            elif wanted is None:
                assert status is None, "what is gone and not wanted is forgotten"
                assert timer is None
            elif proxy_id in self.held:
                assert timer is None
            else:
                assert timer is not None, "what is wanted and down is started some time"
                assert timer.timer is ev.Timer.RESTART
                delay = DELAYS[min(self.count[proxy_id], len(DELAYS) - 1)]
                began = self.due[proxy_id] - timer.seconds
                assert timer.seconds == min(delay, self.retry.get(proxy_id, began + delay) - began)

    @invariant()
    def the_snapshot_has_what_lives(self) -> None:
        stored = {memory.proxy_id: memory.process for memory in self.snapshot if memory.process is not None}
        known = {proxy_id: live.process for proxy_id, live in self.live.items() if not self.asking(proxy_id)}
        assert known.items() <= stored.items()
        assert stored.keys() <= self.core.status().keys() | known.keys()

    def teardown(self) -> None:
        """Whatever happened: let everything end that is under way, and what is wanted runs."""
        for _ in range(60):
            while self.questions:
                self.answer(works=True)
            for proxy_id in IDS:
                if proxy_id in self.live and self.live[proxy_id].asked:
                    self.end(proxy_id)
            if not self.questions:
                self.pass_time(6.0)
        running = {proxy_id: live.started_from for proxy_id, live in self.live.items()}
        assert running == {p: wanted for p, wanted in self.wanted.items() if p not in self.held}
        states = {status.state for status in self.core.status().values()}
        assert ProxyState.BACKOFF not in states


PlainModel.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestPlainModel = PlainModel.TestCase
