"""The end of a proxy: at once with SIGINT, with SIGTERM when its connections have ended or their time is up."""

from __future__ import annotations

import signal
import time

from tests.proxy.running import Household, exactly, listens
from tests.proxy.standin import StandIn
from tests.proxy.test_live_changes import talk
from tests.proxy.test_who_may_come_in import ended
from tests.proxy.worlds import World
from tests.waiting import eventually


def test_sigint_ends_it_at_once_with_exit_code_0(household: Household) -> None:
    with household.client() as sock:
        talk(sock)
        household.echo_proxy.process.send_signal(signal.SIGINT)
        assert household.echo_proxy.finish() == 0
        assert ended(sock)
    assert "Consul Connect proxy shutdown" in household.echo_proxy.lines[-1]


def test_sigterm_lets_connections_end_and_takes_no_new_ones(household: Household) -> None:
    with household.client() as sock:
        talk(sock)
        for proxy in (household.web_proxy, household.echo_proxy):
            proxy.process.send_signal(signal.SIGTERM)
        eventually(lambda: not listens(household.echo_port), "the end of the public listener")
        eventually(lambda: not listens(household.upstream_port), "the end of the upstream's")
        talk(sock)
        sock.shutdown(1)
        assert exactly(sock, 100) == b"that was all"
    for proxy in (household.web_proxy, household.echo_proxy):
        assert proxy.finish() == 0
        assert "Consul Connect proxy shutdown" in proxy.lines[-1]
        assert not proxy.has("have not ended in time")


def test_who_does_not_end_in_time_is_cut(world: World) -> None:
    with Household(world, config={"drain_timeout_ms": 300}) as household, household.client() as sock:
        talk(sock)
        began = time.monotonic()
        household.echo_proxy.process.send_signal(signal.SIGTERM)
        assert household.echo_proxy.finish() == 0
        assert 0.3 <= time.monotonic() - began < 20
        assert ended(sock)
        assert household.echo_proxy.has(r"\[WARN\] 1 connections have not ended in time and are cut")


def test_a_second_signal_does_not_wait(standin: StandIn) -> None:
    with Household(standin, config={"drain_timeout_ms": 600_000}) as household, household.client() as sock:
        talk(sock)
        household.echo_proxy.process.send_signal(signal.SIGTERM)
        eventually(lambda: not listens(household.echo_port), "the end of the listener")
        household.echo_proxy.process.send_signal(signal.SIGTERM)
        assert household.echo_proxy.finish() == 0


def test_an_idle_proxy_ends_at_once(standin: StandIn) -> None:
    patient = {"drain_timeout_ms": 600_000}
    # A connection that says nothing is none.
    with Household(standin, config=patient) as household, household.client(household.echo_port):
        household.echo_proxy.process.send_signal(signal.SIGTERM)
        assert household.echo_proxy.finish() == 0
