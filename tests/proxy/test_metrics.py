"""What a proxy tells about its traffic: to statsd and its kin under the original's names, and to Prometheus."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from typing import Any

import pytest

from reference.proxy import sinks
from reference.proxy.endpoints import Address, ConfigError
from reference.proxy.log import Log
from reference.proxy.loop import Loop
from reference.proxy.metrics import GAUGE, Ledger, Sample, dogstatsd_lines, statsd_lines
from reference.proxy.telemetry import Telemetry, parse
from tests.ports import free_ports
from tests.proxy.running import Household
from tests.proxy.standin import StandIn
from tests.proxy.test_live_changes import talk
from tests.proxy.test_proxies_by_hand import said_back
from tests.proxy.test_who_may_come_in import deny, ended
from tests.proxy.worlds import World
from tests.waiting import eventually

NOWHERE = Address(host="127.0.0.1", port=1)
TELEMETRY = Telemetry(prefix="consul.proxy.web", statsd=NOWHERE)


def scraped(port: int) -> dict[str, float]:
    """The numbers by name with labels; checks the form of the page on the way."""
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/metrics")
    response = connection.getresponse()
    page = response.read().decode()
    connection.close()
    assert response.status == 200
    assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    lines = page.splitlines()
    named = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(named) == len(set(named)), "each family is introduced once"
    assert page.endswith("\n")
    return {
        line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")
    }


def test_prometheus_scrapes_both_sides(world: World) -> None:
    (port,) = free_ports(1)
    with Household(world, config={"prometheus_bind_address": f"127.0.0.1:{port}"}) as household:
        household.echo_proxy.wait_for(f"metrics starting on 127.0.0.1:{port}")
        with household.client() as sock:
            talk(sock, b"x" * 1000)
            numbers = scraped(port)
            assert numbers['consul_proxy_inbound_conns{dst="echo"}'] == 1
            assert numbers['consul_proxy_inbound_rx_bytes_total{dst="echo"}'] == 1000
            assert numbers['consul_proxy_inbound_tx_bytes_total{dst="echo"}'] == 1000
            assert numbers['consul_proxy_inbound_cut_total{dst="echo"}'] == 0
            deny(household.world, "web", "echo")
            assert ended(sock)
        with household.client() as sock:
            assert ended(sock, after=b"hello")
        eventually(lambda: scraped(port)['consul_proxy_inbound_conns{dst="echo"}'] == 0, "no connection")
        numbers = scraped(port)
        assert numbers['consul_proxy_inbound_accepted_total{dst="echo"}'] == 1
        assert numbers['consul_proxy_inbound_cut_total{dst="echo"}'] == 1
        assert numbers['consul_proxy_inbound_refused_total{dst="echo"}'] == 1
        assert numbers['consul_proxy_inbound_rx_bytes_total{dst="echo"}'] == 1000
        assert numbers["consul_proxy_leaf_expiry_seconds"] > time.time()
        assert numbers["process_open_fds"] > 3
        assert numbers["process_resident_memory_bytes"] > 1 << 20


def test_upstreams_are_counted_by_destination_and_stay_in_the_books(standin: StandIn) -> None:
    (metrics,) = free_ports(1)
    with Household(standin) as household:
        config = {**household.web.config, "prometheus_bind_address": f"127.0.0.1:{metrics}"}
        web = household.redefined_web(household.web.upstreams)
        standin.define(type(web)(**{**vars(web), "config": config}), household.echo)
        household.web_proxy.wait_for("metrics starting")
        labels = '{src="web",dst_type="service",dst="echo"}'
        assert said_back(household.upstream_port)
        eventually(
            lambda: scraped(metrics)[f"consul_proxy_upstream_rx_bytes_total{labels}"] == 5, "the bytes"
        )
        standin.define(type(web)(**{**vars(web), "config": config, "upstreams": []}), household.echo)
        household.web_proxy.wait_for("service:default/echo stopped")
        assert scraped(metrics)[f"consul_proxy_upstream_rx_bytes_total{labels}"] == 5
        standin.define(type(web)(**{**vars(web), "config": household.web.config}), household.echo)
        eventually(lambda: _refuses(metrics), "the end of the endpoint")


def _refuses(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.parametrize(
    ("request_line", "status"),
    [("GET /metrics?x=1", 200), ("HEAD /metrics", 200), ("GET /", 404), ("POST /metrics", 405)],
)
def test_nothing_but_metrics_is_served(standin: StandIn, request_line: str, status: int) -> None:
    (port,) = free_ports(1)
    with Household(standin, config={"prometheus_bind_address": f"127.0.0.1:{port}"}) as household:
        household.echo_proxy.wait_for("metrics starting")
        with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
            sock.sendall(f"{request_line} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            answer = b""
            while piece := sock.recv(65_536):
                answer += piece
        assert answer.startswith(f"HTTP/1.1 {status} ".encode())
        body = answer.partition(b"\r\n\r\n")[2]
        assert bool(body) is not request_line.startswith("HEAD")


@contextmanager
def datagrams() -> Iterator[tuple[int, list[str]]]:
    """A port, and the lines that arrive there."""
    lines: list[str] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))

        def receive() -> None:
            while data := receiver.recv(65_536):
                assert len(data) <= sinks.DATAGRAM
                lines.extend(data.decode().splitlines())

        thread = threading.Thread(target=receive)
        thread.start()
        try:
            yield receiver.getsockname()[1], lines
        finally:
            receiver.sendto(b"", receiver.getsockname())
            thread.join()


def test_statsd_and_dogstatsd_hear_the_originals_names(standin: StandIn) -> None:
    """The last report is sent at the end, so nothing has to be waited for."""
    with datagrams() as (statsd, plain), datagrams() as (dogstatsd, tagged):
        telemetry = {
            "metrics_prefix": "consul.proxy.echo",
            "statsd_address": f"127.0.0.1:{statsd}",
            "dogstatsd_addr": f"127.0.0.1:{dogstatsd}",
            "dogstatsd_tags": ["env:test"],
            "blocked_prefixes": ["consul.proxy.echo.inbound.accepted"],
        }
        with Household(standin, config={"telemetry": telemetry}) as household:
            assert said_back(household.upstream_port)
            household.echo_proxy.process.send_signal(signal.SIGTERM)
            assert household.echo_proxy.finish() == 0
        host = socket.gethostname().replace(" ", "_")
        eventually(lambda: len(plain) >= 3 and len(tagged) >= 3, "the reports")
        assert f"consul.proxy.echo.{host}.inbound.conns.echo:0.000000|g" in plain
        assert "consul.proxy.echo.inbound.rx_bytes.echo:5.000000|c" in plain
        assert f"consul.proxy.echo.inbound.tx_bytes.echo:{len(b'hello' + b'that was all')}.000000|c" in plain
        assert "consul.proxy.echo.inbound.rx_bytes:5|c|#env:test,dst:echo" in tagged
        assert "consul.proxy.echo.inbound.conns:0.000000|g|#env:test,dst:echo" in tagged
        assert not any("accepted" in line for line in [*plain, *tagged])


def test_statsite_gets_a_stream_and_counters_are_increments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinks, "INTERVAL", 0.02)
    ledger = Ledger(on_end=lambda: None)
    traffic = ledger.traffic("inbound", {"dst": "web"})
    loop = Loop(on_crash=lambda problem: None)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = Address(host="127.0.0.1", port=server.getsockname()[1])
        reporter = sinks.Reporter(ledger, Telemetry(prefix="p", statsite=address), log=Log(level="ERR"))
        accepted, _ = server.accept()
        with accepted, accepted.makefile() as lines:
            for count in (1, 2):
                for _ in range(count):
                    assert traffic.admit(loop) is not None
                expected = 0
                while expected < count:  # it may be told in two reports, but only once
                    line = next(line for line in lines if line.startswith("p.inbound.accepted.web:"))
                    expected += int(float(line.partition(":")[2].partition("|")[0]))
                assert expected == count
            reporter.stop()
            reporter.join()
    loop.stop()
    loop.run()


def test_a_sink_that_is_away_is_complained_about_once(
    standin: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    class Listening(Log):
        def warn(self, text: str) -> None:
            said.append(text)

    monkeypatch.setattr(sinks, "INTERVAL", 0.01)
    ledger = Ledger(on_end=lambda: None)
    ledger.traffic("inbound", {"dst": "web"})
    (port,) = free_ports(1)
    telemetry = Telemetry(prefix="p", statsite=Address(host="127.0.0.1", port=port))
    reporter = sinks.Reporter(ledger, telemetry, log=Listening(level="ERR"))
    eventually(lambda: said, "a complaint")
    with socket.create_server(("127.0.0.1", port)) as server:
        server.accept()[0].close()  # it is found when it comes back
    reporter.stop()
    reporter.join()
    assert said[0] == f"telemetry: cannot send to statsite at 127.0.0.1:{port}: Connection refused"


@pytest.mark.parametrize(
    ("name", "allowed"), [("a.b.c", True), ("a.b", False), ("a", False), ("x", True), ("a.bcd", False)]
)
def test_the_longest_prefix_decides(name: str, allowed: bool) -> None:
    telemetry = Telemetry(
        prefix="", statsd=NOWHERE, allowed=("a.b.c",), blocked=("a", "a.b"), by_default=True
    )
    assert telemetry.allows(name) is allowed
    assert not Telemetry(prefix="", statsd=NOWHERE, by_default=False).allows("x")


def test_names_cannot_break_the_protocol() -> None:
    sample = Sample(kind=GAUGE, name=("inbound", "conns"), value=1, labels={"dst": "we b:1|c\nx"})
    (line,) = statsd_lines([sample], TELEMETRY, host="h")
    assert line == "consul.proxy.web.h.inbound.conns.we_b_1_c_x:1.000000|g\n"
    (line,) = dogstatsd_lines([sample], TELEMETRY)
    assert line == "consul.proxy.web.inbound.conns:1.000000|g|#dst:we_b_1_c_x\n"


@pytest.mark.parametrize(
    ("block", "key"),
    [
        ({"statsd_address": "nowhere"}, "telemetry.statsd_address"),
        ({"dogstatsd_tags": "x"}, "telemetry.dogstatsd_tags"),
        ({"disable_hostname": "perhaps"}, "telemetry.disable_hostname"),
    ],
)
def test_a_useless_block_is_named(block: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        parse(block, service="web")


def test_a_block_without_a_sink_sends_nothing() -> None:
    assert parse({"filter_default": True, "metrics_prefix": "consul.proxy.web"}, service="web") is None
    found = parse({"statsd_address": "127.0.0.1:8125", "disable_hostname": True}, service="web")
    assert found is not None
    assert (found.prefix, found.hostname) == ("consul.proxy.web", False)
