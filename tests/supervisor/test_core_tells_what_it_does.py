"""What operators, metrics and the next agent are told: states with their reasons, counts, and the snapshot."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from reference.supervisor import events as ev
from reference.supervisor.core import IllegalEvent
from reference.supervisor.spec import ProxyState, ProxyStatus, Tally, Timings
from tests.supervisor.playbook import Playbook, memory, process, running, spec

WEB = spec()
ASKED = "an operator asked for it"
RESTART = ev.Restart(proxy_id="web-proxy", reason=ASKED)
HOLD = ev.Hold(proxy_id="web-proxy", reason=ASKED)
REMOVED = ev.Removed(proxy_id="web-proxy")
READY = ev.Ready(proxy_id="web-proxy", process=process(100))
#: It waits before it starts a proxy for the second time.
PATIENT = Timings(quick_starts=1)


def exited(pid: int = 100) -> ev.Exited:
    return ev.Exited(proxy_id="web-proxy", process=process(pid), reason="exited with code 1")


def feed(play: Playbook, *events: ev.Event) -> Playbook:
    """What these events order is another test's affair."""
    for event in events:
        play >> event
        play._pending.clear()
    return play


def up(**core: object) -> Playbook:
    return running(Playbook(**core), WEB)


def adopted(*, now: float = 0.0, **known: object) -> Playbook:
    found = ev.Sought(proxy_id="web-proxy", process=process(100), current=True)
    remembered = ev.Remembered(memory=replace(memory(WEB), **known))
    return feed(Playbook().wait(now), remembered, ev.Defined(spec=WEB), found)


def test_what_nobody_said_of_a_proxy_is_not_so() -> None:
    status = ProxyStatus(proxy_id="web-proxy", state=ProxyState.STARTING)
    assert (status.starts, status.restarts, status.since) == (0, 0, 0.0)
    assert (status.pid, status.ready, status.outdated) == (None, False, False)
    assert not ev.Sought(proxy_id="web-proxy", process=None, current=False).outdated
    assert not memory(WEB).ready


def test_a_new_process_is_neither_ready_nor_outdated() -> None:
    status = up().status()
    assert (status.pid, status.ready, status.outdated) == (100, False, False)
    assert not adopted().status().outdated


def test_a_back_off_tells_how_the_last_run_ended_and_how_long_it_waits() -> None:
    play = feed(up(timings=PATIENT), exited())
    assert play.status().reason == "exited with code 1; waiting 2s before restarting"
    waiting = adopted_without_process(starts=9)
    assert waiting.status().reason == "it exited; waiting 60s before restarting"


def test_a_back_off_tells_when_it_ends_and_has_that_remembered() -> None:
    play = feed(up(timings=PATIENT).wait(5), exited())
    assert play.status().retry_at == 7.0
    assert [kept.retry_at for kept in play.snapshot] == [7.0]


def test_the_run_of_an_adopted_process_counts_from_its_adoption() -> None:
    assert feed(adopted(starts=9, now=100.0).wait(9), exited()).state() is ProxyState.BACKOFF
    assert feed(adopted(starts=9, now=100.0).wait(10), exited()).state() is ProxyState.STARTING


def adopted_without_process(*, starts: int, retry_at: float | None = None, now: float = 0.0) -> Playbook:
    remembered = replace(memory(WEB, None, starts=starts), retry_at=retry_at)
    nothing = ev.Sought(proxy_id="web-proxy", process=None, current=False)
    return feed(Playbook().wait(now), ev.Remembered(memory=remembered), ev.Defined(spec=WEB), nothing)


def test_the_rest_of_a_back_off_counts_however_short() -> None:
    play = adopted_without_process(starts=9, retry_at=100.5, now=100.0)
    assert play.state() is ProxyState.BACKOFF
    assert play.status().retry_at == 100.5
    assert adopted_without_process(starts=9, retry_at=100.0, now=100.0).state() is ProxyState.STARTING


def test_killing_tells_whether_it_was_tried_before() -> None:
    play = feed(up(), REMOVED, ev.TimerFired(proxy_id="web-proxy", timer=ev.Timer.GRACE))
    assert play.status().reason == "did not end when asked to"
    feed(play, ev.TimerFired(proxy_id="web-proxy", timer=ev.Timer.KILL_RETRY))
    assert play.status().reason == "process 100 is still there after SIGKILL"


@pytest.mark.parametrize("wrong", [ev.Timer.RESTART, ev.Timer.KILL_RETRY])
def test_a_timer_that_nobody_set_is_refused(wrong: ev.Timer) -> None:
    play = feed(up(), REMOVED)
    with pytest.raises(IllegalEvent, match="names another timer"):
        play.core.handle(ev.TimerFired(proxy_id="web-proxy", timer=wrong), now=0.0)
    assert play.state() is ProxyState.STOPPING


def test_who_asked_is_told_while_it_starts_and_while_it_stops() -> None:
    assert feed(up(timings=PATIENT), exited(), RESTART).status().reason == ASKED
    assert feed(up(), REMOVED, HOLD).status().reason == ASKED


def test_a_state_keeps_its_beginning_until_another_comes() -> None:
    play = up()
    play.wait(3) >> READY
    assert play.status().since == 0.0
    assert feed(play.wait(4), REMOVED).status().since == 7.0
    assert feed(play.wait(1), HOLD).status().since == 7.0


def test_ready_is_told_once() -> None:
    play = up() >> READY
    assert [status and status.ready for status in play.reports] == [True]
    assert (play >> READY).reports == []


def test_the_end_of_a_proxy_is_told() -> None:
    assert feed(up(), REMOVED, exited()).reports[-1] is None


def test_what_is_held_has_no_process_and_starts_afresh() -> None:
    play = feed(up(), READY, HOLD, exited())
    status = play.status()
    assert (status.state, status.process, status.ready, status.starts) == (ProxyState.STOPPED, None, False, 0)
    assert play.snapshot == (memory(WEB, None, starts=0),)
    assert feed(play, RESTART).status().starts == 1


def test_what_is_held_during_a_back_off_leaves_none_behind() -> None:
    play = feed(up(timings=PATIENT), exited(), HOLD)
    assert play.status().starts == 0
    assert play.snapshot == (memory(WEB, None, starts=0),)


def test_another_definition_of_what_was_held_comes_back_when_it_crashes() -> None:
    changed = spec(command=("/bin/other",))
    play = feed(up(), HOLD, exited(), ev.Defined(spec=changed))
    feed(play, ev.Started(proxy_id="web-proxy", process=process(101)))
    play >> exited(101) << ev.Spawn(spec=changed)


def test_only_starts_again_are_restarts() -> None:
    play = feed(Playbook(), ev.Defined(spec=WEB))
    assert play.status().restarts == 0
    feed(play, ev.Sought(proxy_id="web-proxy", process=None, current=False))
    assert play.status().restarts == 0
    feed(play, ev.Started(proxy_id="web-proxy", process=process(100)), exited())
    assert play.status().restarts == 1
    assert play.core.tally.restarts == 1


def test_what_was_adopted_is_restarted_by_its_first_start() -> None:
    play = adopted()
    assert play.status().restarts == 0
    feed(play, exited())
    assert play.status().restarts == 1
    assert play.core.tally == Tally(restarts=1, failures=1)


def test_a_start_that_failed_is_one_failure() -> None:
    play = feed(
        Playbook(), ev.Defined(spec=WEB), ev.Sought(proxy_id="web-proxy", process=None, current=False)
    )
    feed(play, ev.StartFailed(proxy_id="web-proxy", reason="cannot execute"))
    assert play.core.tally == Tally(restarts=1, failures=1)


def test_what_was_asked_for_is_no_failure() -> None:
    assert feed(up(), RESTART, exited()).core.tally == Tally(restarts=1)


def test_what_an_earlier_agent_ran_is_remembered_until_it_is_decided() -> None:
    play = feed(
        Playbook(), ev.Remembered(memory=memory(WEB)), ev.Remembered(memory=memory(spec("api-proxy")))
    )
    assert play.core.remembered == {"web-proxy", "api-proxy"}
    assert feed(play, ev.Defined(spec=WEB)).core.remembered == {"api-proxy"}
    assert feed(play, ev.Settled()).core.remembered == frozenset()


def test_an_agent_that_ends_takes_no_definition_any_more() -> None:
    play = feed(up(), ev.AgentStopping())
    for late in (WEB, spec("api-proxy")):
        with pytest.raises(IllegalEvent):
            play.core.handle(ev.Defined(spec=late), now=0.0)
    feed(play, exited())
    assert play.core.idle


def test_the_first_starts_follow_at_once() -> None:
    assert [Timings().delay_before(start) for start in range(1, 10)] == [0, 0, 0, 2, 4, 8, 16, 32, 60]
