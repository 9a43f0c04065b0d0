"""What the simulator never does it cannot show: which transitions of the core its stories go through."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from reference.supervisor import events as ev
from reference.supervisor.core import TRANSITIONS, Supervisor
from reference.supervisor.simulation.schedule import parse
from reference.supervisor.simulation.seeds import generate
from reference.supervisor.simulation.story import TIMINGS, play
from reference.supervisor.spec import ProxyState

_S = ProxyState
Transition = tuple[ProxyState, type[ev.Event]]

#: Transitions that no story reaches, and the test that goes through them instead.
ELSEWHERE: Mapping[str, frozenset[Transition]] = {
    # The simulated world answers while the command is carried out, so nothing comes in between.
    "tests/supervisor/test_core_agrees_with_a_plain_model.py": frozenset(
        key
        for key in TRANSITIONS
        if key[0] in (_S.ADOPTING, _S.STARTING) and key[1] not in (ev.Sought, ev.Started, ev.StartFailed)
    ),
    # No simulated agent runs as root.
    "tests/supervisor/test_core_stops_and_adopts.py": frozenset(
        key for key in TRANSITIONS if key[0] is _S.REFUSED
    ),
    # Simulated proxies send no notices.
    "tests/supervisor/test_proxies_tell_when_they_are_ready.py": frozenset(
        key for key in TRANSITIONS if key[1] is ev.Ready
    ),
}
#: What seeds reach too seldom.
RARE = """
     0  start
     1  define web program=wedged
     2  remove web
     3  define web program=wedged
     4  hold web
     9  restart web
     9  hold web
     9  remove web
    30  define web program=polite
    31  hold web
    32  define web program=slow
    33  hold web
    40  remove web
    41  define web program=crashing
    42  hold web
    43  restart web
    44  remove web
"""


class Marked(Supervisor):
    """A core that remembers which transitions it went through."""

    seen: set[Transition]

    def handle(self, event: ev.Event, *, now: float) -> tuple[ev.Command, ...]:
        proxy_id = event.spec.proxy_id if isinstance(event, ev.Defined) else getattr(event, "proxy_id", "")
        before = self.status().get(proxy_id)
        if before is not None:
            self.seen.add((before.state, type(event)))
        return super().handle(event, now=now)


def test_every_transition_is_gone_through() -> None:
    seen: set[Transition] = set()

    def core() -> Supervisor:
        marked = Marked(timings=TIMINGS)
        marked.seen = seen
        return marked

    for schedule in (parse(RARE), *(generate(seed, hours=0.5) for seed in range(20))):
        assert not play(schedule, core=core).rule
    excused = frozenset[Transition]().union(*ELSEWHERE.values())
    missed = {f"{event.__name__} while {state}" for state, event in TRANSITIONS.keys() - excused - seen}
    assert not missed
    assert not excused & seen, "it is reached after all"


def test_what_is_excused_is_tested_elsewhere() -> None:
    assert all((Path(__file__).parents[2] / path).is_file() for path in ELSEWHERE)
