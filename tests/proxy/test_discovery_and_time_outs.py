"""Finding an instance: dead ones, none, slow ones, prepared queries; and an application that is away."""

from __future__ import annotations

import re
import socket
import time
from dataclasses import replace
from typing import Any

from tests.ports import free_ports
from tests.proxy.running import Application, Household, exactly
from tests.proxy.standin import StandIn
from tests.proxy.test_who_may_come_in import ended, register_instance
from tests.proxy.worlds import World, ask
from tests.waiting import eventually


def test_a_dead_instance_is_passed_over(household: Household) -> None:
    register_instance(household.world, "echo-proxy", "echo", free_ports(1)[0])
    eventually(lambda: _passed_over(household), "a dial of the dead instance")
    assert not household.web_proxy.has(r"\[ERR\]")


def _passed_over(household: Household) -> bool:
    with household.client() as sock:
        sock.sendall(b"hello")
        assert exactly(sock, 5) == b"hello"
    return household.web_proxy.has(
        "passed over: dial tcp .*: connect: connection refused .instance .* of echo"
    )


def test_no_instance_ends_the_connection_at_once(world: World) -> None:
    patient = {"connect_timeout_ms": 600_000}
    with Household(world, upstream={"destination_name": "nobody", "config": patient}) as household:
        began = time.monotonic()
        with household.client() as sock:
            assert ended(sock)
        assert time.monotonic() - began < 60
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
        assert ended(sock, after=b"hello")
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
            assert ended(sock, after=b"hello")
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


def test_what_is_not_healthy_is_not_dialled(standin: StandIn) -> None:
    ill = Application(listen_silently)
    with Household(standin) as household:
        register_instance(standin, "echo-proxy", "echo", ill.port)
        eventually(lambda: _dialled(household, ill), "a dial of the instance while it is healthy")
        standin.state.failing.add(f"echo-proxy-{ill.port}")
        standin.state.touch("health")
        eventually(lambda: _left_alone(household, ill), "the news that it is not healthy")
    ill.close()


def _left_alone(household: Household, application: Application) -> bool:
    """Whether none of thirty connections, each to an instance that chance chooses, leads there."""
    before = application.connections
    for _ in range(30):
        with household.client() as sock:
            sock.sendall(b"hello")
            if exactly(sock, 5) != b"hello" or application.connections > before:
                return False
    return True


def _dialled(household: Household, application: Application) -> bool:
    household.client().close()
    return application.connections > 0


def test_a_silent_instance_leaves_time_for_another(standin: StandIn) -> None:
    """Two of three never answer; each gets its share of the connect time-out, so every client is served."""
    silent = [Application(listen_silently) for _ in range(2)]
    with Household(standin, upstream={"config": {"connect_timeout_ms": 6000}}) as household:
        for one in silent:
            register_instance(standin, "echo-proxy", "echo", one.port)
        eventually(
            lambda: _dialled(household, silent[0]) and _dialled(household, silent[1]), "their discovery"
        )
        for _ in range(2):
            with household.client() as sock:
                sock.sendall(b"hello")
                assert exactly(sock, 5) == b"hello"
    for one in silent:
        one.close()


def test_a_prepared_query_is_tried_in_its_order_and_asked_again_for_each_connection(standin: StandIn) -> None:
    """Near, tags and failover are the query's business: what it puts first is where the client goes."""
    upstream = {"destination_name": "near", "destination_type": "prepared_query"}
    with Household(standin, upstream=upstream) as household:
        first, second = free_ports(2)  # nobody listens there
        good = standin.state.healthy("echo")

        def node(port: int) -> dict[str, Any]:
            entry = standin.state.healthy("echo")[0]
            return {**entry, "Service": {**entry["Service"], "Port": port}}

        for ports in ((first, second), (second, first)):
            standin.state.answers["near"] = [*map(node, ports), *good]
            passed = len(_passed(household))
            with household.client() as sock:
                sock.sendall(b"hello")
                assert exactly(sock, 5) == b"hello"
            eventually(lambda before=passed: len(_passed(household)) > before + 1, "the log about both")
            assert _passed(household)[passed:] == [str(port) for port in ports]
        standin.state.answers["near"] = []
        with household.client() as sock:
            assert ended(sock)
        household.web_proxy.wait_for(r"\[ERR\] failed to dial: no healthy instances found")


def _passed(household: Household) -> list[str]:
    found = [
        re.search(r"passed over: .*instance 127.0.0.1:(\d+) ", line) for line in household.web_proxy.lines
    ]
    return [match[1] for match in found if match]


def test_a_query_of_another_datacenter_names_whom_to_expect_there(standin: StandIn) -> None:
    """The identity at the other end is that of the instance's datacenter, as with a failover."""
    upstream = {"destination_name": "near", "destination_type": "prepared_query"}
    with Household(standin, upstream=upstream) as household:
        (entry,) = standin.state.healthy("echo")
        entry["Node"] = {**entry["Node"], "Datacenter": "dc2"}
        standin.state.answers["near"] = [entry]
        with household.client() as sock:
            assert ended(sock)
        household.web_proxy.wait_for(
            r"peer certificate mismatch got spiffe://.*/dc/dc1/svc/echo, want spiffe:///ns/default/dc/dc2/svc/echo"
        )


def test_the_last_answer_of_a_query_stands_in_while_the_agent_is_away(standin: StandIn) -> None:
    upstream = {"destination_name": "near", "destination_type": "prepared_query"}
    with Household(standin, upstream=upstream) as household:
        standin.state.answers["near"] = standin.state.healthy("echo")
        for away in (False, True):
            if away:
                standin.kill()
            with household.client() as sock:
                sock.sendall(b"hello")
                assert exactly(sock, 5) == b"hello"
        household.web_proxy.wait_for(r"\[DEBUG\] prepared query near: .*; its last answer is used")
