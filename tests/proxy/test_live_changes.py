"""Changes under traffic: upstreams, certificates, an agent that goes away and comes back, the end."""

from __future__ import annotations

import socket

from tests.ports import free_ports
from tests.proxy.running import Household, Proxy, exactly, listens
from tests.proxy.standin import StandIn
from tests.proxy.test_who_may_come_in import ended
from tests.proxy.worlds import Definition, World, ask
from tests.waiting import eventually


def talk(sock: socket.socket, message: bytes = b"hello") -> None:
    sock.sendall(message)
    assert exactly(sock, len(message)) == message


def test_upstreams_come_and_go_without_touching_others(household: Household) -> None:
    (port,) = free_ports(1)
    with household.client() as established:
        talk(established)
        both = [*household.web.upstreams, {"destination_name": "echo", "local_bind_port": port}]
        household.world.define(household.redefined_web(both), household.echo)
        household.web_proxy.wait_for(f"starting on 127.0.0.1:{port}")
        with household.client(port) as sock:
            talk(sock)
        household.world.define(household.redefined_web(both[1:]), household.echo)
        eventually(lambda: not listens(household.upstream_port), "the end of the old listener")
        talk(established)
        with household.client(port) as sock:
            talk(sock)
    starts = f"service:default/echo starting on 127.0.0.1:{port}"
    assert sum(starts in line for line in household.web_proxy.lines) == 1
    assert not [line for line in household.web_proxy.lines if "[ERR]" in line]


def test_an_upstream_that_makes_no_sense_is_named_and_harms_no_other(household: Household) -> None:
    senseless = {"destination_name": "echo", "local_bind_port": 70000}
    with household.client() as established:
        talk(established)
        household.world.define(household.redefined_web([senseless, *household.web.upstreams]), household.echo)
        line = household.web_proxy.wait_for(r"upstream left out: Upstreams\[0\]\.LocalBindPort")
        assert "[ERR]" in line
        talk(established)
    with household.client() as sock:
        talk(sock)


def test_an_upstream_may_change_its_destination_on_the_same_port(household: Household) -> None:
    changed = [{"destination_name": "nobody", "local_bind_port": household.upstream_port}]
    household.world.define(household.redefined_web(changed), household.echo)
    household.web_proxy.wait_for("service:default/nobody starting")
    with household.client() as sock:
        assert sock.recv(1) == b""
    household.world.define(household.web, household.echo)
    household.web_proxy.wait_for("service:default/echo starting", count=2)
    with household.client() as sock:
        talk(sock)


def test_a_port_in_use_is_reported_and_taken_when_it_is_free(world: World) -> None:
    with Household(world) as household:
        with socket.create_server(("127.0.0.1", 0)) as squatter:
            port = squatter.getsockname()[1]
            upstreams = [*household.web.upstreams, {"destination_name": "echo", "local_bind_port": port}]
            world.define(household.redefined_web(upstreams), household.echo)
            household.web_proxy.wait_for(
                rf"\[ERR\] 127.0.0.1:{port}->service:default/echo stopped with error: "
                rf"listen tcp 127.0.0.1:{port}: bind: address already in use"
            )
            with household.client() as sock:
                talk(sock)
        household.web_proxy.wait_for(f"starting on 127.0.0.1:{port}")
        with household.client(port) as sock:
            talk(sock)


def test_the_public_listener_and_the_application_address_move(standin: StandIn) -> None:
    with Household(standin) as household, household.client() as established:
        talk(established)
        (port,) = free_ports(1)
        config = {"bind_port": port, "local_service_address": f"127.0.0.1:{household.application.port}"}
        standin.define(household.web, Definition(name="echo", port=9, config=config))
        household.echo_proxy.wait_for(f"public listener starting on 127.0.0.1:{port}")
        eventually(lambda: not listens(household.echo_port), "the end of the old listener")
        talk(established)
        eventually(lambda: not _refused(household), "a connection to the new address")


def test_a_useless_configuration_is_reported_once_and_changes_nothing(standin: StandIn) -> None:
    with Household(standin) as household:
        standin.define(
            Definition(name="web", port=1, config={"bind_port": "many"}, upstreams=household.web.upstreams),
            household.echo,
        )
        line = household.web_proxy.wait_for(r"\[ERR\] .*bind_port is 'many': it must be a number")
        assert "retry" not in line, (
            "what the agent says is not asked for again: the next change is waited for"
        )
        with household.client() as sock:
            talk(sock)
        (port,) = free_ports(1)
        both = [*household.web.upstreams, {"destination_name": "echo", "local_bind_port": port}]
        standin.define(household.redefined_web(both), household.echo)
        household.web_proxy.wait_for(f"starting on 127.0.0.1:{port}")


def test_a_new_leaf_is_used_for_new_connections_while_old_ones_go_on(household: Household) -> None:
    with household.client() as established:
        talk(established)
        household.world.rotate_root()
        for proxy in (household.web_proxy, household.echo_proxy):
            proxy.wait_for(r"TLS Roots   : \[.*CA \d+ .*CA \d+\]")
        talk(established)
        with household.client() as sock:
            talk(sock)


def _refused(household: Household) -> bool:
    with household.client() as sock:
        return ended(sock, after=b"x")


def test_a_restarted_agent_is_found_again(household: Household) -> None:
    with household.client() as established:
        talk(established)
        household.world.kill()
        household.echo_proxy.wait_for(r"connect_leaf\) errored")
        household.world.start_again()
        talk(established)
        eventually(lambda: not _refused(household), "a connection after the agent's return")
        talk(established)


def test_an_agent_that_refuses_is_not_complained_about_again_and_again(standin: StandIn) -> None:
    standin.state.refusal = (403, "ACL not found")
    proxy = Proxy(standin, "web-proxy")
    try:
        proxy.wait_for(r"\[ERR\] .*errored: Unexpected response code: 403 \(ACL not found\), retry in")
        eventually(lambda: len(standin.state.requests) >= 4, "retries")
        assert len([line for line in proxy.lines if "[ERR]" in line]) == 1
        standin.state.refusal = (404, "unknown proxy service ID: web-proxy")
        proxy.wait_for(r"\[ERR\] .*errored: Unexpected response code: 404")
        assert sum("[ERR]" in line for line in proxy.lines) == 2
    finally:
        proxy.stop()


def test_the_public_listener_waits_for_certificates_and_upstreams_do_not(standin: StandIn) -> None:
    web_port, upstream_port = free_ports(2)
    upstreams = [{"destination_name": "echo", "local_bind_port": upstream_port}]
    standin.define(Definition(name="web", port=1, config={"bind_port": web_port}, upstreams=upstreams))
    standin.state.withheld.add("roots")
    proxy = Proxy(standin, "web-proxy")
    try:
        proxy.wait_for(f"service:default/echo starting on 127.0.0.1:{upstream_port}")
        proxy.wait_for(r"connect_roots\) errored")
        assert listens(upstream_port)
        assert not listens(web_port)
        standin.state.withheld.clear()
        proxy.wait_for(f"public listener starting on 127.0.0.1:{web_port}")
    finally:
        proxy.stop()


def test_a_lack_of_descriptors_passes(standin: StandIn) -> None:
    """New connections wait while there is none; the proxy neither ends nor spins, and goes on afterwards."""
    with Household(standin) as household:
        household.echo_proxy.stop()
        household.echo_proxy = Proxy(standin, "echo-proxy", prefix=["prlimit", "--nofile=40:40"])
        household.echo_proxy.wait_for("public listener starting")
        crowd = [household.client(household.echo_port) for _ in range(60)]
        household.echo_proxy.wait_for(r"\[ERR\] cannot accept connections: Too many open files")
        for sock in crowd:
            sock.close()
        eventually(lambda: not _refused(household), "a connection afterwards")
        assert len([line for line in household.echo_proxy.lines if "cannot accept" in line]) == 1


def test_the_token_is_sent_and_never_shown(standin: StandIn) -> None:
    standin.define(Definition(name="web", port=1, config={"bind_port": free_ports(1)[0]}))
    proxy = Proxy(standin, "web-proxy", {"CONNECT_PROXY_TOKEN": "s3cret-t0ken"})
    proxy.wait_for("public listener starting")
    proxy.stop()
    assert standin.state.tokens == {"s3cret-t0ken"}
    assert not proxy.has("s3cret-t0ken")
    assert ask(standin, "GET", "/v1/agent/connect/ca/roots")
