"""The built-in proxy when something is wrong: intentions, instances, its agent, its own end."""

from __future__ import annotations

import re
import socket
import ssl
from signal import SIGTERM
from typing import Self

from conformance.checks._situations import (
    HEALTHY_AT_ONCE,
    accepted,
    connects,
    content,
    converse,
    exchange,
    mesh,
    rest,
)
from conformance.instruments.datagrams import DatagramServer
from conformance.instruments.echo import EchoServer, reset
from conformance.instruments.identities import agent_identity
from conformance.instruments.tls import connected
from conformance.plugin.lab import AgentUnderTest, Lab
from conformance.plugin.marks import requirement


@requirement("proxy/intention/01")
def check_denied_connection_is_cut(lab: Lab) -> None:
    """Open connections to the public listener of ``redis`` as ``web`` and as ``db``, then deny ``web`` by an intention.

    The one of ``web`` is ended within a second of the answer, the one of ``db`` still echoes. Source: hardening.
    """
    pair = mesh(lab, lab.use(EchoServer()))
    with (
        pair.connect() as web,
        _Peer(pair.agent, "db") as db,
    ):
        assert converse(web, b"web") == b"web"
        assert db.echoes(b"db")
        body = {"SourceName": "web", "DestinationName": "redis", "Action": "deny"}
        accepted(pair.agent.api.post("/v1/connect/intentions", body))
        web.settimeout(1.0)
        assert _ended(web), "the denied connection is still open a second after the intention"
        assert db.echoes(b"db"), "a connection that the intention is not about was ended"


@requirement("proxy/away/01")
def check_established_connection_survives_its_agent(lab: Lab) -> None:
    """Open a connection through both proxies and kill the agent.

    The connection still carries bytes, then and a second later. Source: document, Lifecycle.
    """
    pair = mesh(lab, lab.use(EchoServer()))
    with pair.connect() as connection:
        assert converse(connection, b"before") == b"before"
        pair.agent.crash()
        lab.holds("quiet", lambda: converse(connection, b"after") == b"after", what="the connection echoes")


@requirement("proxy/away/02")
def check_known_peers_come_in_without_the_agent(lab: Lab) -> None:
    """Send bytes as ``web`` to ``redis`` through both proxies, kill the agent, and send more on new connections.

    They arrive; a peer with an honest leaf of ``db``, who never came before, is refused. Source: hardening.
    """
    pair = mesh(lab, lab.use(EchoServer()))
    stranger = _Peer(pair.agent, "db")
    pair.agent.crash()
    lab.holds("quiet", lambda: pair.exchange(b"after") == b"after", what="new connections echo")
    with stranger as db:
        assert not db.echoes(b"db"), "a peer about whom the agent never said anything was let in"


@requirement("proxy/away/03")
def check_no_storm_without_the_agent(lab: Lab) -> None:
    """Kill the agent of two default proxies and watch them for a while.

    Neither takes as much as a fifth of a processor, nor writes more than a few lines a second. Source: hardening.
    """
    pair = mesh(lab, lab.use(EchoServer()))
    proxies = pair.agent.proxies()
    pair.agent.crash()
    lines = _lines(pair.agent)
    seconds = rest(lab, *proxies)
    written = _lines(pair.agent) - lines
    assert written < 20 * seconds, f"{written} lines in {seconds:.1f} s"


@requirement("proxy/traffic/06")
def check_ended_connections_leave_nothing_open(lab: Lab) -> None:
    """Have connections through two default proxies end in each of these ways, many times: after an exchange, by a reset
    in the midst of one, without a word, and at the public listener with a greeting that is no TLS.

    Afterwards both proxies have as many descriptors open as after the first few. Source: hardening.
    """
    pair = mesh(lab, lab.use(EchoServer()))
    proxies = [pair.agent.proxy(name) for name in ("redis-proxy", "web-proxy")]
    listener = pair.agent.services()["redis-proxy"]["Port"]

    def open_descriptors() -> list[int]:
        return [len(proxy.descriptors()) for proxy in proxies]

    _come_and_go(lab, pair.upstream_port, listener, times=5)
    before = open_descriptors()
    _come_and_go(lab, pair.upstream_port, listener, times=40)

    def let_go() -> bool:
        now = open_descriptors()
        assert all(each < some + 20 for each, some in zip(now, before, strict=True)), f"{before}, then {now}"
        return True

    lab.until("data_path", let_go, what="the proxies have closed what is over")


@requirement("proxy/discovery/01")
def check_dead_instance_costs_nothing(lab: Lab) -> None:
    """Register a second instance of ``redis`` where nobody listens, and connect to the upstream of ``web`` many times.

    Every connection echoes. Source: hardening; the original fails on half of them.
    """
    pair = mesh(lab, lab.use(EchoServer()))
    name, dead = "redis", lab.port()
    body = {
        "ID": "dead-proxy",
        "Name": "redis-proxy",
        "Kind": "connect-proxy",
        "Address": "127.0.0.1",
        "Port": dead,
        "Proxy": {"DestinationServiceName": name},
    }
    accepted(pair.agent.api.put("/v1/agent/service/register", body))
    lab.until(
        "registration",
        lambda: len(pair.agent.api.get(f"/v1/health/connect/{name}?passing").json) == 2,
        what="both instances are listed as healthy",
    )
    # The proxy hears of it in its own time; thirty connections in a second and a bit miss no half of them by luck.
    lab.holds("quiet", lambda: pair.exchange(b"hello") == b"hello", what="connections echo")
    failures = sum(pair.exchange(b"hello") != b"hello" for _ in range(30))
    assert failures == 0, f"{failures} of 30 connections failed"


@requirement("proxy/drain/01")
def check_sigterm_drains(lab: Lab) -> None:
    """Open a connection to ``redis`` through both proxies and send SIGTERM to the proxy of ``redis``.

    Its public listener closes while the connection still echoes; when the connection ends, the proxy does, too,
    and the agent starts another one. Source: hardening.
    """
    pair = mesh(lab, lab.use(EchoServer()))
    port = pair.agent.services()["redis-proxy"]["Port"]
    proxy = pair.agent.proxy("redis-proxy")
    with pair.connect() as connection:
        assert converse(connection, b"before") == b"before"
        proxy.signal(SIGTERM)
        lab.until("proxy_stop", lambda: not connects(port), what="the public listener closes")
        assert converse(connection, b"after") == b"after", "the connection did not outlive the signal"
        assert proxy.alive()
    pair.agent.proxy("redis-proxy", other_than=proxy)
    lab.until("data_path", lambda: pair.exchange(b"again") == b"again", what="the successor carries bytes")


@requirement("proxy/drain/02")
def check_draining_ends(lab: Lab) -> None:
    """Set ``config.drain_timeout_ms`` of ``redis`` to 500, hold a connection open and send SIGTERM to its proxy.

    The process ends although the connection does not. Source: hardening.
    """
    pair = mesh(lab, lab.use(EchoServer()), redis={**HEALTHY_AT_ONCE, "drain_timeout_ms": 500})
    proxy = pair.agent.proxy("redis-proxy")
    with pair.connect() as connection:
        assert converse(connection, b"held") == b"held"
        proxy.signal(SIGTERM)
        lab.until("drained", lambda: not proxy.alive(), what="the proxy ends")


@requirement("proxy/limit/01")
def check_inbound_connections_are_limited(lab: Lab) -> None:
    """Set ``config.max_inbound_connections`` of ``redis`` to 2 and hold two connections open.

    A third one ends without data and the application never sees it; when one of the two ends, another is served.
    Source: hardening.
    """
    application = lab.use(EchoServer())
    pair = mesh(lab, application, redis={**HEALTHY_AT_ONCE, "max_inbound_connections": 2})
    lab.until("data_path", lambda: application.open == 0, what="the first connection is over")
    held = [lab.use(pair.connect()) for _ in range(2)]
    for connection in held:
        assert converse(connection, b"held") == b"held"
    seen = application.connections
    assert pair.exchange(b"third") == b"", "a third connection was served"
    assert application.connections == seen, "the application saw the third connection"
    held[0].close()
    lab.until("data_path", lambda: pair.exchange(b"next") == b"next", what="a free place is given away")


@requirement("proxy/probe/01")
def check_probe_makes_no_noise(lab: Lab) -> None:
    """Connect to the public listener of ``redis`` and hang up, twenty times, then come as an honest peer.

    The proxy's logs have nothing new above DEBUG. Source: hardening.
    """
    application = lab.use(EchoServer())
    pair = mesh(lab, application)
    port = pair.agent.services()["redis-proxy"]["Port"]
    before, seen = _noise(pair.agent), application.connections
    for _ in range(20):
        assert connects(port)
    assert pair.exchange(b"hello") == b"hello"
    lab.holds("quiet", lambda: _noise(pair.agent) == before, what="the log is silent")
    assert application.connections == seen + 1, "a probe reached the application"


@requirement("proxy/metrics/01", takes=10)
def check_statsd_metrics(lab: Lab) -> None:
    """Give the proxy of ``redis`` a ``telemetry`` block with the address of a receiver, and send it some bytes.

    The gauge of open connections and the counters of bytes arrive there, under the original's names.
    Source: catalogue.
    """
    receiver = lab.use(DatagramServer())
    telemetry = {"statsd_address": f"127.0.0.1:{receiver.port}", "disable_hostname": True}
    pair = mesh(lab, lab.use(EchoServer()), redis={**HEALTHY_AT_ONCE, "telemetry": telemetry})
    assert pair.exchange(b"hello") == b"hello"

    def value(name: str) -> bool:
        found = re.compile(rf"consul\.proxy\.redis\.{name}\.redis:[1-9]\d*(\.0+)?\|[gc]")
        return any(found.fullmatch(line) for line in receiver.lines)

    lab.until("metrics", lambda: value(r"inbound\.rx_bytes"), what="received bytes are told")
    lab.until("metrics", lambda: value(r"inbound\.tx_bytes"), what="sent bytes are told")
    with pair.connect() as connection:
        assert converse(connection, b"held") == b"held"
        lab.until("metrics", lambda: value(r"inbound\.conns"), what="the open connection is told")


class _Peer:
    """A peer with an honest leaf of ``service`` at the public listener of ``redis``, on one connection."""

    def __init__(self, agent: AgentUnderTest, service: str) -> None:
        self._identity = agent_identity(agent.api, service)
        self._port = agent.services()["redis-proxy"]["Port"]
        self._stream: ssl.SSLSocket | None = None

    def __enter__(self) -> Self:
        plain = socket.create_connection(("127.0.0.1", self._port), timeout=10)
        self._stream = connected(plain, self._identity)
        return self

    def __exit__(self, *_: object) -> None:
        if self._stream is not None:
            self._stream.close()

    def echoes(self, data: bytes) -> bool:
        """Whether these bytes come back."""
        return self._stream is not None and converse(self._stream, data) == data


def _come_and_go(lab: Lab, upstream: int, listener: int, *, times: int) -> None:
    """Connections to an upstream and to a public listener that end in different ways."""
    for _ in range(times):
        assert exchange(upstream, b"politely") == b"politely"
        for port, greeting in ((upstream, b""), (listener, b""), (listener, b"GET / HTTP/1.0\r\n\r\n")):
            with socket.create_connection(("127.0.0.1", port), timeout=lab.budget("data_path")) as silent:
                silent.sendall(greeting)
        broken = socket.create_connection(("127.0.0.1", upstream), timeout=lab.budget("data_path"))
        assert converse(broken, b"rudely") == b"rudely"
        reset(broken)


def _ended(connection: socket.socket) -> bool:
    """Whether the peer ends the connection, in whichever way, before its time-out."""
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


def _lines(agent: AgentUnderTest) -> int:
    """How many lines stand in the logs of all proxies."""
    return sum(content(path).count(b"\n") for path in agent.log_dir.glob("*"))


def _noise(agent: AgentUnderTest) -> list[bytes]:
    """Lines in the logs of the proxy of ``redis`` that are no debugging."""
    lines = [
        line
        for path in sorted(agent.log_dir.glob("redis-proxy-std*.log"))
        for line in content(path).splitlines()
    ]
    return [line for line in lines if b"[DEBUG]" not in line and b"[TRACE]" not in line]
