"""Peers that cost something: thousands that say nothing, some that say it slowly, and more than there may be."""

from __future__ import annotations

import os
import resource
import socket
import time

import pytest

from tests.proxy.running import Household, exactly
from tests.proxy.standin import StandIn
from tests.proxy.test_live_changes import talk
from tests.proxy.test_who_may_come_in import ended
from tests.proxy.worlds import World
from tests.waiting import eventually

#: How many idle peers come at once: few enough for every day; the whole number has been run, see docs/proxy.md.
CROWD = int(os.environ.get("PROXYPROOF_CROWD", "400"))


def test_a_crowd_of_idle_strangers_is_dropped_while_service_goes_on(standin: StandIn) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    patience = {"handshake_timeout_ms": 5_000 + CROWD // 2}
    crowd: list[socket.socket] = []
    try:
        with Household(standin, config=patience) as household, household.client() as established:
            talk(established)
            for number in range(CROWD):
                # Each from one of several addresses: a pair of addresses has only so many ports.
                source = (f"127.0.0.{number // 20_000 + 2}", 0)
                crowd.append(
                    socket.create_connection(("127.0.0.1", household.echo_port), 60, source_address=source)
                )
            with household.client() as sock:
                talk(sock, b"x" * 100_000)
            talk(established)
            dropped = sum(ended(sock) for sock in crowd)
            assert dropped == CROWD
            eventually(lambda: _descriptors(household) < 40, "the descriptors to be free again")
            with household.client() as sock:
                talk(sock)
            assert household.application.connections == 3
            assert not household.echo_proxy.has(r"\[(ERR|WARN)\]")
    finally:
        for sock in crowd:
            sock.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _descriptors(household: Household) -> int:
    return len(os.listdir(f"/proc/{household.echo_proxy.process.pid}/fd"))


def test_the_proxy_takes_all_descriptors_that_it_may(standin: StandIn) -> None:
    with Household(standin) as household:
        soft, hard = resource.prlimit(household.echo_proxy.process.pid, resource.RLIMIT_NOFILE)
        assert soft == hard


def test_a_handshake_byte_by_byte_is_cut_at_its_time_out_all_the_same(world: World) -> None:
    """The time-out spans the handshake; a peer cannot stretch it by saying a little now and then."""
    with Household(world, config={"handshake_timeout_ms": 600}) as household:
        hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 500
        began = time.monotonic()
        with household.client(household.echo_port) as sock:
            sock.settimeout(0.05)
            said = 0
            while time.monotonic() - began < 30:
                try:
                    sock.sendall(hello[said : said + 1])
                    said = min(said + 1, len(hello) - 1)
                    if sock.recv(1) == b"":
                        break
                except TimeoutError:
                    continue
                except OSError:
                    break
        assert 0.5 < time.monotonic() - began < 20
        household.echo_proxy.wait_for(r"\[ERR\] connection from .* refused: no TLS handshake within 0.6 s")


def test_inbound_connections_are_limited(world: World) -> None:
    with Household(world, config={"max_inbound_connections": 2}) as household:
        first, second = household.client(), household.client()
        talk(first)
        talk(second)
        with household.client() as third:
            assert ended(third, after=b"hello")
        household.echo_proxy.wait_for(
            r"\[ERR\] connection from .* refused: there are 2 connections already .max_inbound_connections"
        )
        assert household.application.connections == 2
        first.close()
        eventually(lambda: _served(household), "a place that is free again")
        talk(second)
        second.close()


def test_connections_to_an_upstream_are_limited(world: World) -> None:
    upstream = {"config": {"limits": {"max_connections": 1}}}
    with Household(world, upstream=upstream) as household:
        with household.client() as first:
            talk(first)
            with household.client() as second:
                assert ended(second)
            household.web_proxy.wait_for(
                r"\[ERR\] .* there are 1 connections already .limits.max_connections"
            )
            talk(first)
        eventually(lambda: _served(household), "a place that is free again")


def _served(household: Household) -> bool:
    with household.client() as sock:
        try:
            sock.sendall(b"hello")
            return exactly(sock, 5) == b"hello"
        except OSError:
            return False


@pytest.mark.parametrize("spoken", [b"", b"\x16"])
def test_an_aborted_handshake_leaves_nothing_behind(standin: StandIn, spoken: bytes) -> None:
    with Household(standin) as household:
        before = _descriptors(household)
        for _ in range(50):
            with household.client(household.echo_port) as sock:
                sock.sendall(spoken)
        # A few may have come for the agent meanwhile.
        eventually(lambda: _descriptors(household) <= before + 5, "the descriptors to be free again")
        with household.client() as sock:
            talk(sock)
