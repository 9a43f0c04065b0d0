"""Rules 1 to 3 and 10: a wanted proxy runs, once, and comes back with growing patience."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from reference.supervisor import events as ev
from reference.supervisor.core import IllegalEvent
from reference.supervisor.spec import ProxyState, Timings
from tests.supervisor.playbook import Playbook, memory, process, running, spec

WEB = spec()


def exited(pid: int) -> ev.Exited:
    return ev.Exited(proxy_id="web-proxy", process=process(pid), reason="exited with code 1")


def test_a_defined_proxy_is_looked_for_and_then_started() -> None:
    play = running(Playbook(), WEB)
    assert play.end().state() is ProxyState.RUNNING
    assert play.snapshot == (memory(WEB, 100, starts=1),)


def test_an_equal_definition_changes_nothing() -> None:
    play = running(Playbook(), WEB)
    (play >> ev.Defined(spec=spec())).end()
    assert play.state() is ProxyState.RUNNING


def test_the_delays_are_none_none_two_four_up_to_sixty() -> None:
    play = running(Playbook(), WEB)
    delays = []
    for pid in range(100, 110):
        play >> exited(pid)
        if play.state() is ProxyState.BACKOFF:
            timer = play._pending.pop()
            assert isinstance(timer, ev.SetTimer)
            assert timer.timer is ev.Timer.RESTART
            delays.append(timer.seconds)
            play >> ev.TimerFired(proxy_id="web-proxy", timer=ev.Timer.RESTART)
        else:
            delays.append(0.0)
        play << ev.Spawn(spec=WEB)
        play >> ev.Started(proxy_id="web-proxy", process=process(pid + 1))
        play << ev.WritePidFile(proxy_id="web-proxy", pid=pid + 1)
    assert delays == [0, 0, 2, 4, 8, 16, 32, 60, 60, 60]


@pytest.mark.parametrize(("lived", "starts"), [(9.9, 2), (10.0, 1)])
def test_a_run_of_ten_seconds_resets_the_count(lived: float, starts: int) -> None:
    play = running(Playbook(), WEB).wait(lived)
    play >> exited(100) << ev.Spawn(spec=WEB)
    assert play.core.status()["web-proxy"].starts == starts


def test_a_run_of_ten_seconds_resets_the_count_after_a_wait_too() -> None:
    """The original loses its success deadline during the wait, so its patience never comes back."""
    play = Playbook()
    play >> ev.Remembered(memory=memory(WEB, None, starts=5))
    (
        play
        >> ev.Defined(spec=WEB)
        << ev.Seek(proxy_id="web-proxy", spec=WEB, memory=memory(WEB, None, starts=5))
    )
    play >> ev.Sought(proxy_id="web-proxy", process=None, current=False)
    play << ev.SetTimer(proxy_id="web-proxy", timer=ev.Timer.RESTART, seconds=8)
    play.wait(8) >> ev.TimerFired(proxy_id="web-proxy", timer=ev.Timer.RESTART) << ev.Spawn(spec=WEB)
    (
        play
        >> ev.Started(proxy_id="web-proxy", process=process(7))
        << ev.WritePidFile(proxy_id="web-proxy", pid=7)
    )
    play.wait(10) >> exited(7) << ev.Spawn(spec=WEB)
    assert play.core.status()["web-proxy"].starts == 1


def test_a_restarted_agent_waits_only_for_what_is_left_of_a_back_off() -> None:
    waiting = replace(memory(WEB, None, starts=9), retry_at=107.5)
    play = Playbook().wait(100)
    play >> ev.Remembered(memory=waiting)
    play >> ev.Defined(spec=WEB) << ev.Seek(proxy_id="web-proxy", spec=WEB, memory=waiting)
    play >> ev.Sought(proxy_id="web-proxy", process=None, current=False)
    play << ev.SetTimer(proxy_id="web-proxy", timer=ev.Timer.RESTART, seconds=7.5)
    assert play.snapshot == (waiting,)


def test_a_back_off_that_ended_while_no_agent_was_there_is_over() -> None:
    waiting = replace(memory(WEB, None, starts=9), retry_at=107.5)
    play = Playbook().wait(200)
    play >> ev.Remembered(memory=waiting)
    play >> ev.Defined(spec=WEB) << ev.Seek(proxy_id="web-proxy", spec=WEB, memory=waiting)
    play >> ev.Sought(proxy_id="web-proxy", process=None, current=False) << ev.Spawn(spec=WEB)


def test_a_command_that_cannot_be_executed_is_tried_again_with_the_same_delays() -> None:
    play = Playbook()
    play >> ev.Defined(spec=WEB) << ev.Seek(proxy_id="web-proxy", spec=WEB, memory=None)
    play >> ev.Sought(proxy_id="web-proxy", process=None, current=False)
    failed = ev.StartFailed(proxy_id="web-proxy", reason="cannot execute /bin/proxy: no such file")
    for _ in range(3):
        play << ev.Spawn(spec=WEB)
        play >> failed
    play << ev.SetTimer(proxy_id="web-proxy", timer=ev.Timer.RESTART, seconds=2)
    assert "no such file" in play.core.status()["web-proxy"].reason


def test_the_delays_can_be_configured() -> None:
    patient = Timings(quick_starts=0, backoff_base=3.0, backoff_limit=10.0)
    assert [patient.delay_before(n) for n in (1, 2, 3, 10_000)] == [3.0, 6.0, 10.0, 10.0]


def test_a_changed_definition_ends_a_wait_and_starts_afresh() -> None:
    play = Playbook()
    play >> ev.Remembered(memory=memory(WEB, None, starts=9))
    (
        play
        >> ev.Defined(spec=WEB)
        << ev.Seek(proxy_id="web-proxy", spec=WEB, memory=memory(WEB, None, starts=9))
    )
    play >> ev.Sought(proxy_id="web-proxy", process=None, current=False)
    play << ev.SetTimer(proxy_id="web-proxy", timer=ev.Timer.RESTART, seconds=60)
    changed = spec(command=("/bin/other",))
    play >> ev.Defined(spec=changed) << ev.CancelTimer(proxy_id="web-proxy") << ev.Spawn(spec=changed)
    assert play.core.status()["web-proxy"].starts == 1


@pytest.mark.parametrize(
    "event",
    [
        ev.Removed(proxy_id="nobody"),
        ev.TimerFired(proxy_id="web-proxy", timer=ev.Timer.GRACE),
        ev.Started(proxy_id="web-proxy", process=process(5)),
        ev.Exited(proxy_id="web-proxy", process=process(5), reason="another process"),
        ev.Remembered(memory=memory(WEB)),
    ],
)
def test_what_cannot_happen_raises_and_changes_nothing(event: ev.Event) -> None:
    play = running(Playbook(), WEB)
    before = play.core.status()
    with pytest.raises(IllegalEvent):
        play.core.handle(event, now=0.0)
    assert play.core.status() == before


def test_a_restart_that_is_asked_for_stops_and_starts() -> None:
    play = running(Playbook(), WEB)
    play >> ev.Restart(proxy_id="web-proxy", reason="an operator asked for it")
    play << ev.Signal(proxy_id="web-proxy", process=process(100), signal="SIGINT")
    play << ev.SetTimer(proxy_id="web-proxy", timer=ev.Timer.GRACE, seconds=5)
    assert play.core.status()["web-proxy"].reason == "an operator asked for it"
    play >> exited(100) << ev.CancelTimer(proxy_id="web-proxy") << ev.Spawn(spec=WEB)
    assert play.core.status()["web-proxy"].restarts == 1


def test_a_restart_that_is_asked_for_ends_a_back_off_and_forgives() -> None:
    waiting = replace(memory(WEB, None, starts=9), retry_at=107.5)
    play = Playbook().wait(100)
    play >> ev.Remembered(memory=waiting)
    play >> ev.Defined(spec=WEB) << ev.Seek(proxy_id="web-proxy", spec=WEB, memory=waiting)
    play >> ev.Sought(proxy_id="web-proxy", process=None, current=False)
    play << ev.SetTimer(proxy_id="web-proxy", timer=ev.Timer.RESTART, seconds=7.5)
    assert play.core.status()["web-proxy"].retry_at == 107.5
    play >> ev.Restart(proxy_id="web-proxy", reason="an operator asked for it")
    play << ev.CancelTimer(proxy_id="web-proxy") << ev.Spawn(spec=WEB)
    assert play.core.status()["web-proxy"].starts == 1


def test_each_process_announces_itself_anew() -> None:
    play = running(Playbook(), WEB)
    (play >> ev.Ready(proxy_id="web-proxy", process=process(100))).end()
    assert play.core.status()["web-proxy"].ready
    assert play.snapshot[0].ready
    play >> exited(100) << ev.Spawn(spec=WEB)
    assert not play.core.status()["web-proxy"].ready


def test_an_adopted_process_is_as_ready_as_it_was() -> None:
    ready = replace(memory(WEB, 100), ready=True)
    play = Playbook()
    play >> ev.Remembered(memory=ready)
    play >> ev.Defined(spec=WEB) << ev.Seek(proxy_id="web-proxy", spec=WEB, memory=ready)
    play >> ev.Sought(proxy_id="web-proxy", process=process(100), current=True)
    play << ev.WritePidFile(proxy_id="web-proxy", pid=100)
    assert play.core.status()["web-proxy"].ready


def test_the_tally_counts_restarts_failures_and_imposed_waits() -> None:
    play = running(Playbook(), WEB)
    for pid in (100, 101, 102):
        play >> exited(pid)
        if play.state() is ProxyState.BACKOFF:
            play << ev.SetTimer(proxy_id="web-proxy", timer=ev.Timer.RESTART, seconds=2)
            play >> ev.TimerFired(proxy_id="web-proxy", timer=ev.Timer.RESTART)
        play << ev.Spawn(spec=WEB)
        play >> ev.Started(proxy_id="web-proxy", process=process(pid + 1))
        play << ev.WritePidFile(proxy_id="web-proxy", pid=pid + 1)
    tally = play.core.tally
    assert (tally.restarts, tally.failures, tally.backoff_seconds) == (3, 3, 2.0)


def test_another_signal_can_ask_proxies_to_end() -> None:
    play = running(Playbook(timings=Timings(stop_signal="SIGTERM", stop_grace=30.0)), WEB)
    play >> ev.Removed(proxy_id="web-proxy")
    play << ev.Signal(proxy_id="web-proxy", process=process(100), signal="SIGTERM")
    play << ev.SetTimer(proxy_id="web-proxy", timer=ev.Timer.GRACE, seconds=30)
