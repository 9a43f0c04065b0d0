"""Proxies that nobody manages: described by flags, registered by themselves or by somebody else."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from reference.proxy import flags as command_line
from reference.proxy import manual
from reference.proxy.flags import Flags, SettingsError, UsageError
from tests.ports import free_ports
from tests.proxy.running import Application, Proxy, echo, exactly, listens
from tests.proxy.standin import StandIn
from tests.proxy.test_command_line import run
from tests.proxy.worlds import World, ask
from tests.waiting import eventually


@contextmanager
def running(world: World, *flags: str, environment: dict[str, str] | None = None) -> Iterator[Proxy]:
    proxy = Proxy(world, environment=environment, flags=flags)
    try:
        yield proxy
    except BaseException:
        print("".join(proxy.lines))
        raise
    finally:
        proxy.stop()


@pytest.fixture
def application() -> Iterator[Application]:
    one = Application(echo)
    yield one
    one.close()


def said_back(target: int | str, message: bytes = b"hello") -> bool:
    family = socket.AF_INET if isinstance(target, int) else socket.AF_UNIX
    with socket.socket(family) as sock:
        sock.settimeout(30)
        try:
            sock.connect(("127.0.0.1", target) if isinstance(target, int) else target)
            sock.sendall(message)
            return exactly(sock, len(message)) == message
        except OSError:
            return False


def test_two_proxies_by_flags_alone(world: World, application: Application) -> None:
    public, upstream = free_ports(2)
    listen = ["-listen", f"127.0.0.1:{public}", "-service-addr", f"127.0.0.1:{application.port}"]
    with (
        running(world, "-service", "echo", *listen, "-register", "-register-id", "one") as destination,
        running(world, "-service", "web", "-upstream", f"echo:{upstream}") as source,
    ):
        destination.wait_for(r"\[INFO\] proxy: registered Consul service: echo-proxy-one")
        destination.wait_for(f"public listener starting on 127.0.0.1:{public}")
        eventually(lambda: said_back(upstream), "an echo through both")
        assert source.has(r"Configuration mode: Flags")
        assert source.has(rf"  Upstream: echo => 127.0.0.1:{upstream}")
        assert source.has(r"  Public listener: Disabled")
        assert destination.has(rf"Public listener: 127.0.0.1:{public} => 127.0.0.1:{application.port}")
        (entry,) = ask(world, "GET", "/v1/health/connect/echo?passing")
        assert entry["Service"]["ID"] == "echo-proxy-one"
        destination.process.send_signal(signal.SIGTERM)
        assert destination.finish() == 0
        eventually(lambda: not ask(world, "GET", "/v1/health/connect/echo"), "the deregistration")


def test_a_registration_that_the_agent_lost_is_made_again(
    standin: StandIn, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    from reference.proxy import registration
    from reference.proxy.api import Agent
    from reference.proxy.endpoints import Address
    from reference.proxy.log import Log

    monkeypatch.setattr(registration, "RECONCILE_SECONDS", 0.0)
    monkeypatch.setattr(registration, "HEARTBEAT_SECONDS", 0.05)
    port = int(standin.address.rpartition(":")[2])
    made = registration.Registration(
        Agent(port=port),
        service="db",
        suffix="",
        address=Address(host="10.0.0.1", port=5),
        log=Log(level="ERR"),
    )
    eventually(lambda: "db-proxy" in standin.state.instances, "the registration")
    eventually(lambda: len(standin.state.passed) >= 2, "a heartbeat")
    assert standin.state.passed[0] == "db-proxy-ttl"
    standin.state.instances.clear()
    eventually(lambda: "db-proxy" in standin.state.instances, "another registration")
    assert standin.state.instances["db-proxy"]["Check"]["TTL"] == "30s"
    made.stop()
    made.join()
    assert not standin.state.instances


def registered(world: World, application: Application, **values: Any) -> dict[str, Any]:
    body: dict[str, Any] = {
        "Kind": "connect-proxy",
        "Name": "echo-px",
        "ID": "echo-px",
        "Address": "127.0.0.1",
        **values,
    }
    ask(world, "PUT", "/v1/agent/service/register", body)
    return body


def test_a_sidecar_is_found_by_its_service(world: World, application: Application) -> None:
    public, upstream = free_ports(2)
    ask(world, "PUT", "/v1/agent/service/register", {"Name": "echo", "ID": "Echo1", "Port": application.port})
    proxy = {
        "DestinationServiceName": "echo",
        "DestinationServiceID": "Echo1",
        "LocalServiceAddress": "127.0.0.1",
        "LocalServicePort": application.port,
        "Upstreams": [{"DestinationName": "echo", "LocalBindPort": upstream}],
    }
    registered(world, application, Port=public, Proxy=proxy)
    with running(world, "-sidecar-for", "eChO1") as found:
        found.wait_for(f"public listener starting on 127.0.0.1:{public}")
        assert found.has(r"    Sidecar for ID: eChO1")
        assert found.has(r"          Proxy ID: echo-px")
        eventually(lambda: said_back(upstream), "an echo from itself")
    with running(world, environment={"CONNECT_SIDECAR_FOR": "Echo1"}) as found:
        found.wait_for("public listener starting")


def test_the_config_of_a_registered_proxy_wins_over_its_address(
    standin: StandIn, application: Application
) -> None:
    public, other = free_ports(2)
    proxy = {
        "DestinationServiceName": "echo",
        "LocalServicePort": 1,
        "Config": {
            "bind_address": "127.0.0.1",
            "bind_port": str(other),
            "local_service_address": f"127.0.0.1:{application.port}",
        },
    }
    registered(standin, application, Port=public, Proxy=proxy)
    with running(standin, "-proxy-id", "echo-px") as found:
        found.wait_for(f"public listener starting on 127.0.0.1:{other}")
        assert not listens(public)


def test_a_registered_proxy_changes_while_it_runs(standin: StandIn, application: Application) -> None:
    public, first, second = free_ports(3)
    proxy = {"DestinationServiceName": "echo", "LocalServicePort": application.port}
    registered(standin, application, Port=public, Proxy=proxy)
    with running(standin, "-proxy-id", "echo-px") as found:
        found.wait_for("public listener starting")
        for port in (first, second):
            upstreams = [{"DestinationName": "echo", "LocalBindPort": port}]
            registered(standin, application, Port=public, Proxy={**proxy, "Upstreams": upstreams})
            found.wait_for(f"service:default/echo starting on 127.0.0.1:{port}")
        eventually(lambda: not listens(first), "the end of the first upstream")


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([], "No sidecar proxy registered for zz"),
        (
            ["b", "a"],
            "More than one sidecar proxy registered for zz.\n"
            "    Start proxy with -proxy-id and one of the following IDs: a, b",
        ),
    ],
)
def test_a_sidecar_that_is_not_one_is_refused(standin: StandIn, ids: Sequence[str], message: str) -> None:
    for one in ids:
        standin.state.instances[one] = {"Kind": "connect-proxy", "Proxy": {"DestinationServiceID": "ZZ"}}
    ended = run("proxy", "-sidecar-for", "zz", CONSUL_HTTP_ADDR=standin.address)
    assert (ended.returncode, ended.stderr) == (1, f"==> Error preparing configuration: {message}\n")


def test_a_service_that_is_no_proxy_is_refused(standin: StandIn) -> None:
    standin.state.instances["web"] = {"ID": "web", "Name": "web", "Kind": ""}
    with running(standin, "-proxy-id", "web") as proxy:
        proxy.wait_for(r"\[ERR\] .*service web is not a connect proxy: register one, or use -service")


def test_everything_by_unix_sockets(standin: StandIn, tmp_path: Path) -> None:
    """The application, and both ends of an upstream; only the two proxies talk by TCP."""
    (public,) = free_ports(1)
    app_path, upstream_path = tmp_path / "app.sock", tmp_path / "upstream.sock"
    application = Application(echo, path=str(app_path))
    listen = ["-listen", f"127.0.0.1:{public}", "-service-addr", f"unix://{app_path}", "-register"]
    with (
        running(standin, "-service", "echo", *listen) as destination,
        running(standin, "-service", "web", "-upstream", f"echo:unix://{upstream_path}") as source,
    ):
        destination.wait_for("public listener starting")
        source.wait_for(rf"unix://{upstream_path}->service:default/echo starting on unix://{upstream_path}")
        eventually(lambda: said_back(str(upstream_path), b"by path"), "an echo")
    assert not upstream_path.exists(), "the socket has been tidied up"
    application.close()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("db:8181", "127.0.0.1:8181->service:default/db"),
        ("db.service:127.0.0.10:8282", "127.0.0.10:8282->service:default/db"),
        ("near.query:[::1]:9", "[::1]:9->prepared_query:default/near"),
        ("db:unix:///run/db.sock", "unix:///run/db.sock->service:default/db"),
    ],
)
def test_upstreams(value: str, shown: str) -> None:
    assert str(manual.upstream(value)) == shown


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("db", 'Upstream value should be name:addr in "db"'),
        ("db.foo:1", "Upstream type must be blank, 'service', or 'query'. Got: \"foo\""),
        ("db:x", "-upstream: 'x' is not an address"),
        ("db:70000", "-upstream: '127.0.0.1:70000' is not an address"),
        (":1", "the name of the upstream is missing"),
        ("db:unix://run", "-upstream: 'run' must be an absolute path"),
    ],
)
def test_what_is_no_upstream(value: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        command_line.read(["-upstream", value], manual.upstream)
    assert str(caught.value).startswith(f'invalid value "{value}" for flag -upstream: {message}')


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["-listen", ":80"],
            "Error preparing configuration: -service-addr must be specified with -listen so the proxy knows "
            "the backend service address.",
        ),
        (
            ["-listen", "bad", "-service-addr", "x:1"],
            "Error preparing configuration: address bad: missing port in address",
        ),
        (
            ["-register"],
            "Failed initializing registration: -register may only be specified with -service and -listen",
        ),
        (
            ["-register", "-listen", "unix:///x", "-service-addr", ":1"],
            "Failed initializing registration: a unix socket cannot be registered, others need host:port",
        ),
        (
            ["-upstream", "a:1", "-upstream", "b:1"],
            "Error preparing configuration: two upstreams want 127.0.0.1:1: give each a local_bind_port of its own",
        ),
    ],
)
def test_flags_that_do_not_go_together(arguments: list[str], message: str) -> None:
    ended = run("proxy", "-service", "web", *arguments)
    assert (ended.returncode, ended.stderr) == (1, f"==> {message}\n")


def test_registration_needs_the_flags_mode(standin: StandIn) -> None:
    ended = run("proxy", "-proxy-id", "x", "-register", CONSUL_HTTP_ADDR=standin.address)
    assert ended.returncode == 1
    assert "-register may only be specified with -service and -listen" in ended.stderr


@pytest.mark.parametrize("by", ["flag", "variable"])
def test_a_token_from_a_file_reaches_the_agent_and_nobody_else(
    standin: StandIn, tmp_path: Path, by: str
) -> None:
    path = tmp_path / "token"
    path.write_text("s3cret-t0ken\n")
    flags = ["-token-file", str(path)] if by == "flag" else []
    environment = {} if by == "flag" else {"CONSUL_HTTP_TOKEN_FILE": str(path)}
    with running(standin, "-service", "web", *flags, environment=environment) as proxy:
        proxy.wait_for("TLS Identity")
        assert standin.state.tokens == {"s3cret-t0ken"}
        assert not proxy.has("s3cret")
        with open(f"/proc/{proxy.process.pid}/cmdline", "rb") as command:
            assert b"s3cret" not in command.read()


def test_a_token_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    from reference.proxy import settings

    missing = tmp_path / "none"
    with pytest.raises(SettingsError, match=f"cannot read the token file {missing}: No such file"):
        settings.agent(Flags(values={"token-file": str(missing)}), {})
    missing.write_text("\n")
    with pytest.raises(SettingsError, match=f"the token file {missing} is empty"):
        settings.agent(Flags(values={"token-file": str(missing)}), {})


@pytest.mark.parametrize("value", ["-register", "-register=true", "--register=1"])
def test_a_boolean_needs_no_value(value: str) -> None:
    flags = command_line.read([value, "-service", "web"], manual.upstream)
    assert flags.register
    assert flags.get("service") == "web"
    with pytest.raises(UsageError, match='invalid boolean value "maybe" for -register'):
        command_line.read(["-register=maybe"], manual.upstream)
