"""Rules 4 to 9: what is kept, what is replaced, what is stopped, and how."""

from __future__ import annotations

from reference.supervisor import events as ev
from reference.supervisor.fingerprint import fingerprint
from reference.supervisor.spec import ProxyState
from tests.supervisor.playbook import Playbook, memory, process, running, spec

WEB = spec()
CHANGED = spec(command=("/bin/proxy", "-new"))
NOTHING = ev.Sought(proxy_id="web-proxy", process=None, current=False)
GONE = ev.Exited(proxy_id="web-proxy", process=process(100), reason="exited with code 0")


def remembered(play: Playbook, *, wanted: bool = True) -> Playbook:
    play >> ev.Remembered(memory=memory(WEB))
    if wanted:
        play >> ev.Defined(spec=WEB) << ev.Seek(proxy_id="web-proxy", spec=WEB, memory=memory(WEB))
    return play


def asked_to_stop(play: Playbook) -> Playbook:
    play << ev.Signal(proxy_id="web-proxy", process=process(100), signal="SIGINT")
    return play << ev.SetTimer(proxy_id="web-proxy", timer=ev.Timer.GRACE, seconds=5)


def forgotten(play: Playbook) -> None:
    (play << ev.RemovePidFile(proxy_id="web-proxy")).end()
    assert play.core.idle
    assert play.snapshot == ()


def test_a_remembered_process_is_adopted() -> None:
    play = remembered(Playbook())
    play >> ev.Sought(proxy_id="web-proxy", process=process(100), current=True)
    (play << ev.WritePidFile(proxy_id="web-proxy", pid=100)).end()
    assert play.state() is ProxyState.RUNNING


def test_the_snapshot_keeps_what_is_not_decided_yet() -> None:
    play = remembered(Playbook())
    (
        play
        >> ev.Defined(spec=spec("api-proxy"))
        << ev.Seek(proxy_id="api-proxy", spec=spec("api-proxy"), memory=None)
    )
    assert memory(WEB) in play.snapshot


def test_an_adopted_process_of_another_definition_is_replaced() -> None:
    play = remembered(Playbook())
    play >> ev.Sought(proxy_id="web-proxy", process=process(100), current=False)
    asked_to_stop(play << ev.WritePidFile(proxy_id="web-proxy", pid=100))
    play >> GONE << ev.CancelTimer(proxy_id="web-proxy") << ev.Spawn(spec=WEB)


def test_a_definition_that_changed_while_it_was_looked_for_is_not_current() -> None:
    play = remembered(Playbook())
    (play >> ev.Defined(spec=CHANGED)).end()
    play >> ev.Sought(proxy_id="web-proxy", process=process(100), current=True)
    asked_to_stop(play << ev.WritePidFile(proxy_id="web-proxy", pid=100))
    play >> GONE << ev.CancelTimer(proxy_id="web-proxy") << ev.Spawn(spec=CHANGED)


def test_an_outdated_process_stays_outdated_for_the_agent_after_next() -> None:
    """This agent may be killed before the process is gone: the snapshot must not say that it is the new one."""
    play = Playbook()
    play >> ev.Remembered(memory=memory(WEB))
    play >> ev.Defined(spec=CHANGED) << ev.Seek(proxy_id="web-proxy", spec=CHANGED, memory=memory(WEB))
    play >> ev.Sought(proxy_id="web-proxy", process=process(100), current=False)
    asked_to_stop(play << ev.WritePidFile(proxy_id="web-proxy", pid=100))
    assert [stored.fingerprint for stored in play.snapshot] == [fingerprint(WEB)]


def test_what_only_the_snapshot_names_is_stopped_and_forgotten() -> None:
    play = remembered(Playbook(), wanted=False)
    play >> ev.Settled() << ev.Seek(proxy_id="web-proxy", spec=None, memory=memory(WEB))
    play >> ev.Sought(proxy_id="web-proxy", process=process(100), current=False)
    asked_to_stop(play << ev.WritePidFile(proxy_id="web-proxy", pid=100))
    forgotten(play >> GONE << ev.CancelTimer(proxy_id="web-proxy"))


def test_a_changed_definition_stops_the_old_process_before_it_starts_the_new() -> None:
    play = running(Playbook(), WEB)
    asked_to_stop(play >> ev.Defined(spec=CHANGED))
    play >> GONE << ev.CancelTimer(proxy_id="web-proxy") << ev.Spawn(spec=CHANGED)


def test_a_definition_that_changed_during_the_start_is_replaced_at_once() -> None:
    play = Playbook()
    play >> ev.Defined(spec=WEB) << ev.Seek(proxy_id="web-proxy", spec=WEB, memory=None)
    play >> NOTHING << ev.Spawn(spec=WEB)
    (play >> ev.Defined(spec=CHANGED)).end()
    play >> ev.Started(proxy_id="web-proxy", process=process(100))
    asked_to_stop(play << ev.WritePidFile(proxy_id="web-proxy", pid=100))


def test_a_removed_proxy_is_asked_then_killed_then_killed_again() -> None:
    play = running(Playbook(), WEB)
    asked_to_stop(play >> ev.Removed(proxy_id="web-proxy"))
    for timer in (ev.Timer.GRACE, ev.Timer.KILL_RETRY, ev.Timer.KILL_RETRY):
        play >> ev.TimerFired(proxy_id="web-proxy", timer=timer)
        play << ev.Signal(proxy_id="web-proxy", process=process(100), signal="SIGKILL")
        play << ev.SetTimer(proxy_id="web-proxy", timer=ev.Timer.KILL_RETRY, seconds=1)
        assert play.state() is ProxyState.KILLING
    forgotten(play >> GONE << ev.CancelTimer(proxy_id="web-proxy"))


def test_a_removed_proxy_is_not_restarted_when_it_ends_by_itself() -> None:
    play = running(Playbook(), WEB)
    asked_to_stop(play >> ev.Removed(proxy_id="web-proxy"))
    forgotten(play >> GONE << ev.CancelTimer(proxy_id="web-proxy"))


def test_a_proxy_that_is_wanted_again_while_it_stops_is_started_after_it_is_gone() -> None:
    play = running(Playbook(), WEB)
    asked_to_stop(play >> ev.Removed(proxy_id="web-proxy"))
    (play >> ev.Defined(spec=WEB)).end()
    play >> GONE << ev.CancelTimer(proxy_id="web-proxy") << ev.Spawn(spec=WEB)


def test_removal_in_back_off_prevents_any_further_start() -> None:
    play = Playbook()
    play >> ev.Remembered(memory=memory(WEB, None, starts=4))
    (
        play
        >> ev.Defined(spec=WEB)
        << ev.Seek(proxy_id="web-proxy", spec=WEB, memory=memory(WEB, None, starts=4))
    )
    play >> NOTHING << ev.SetTimer(proxy_id="web-proxy", timer=ev.Timer.RESTART, seconds=4)
    forgotten(play >> ev.Removed(proxy_id="web-proxy") << ev.CancelTimer(proxy_id="web-proxy"))


def test_removal_during_the_start_stops_what_was_started() -> None:
    play = Playbook()
    play >> ev.Defined(spec=WEB) << ev.Seek(proxy_id="web-proxy", spec=WEB, memory=None)
    play >> NOTHING << ev.Spawn(spec=WEB)
    (play >> ev.Removed(proxy_id="web-proxy")).end()
    play >> ev.Started(proxy_id="web-proxy", process=process(100))
    asked_to_stop(play << ev.WritePidFile(proxy_id="web-proxy", pid=100))


def test_a_refused_proxy_is_not_started_and_says_why() -> None:
    play = Playbook(refusal="running as root")
    play >> ev.Defined(spec=WEB) << ev.Seek(proxy_id="web-proxy", spec=WEB, memory=None)
    (play >> NOTHING << ev.RemovePidFile(proxy_id="web-proxy")).end()
    status = play.core.status()["web-proxy"]
    assert (status.state, status.reason) == (ProxyState.REFUSED, "running as root")


def test_a_process_from_before_the_refusal_is_stopped_and_not_restarted() -> None:
    """The original goes on supervising it, which lets a snapshot defeat the rule."""
    play = remembered(Playbook(refusal="running as root"))
    play >> ev.Sought(proxy_id="web-proxy", process=process(100), current=True)
    asked_to_stop(play << ev.WritePidFile(proxy_id="web-proxy", pid=100))
    play >> GONE << ev.CancelTimer(proxy_id="web-proxy") << ev.RemovePidFile(proxy_id="web-proxy")
    assert play.end().state() is ProxyState.REFUSED


def test_an_ending_agent_takes_every_proxy_along() -> None:
    play = running(Playbook(), WEB)
    running(play, spec("api-proxy"), 200)
    play >> ev.AgentStopping()
    asked_to_stop(play)
    play << ev.Signal(proxy_id="api-proxy", process=process(200), signal="SIGINT")
    play << ev.SetTimer(proxy_id="api-proxy", timer=ev.Timer.GRACE, seconds=5)
    play >> GONE << ev.CancelTimer(proxy_id="web-proxy") << ev.RemovePidFile(proxy_id="web-proxy")
    assert not play.core.idle
    play >> ev.Exited(proxy_id="api-proxy", process=process(200), reason="exited with code 0")
    (play << ev.CancelTimer(proxy_id="api-proxy") << ev.RemovePidFile(proxy_id="api-proxy")).end()
    assert play.core.idle


def test_a_proxy_of_another_release_is_kept_and_named_until_it_is_restarted() -> None:
    play, wanted = Playbook(), spec()
    play >> ev.Defined(spec=wanted) << ev.Seek(proxy_id="web-proxy", spec=wanted, memory=None)
    play >> ev.Sought(proxy_id="web-proxy", process=process(), current=True, outdated=True)
    play << ev.WritePidFile(proxy_id="web-proxy", pid=100)
    assert play.state() is ProxyState.RUNNING
    assert play.core.status()["web-proxy"].outdated
    (
        play.end()
        >> ev.Exited(proxy_id="web-proxy", process=process(), reason="crashed")
        << ev.Spawn(spec=wanted)
    )
    play >> ev.Started(proxy_id="web-proxy", process=process(101))
    assert not play.core.status()["web-proxy"].outdated
