"""An agent that is away: what is known goes on, what is not stays outside, and nobody gets upset about it."""

from __future__ import annotations

import time

import pytest

from tests.proxy.running import Household, is_idle
from tests.proxy.standin import StandIn
from tests.proxy.test_live_changes import talk
from tests.proxy.test_who_may_come_in import ended
from tests.waiting import eventually


def test_who_was_let_in_before_still_is_and_strangers_are_not(household: Household) -> None:
    stranger = household.context_of("stranger")
    with household.client() as established:
        talk(established)
        household.world.kill()
        for proxy in (household.web_proxy, household.echo_proxy):
            proxy.wait_for(r"\[ERR\] consul.watch: Watch \(type: connect_leaf\) errored")
        talk(established)
        time.sleep(0.6)  # longer than any verdict is reused while the agent could be asked
        with household.client() as sock:
            talk(sock)
        with household.peer(stranger) as peer:
            assert ended(peer, after=b"hello")
        household.echo_proxy.wait_for(r"/svc/stranger is not authorized: the agent gave no answer: .*refused")
        talk(established)


def test_a_refused_token_keeps_everybody_out(standin: StandIn) -> None:
    with Household(standin) as household:
        with household.client() as sock:
            talk(sock)
        standin.state.refusal = (403, "ACL not found")
        standin.state.touch("intentions", *standin.state.indexes)
        household.echo_proxy.wait_for(r"\[ERR\] .*connect_intentions\) errored: .* 403")
        eventually(lambda: _refused(household), "a refusal")
        household.echo_proxy.wait_for("is not authorized: the agent gave no answer: .* 403 .ACL not found")


def _refused(household: Household) -> bool:
    with household.client() as sock:
        return ended(sock, after=b"x")


@pytest.mark.parametrize("away", ["killed", "frozen in answers without end"])
def test_a_long_absence_costs_neither_processor_nor_log(standin: StandIn, away: str) -> None:
    with Household(standin) as household, household.client() as established:
        talk(established)
        if away == "killed":
            standin.kill()
        else:  # answers at once, again and again, without anything new
            standin.state.impatient = True
            standin.state.touch("intentions", *standin.state.indexes)
        household.echo_proxy.wait_for(r"\[ERR\] .*connect_intentions\) errored")
        eventually(lambda: _errors(household) >= 3, "all watches to notice")
        # On a busy machine every wake-up costs more: what is awaited is one quiet time, which a busy loop never has.
        eventually(lambda: _quiet(household), "three seconds of silence")
        talk(established)


def _errors(household: Household) -> int:
    return sum("[ERR] consul.watch" in line for line in household.echo_proxy.lines)


def _quiet(household: Household) -> bool:
    proxy = household.echo_proxy
    lines = len(proxy.lines)
    idle = is_idle(proxy.process.pid, 0.01, during=3.0)
    assert len(proxy.lines) - lines <= 4
    return idle
