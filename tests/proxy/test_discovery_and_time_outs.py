"""Finding an instance: dead ones, none, slow ones, prepared queries; and an application that is away."""

from __future__ import annotations

import socket
import time
from dataclasses import replace

from tests.proxy.ports import free_ports
from tests.proxy.running import Application, Household, eventually, exactly
from tests.proxy.test_who_may_come_in import ended, register_instance
from tests.proxy.worlds import World, ask


def test_a_dead_instance_is_passed_over(household: Household) -> None:
    register_instance(household.world, "echo-proxy", "echo", free_ports(1)[0])
    eventually(lambda: _passed_over(household), "a dial of the dead instance")
    assert not household.web_proxy.has(r"\[ERR\]")


def _passed_over(household: Household) -> bool:
    with household.client() as sock:
        sock.sendall(b"hello")
        assert exactly(sock, 5) == b"hello"
    return household.web_proxy.has("instance .* of echo: dial tcp .*: connect: connection refused")


def test_no_instance_ends_the_connection_at_once(world: World) -> None:
    with Household(world, upstream={"destination_name": "nobody"}) as household:
        began = time.monotonic()
        with household.client() as sock:
            assert ended(sock)
        assert time.monotonic() - began < 5
        household.web_proxy.wait_for(r"\[ERR\] failed to dial: no healthy instances found")


def test_an_instance_that_never_answers_is_given_up_at_the_connect_timeout(world: World) -> None:
    silent = Application(listen_silently)
    upstream = {"destination_name": "slow", "config": {"connect_timeout_ms": 700}}
    with Household(world, upstream=upstream) as household:
        register_instance(world, "slow-px", "slow", silent.port)
        eventually(lambda: _given_up(household), "an attempt on the silent instance")
    silent.close()


def listen_silently(connection: socket.socket) -> None:
    while connection.recv(1 << 16):
        continue


def _given_up(household: Household) -> bool:
    began = time.monotonic()
    with household.client() as sock:
        assert ended(sock)
    if not household.web_proxy.has(r"\[ERR\] failed to dial: .*i/o timeout"):
        return False
    assert 0.6 < time.monotonic() - began < 9
    return True


def test_an_application_that_is_away_ends_the_connection(household: Household) -> None:
    household.application.close()
    with household.client() as sock:
        sock.sendall(b"hello")
        assert ended(sock)
    household.echo_proxy.wait_for(
        rf"failed to dial: dial tcp 127.0.0.1:{household.echo.port}: connect: connection refused"
    )


def test_an_application_that_does_not_accept_is_given_up_at_its_timeout(world: World) -> None:
    with socket.socket() as deaf, Household(world, config={"local_connect_timeout_ms": 400}) as household:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        crowd = [socket.socket() for _ in range(3)]
        for one in crowd:  # fill its queue: further connection attempts hang
            one.setblocking(False)
            one.connect_ex(deaf.getsockname())
        port = deaf.getsockname()[1]
        config = {**household.echo.config, "local_service_address": f"127.0.0.1:{port}"}
        world.define(household.web, replace(household.echo, config=config))
        household.echo_proxy.wait_for("got new config", count=2)
        with household.client() as sock:
            sock.sendall(b"hello")
            assert ended(sock)
        household.echo_proxy.wait_for(rf"failed to dial: dial tcp 127.0.0.1:{port}: i/o timeout")
        for one in crowd:
            one.close()


def test_a_prepared_query_is_executed(world: World) -> None:
    upstream = {"destination_name": "find-echo", "destination_type": "prepared_query"}
    with Household(world, upstream=upstream) as household:
        body = {"Name": "find-echo", "Service": {"Service": "echo"}}
        ask(world, "POST", "/v1/query", body)
        with household.client() as sock:
            sock.sendall(b"hello")
            assert exactly(sock, 5) == b"hello"
        household.web_proxy.wait_for(r"->prepared_query:default/find-echo starting")
