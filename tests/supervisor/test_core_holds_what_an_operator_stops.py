"""Rule 11: what an operator stops stays stopped until there is a reason to start it."""

from __future__ import annotations

import pytest

from reference.supervisor import events as ev
from reference.supervisor.core import IllegalEvent
from reference.supervisor.spec import ProxyState
from tests.supervisor.playbook import Playbook, memory, process, running, spec

WEB = spec()
ASKED = "an operator asked for it"
EXITED = ev.Exited(proxy_id="web-proxy", process=process(100), reason="exited with code 0")
GRACE = ev.SetTimer(proxy_id="web-proxy", timer=ev.Timer.GRACE, seconds=5)
SIGINT = ev.Signal(proxy_id="web-proxy", process=process(100), signal="SIGINT")


def stopping(play: Playbook) -> Playbook:
    return running(play, WEB) >> ev.Hold(proxy_id="web-proxy", reason=ASKED) << SIGINT << GRACE


def held(play: Playbook) -> Playbook:
    stopping(play) >> EXITED << ev.CancelTimer(proxy_id="web-proxy") << ev.RemovePidFile(proxy_id="web-proxy")
    assert play.state() is ProxyState.STOPPED
    return play.end()


def test_it_is_stopped_and_not_started_again() -> None:
    play = held(Playbook())
    assert play.core.status()["web-proxy"].reason == ASKED
    (play >> ev.Defined(spec=WEB)).end()
    assert play.state() is ProxyState.STOPPED


def test_a_restart_or_another_definition_starts_it() -> None:
    held(play := Playbook()) >> ev.Restart(proxy_id="web-proxy", reason=ASKED) << ev.Spawn(spec=WEB)
    changed = spec(command=("/bin/other",))
    held(Playbook()) >> ev.Defined(spec=changed) << ev.Spawn(spec=changed)
    assert play.state() is ProxyState.STARTING


def test_one_that_waits_for_its_next_start_waits_no_more() -> None:
    play = Playbook()
    play >> ev.Remembered(memory=memory(WEB, None, starts=9))
    play >> ev.Defined(spec=WEB)
    play << ev.Seek(proxy_id="web-proxy", spec=WEB, memory=memory(WEB, None, starts=9))
    play >> ev.Sought(proxy_id="web-proxy", process=None, current=False)
    play << ev.SetTimer(proxy_id="web-proxy", timer=ev.Timer.RESTART, seconds=60)
    play >> ev.Hold(proxy_id="web-proxy", reason=ASKED)
    play << ev.CancelTimer(proxy_id="web-proxy") << ev.RemovePidFile(proxy_id="web-proxy")
    assert play.end().state() is ProxyState.STOPPED


def test_the_last_word_counts_while_it_is_being_stopped() -> None:
    play = stopping(Playbook()) >> ev.Restart(proxy_id="web-proxy", reason=ASKED)
    play >> EXITED << ev.CancelTimer(proxy_id="web-proxy") << ev.Spawn(spec=WEB)
    play = running(Playbook(), WEB) >> ev.Restart(proxy_id="web-proxy", reason=ASKED) << SIGINT << GRACE
    play >> ev.Hold(proxy_id="web-proxy", reason=ASKED)
    play >> EXITED << ev.CancelTimer(proxy_id="web-proxy") << ev.RemovePidFile(proxy_id="web-proxy")
    assert play.state() is ProxyState.STOPPED


def test_removed_meanwhile_and_defined_anew_it_runs() -> None:
    play = stopping(Playbook()) >> ev.Removed(proxy_id="web-proxy")
    play >> ev.Defined(spec=WEB)
    play >> EXITED << ev.CancelTimer(proxy_id="web-proxy") << ev.Spawn(spec=WEB)


def test_of_what_an_earlier_agent_ran_one_can_be_stopped_and_the_others_are_kept_in_mind() -> None:
    api = spec("api-proxy")
    play = Playbook()
    for remembered in (memory(WEB, 100), memory(api, 200)):
        play >> ev.Remembered(memory=remembered)
    play >> ev.Orphaned(proxy_id="web-proxy")
    play << ev.Seek(proxy_id="web-proxy", spec=None, memory=memory(WEB, 100))
    play >> ev.Sought(proxy_id="web-proxy", process=process(100), current=False)
    play << ev.WritePidFile(proxy_id="web-proxy", pid=100) << SIGINT << GRACE
    play >> EXITED << ev.CancelTimer(proxy_id="web-proxy") << ev.RemovePidFile(proxy_id="web-proxy")
    assert play.end().snapshot == (memory(api, 200),)
    with pytest.raises(IllegalEvent):
        play.core.handle(ev.Orphaned(proxy_id="web-proxy"), now=0.0)
