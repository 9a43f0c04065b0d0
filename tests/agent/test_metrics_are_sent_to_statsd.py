"""The agent's own metrics go where ``telemetry`` says, in the lines of statsd and of Datadog."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reference.agent.metrics import Metrics
from reference.agent.statsd import DATAGRAM, Statsd
from reference.cli.main import main
from reference.config.model import Telemetry
from tests.agents import agent
from tests.waiting import DEADLINE


@pytest.fixture
def receiver() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        opened.bind(("127.0.0.1", 0))
        opened.settimeout(DEADLINE)
        yield opened


def address(receiver: socket.socket) -> tuple[str, int]:
    host, port = receiver.getsockname()
    return host, port


def sent(options: Telemetry, sample: Callable[[Metrics], None], *, times: int = 1) -> None:
    """Have a sink begin, hear samples and end; a counter grows by two each time."""

    async def scenario() -> None:
        counted = 0.0

        def counters() -> dict[str, float]:
            nonlocal counted
            counted += 2
            return {"consul.proxy.restarts": counted, "consul.proxy.failures": 0}

        metrics = Metrics(options)
        statsd = Statsd(
            options, metrics, gauges=lambda: {"consul.proxy.running": 3, "other": 1}, counters=counters
        )
        for _ in range(times):
            statsd.start()
            sample(metrics)
            await statsd.close()

    asyncio.run(scenario())


def test_lines_are_those_of_statsd(receiver: socket.socket) -> None:
    options = Telemetry(statsd=address(receiver))
    sent(options, lambda metrics: metrics.sample("http", "GET", "v1:self", milliseconds=0.25), times=2)
    host = socket.gethostname()
    for _ in range(2):
        assert receiver.recv(65535).decode().splitlines() == [
            "consul.http.GET.v1_self:0.250000|ms",
            f"consul.{host}.proxy.running:3.000000|g",
            f"consul.{host}.other:1.000000|g",
            "consul.proxy.restarts:2.000000|c",
        ]


def test_lines_for_datadog_have_tags_and_no_host(receiver: socket.socket) -> None:
    options = Telemetry(dogstatsd=address(receiver), dogstatsd_tags=("env:prod", "team:a"))
    sent(options, lambda metrics: metrics.sample("http", milliseconds=1))
    lines = receiver.recv(65535).decode().splitlines()
    assert lines[:2] == [
        "consul.http:1.000000|ms|#env:prod,team:a",
        "consul.proxy.running:3.000000|g|#env:prod,team:a",
    ]


def test_what_is_filtered_is_not_sent(receiver: socket.socket) -> None:
    options = Telemetry(statsd=address(receiver), blocked_prefixes=("consul.http",), hostname=False)
    sent(options, lambda metrics: metrics.sample("http", milliseconds=1))
    assert "consul.http" not in receiver.recv(65535).decode()


def test_datagrams_are_small_and_lose_nothing(receiver: socket.socket) -> None:
    def many(metrics: Metrics) -> None:
        for number in range(300):
            metrics.sample("http", f"n{number}", milliseconds=1)

    sent(Telemetry(statsd=address(receiver)), many)
    names: set[str] = set()
    while len(names) < 303:
        datagram = receiver.recv(65535)
        assert len(datagram) <= DATAGRAM
        names |= {line.partition(":")[0] for line in datagram.decode().splitlines()}
    assert {f"consul.http.n{number}" for number in range(300)} < names


def test_a_receiver_that_is_away_is_complained_about_once(caplog: pytest.LogCaptureFixture) -> None:
    options = Telemetry(statsd=("no.such.host.invalid", 8125))
    with caplog.at_level(logging.WARNING):
        sent(options, lambda metrics: None, times=3)
    (record,) = caplog.records
    assert "cannot send to statsd at no.such.host.invalid:8125" in record.getMessage()


def test_an_agent_sends_what_it_measures(tmp_path: Path, receiver: socket.socket) -> None:
    host, port = address(receiver)
    with agent(tmp_path, telemetry={"statsd_address": f"{host}:{port}", "disable_hostname": True}) as one:
        one.define()
        one.start()
        seen: set[str] = set()
        while not {"consul.http.GET.v1.agent.self", "consul.proxy.managed"} <= seen:
            one.get("/v1/agent/self")
            seen |= {line.partition(":")[0] for line in receiver.recv(65535).decode().splitlines()}


@pytest.mark.parametrize("wrong", ["localhost", ":8125", "localhost:0", "localhost:http"])
def test_an_address_that_is_none_is_refused(
    tmp_path: Path, wrong: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "agent.json"
    path.write_text(
        json.dumps({"data_dir": "/d", "bind_addr": "127.0.0.1", "telemetry": {"statsd_address": wrong}})
    )
    assert main(["validate", str(path)]) == 1
    assert f'telemetry.statsd_address: "{wrong}" is no address' in capsys.readouterr().err
