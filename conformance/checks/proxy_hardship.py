"""The built-in proxy when something is wrong: identities, intentions, instances, its agent, its own end."""

from __future__ import annotations

import datetime
import re
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from signal import SIGTERM
from typing import Any, Self

from cryptography.x509.oid import ExtendedKeyUsageOID

from conformance.checks._situations import (
    HEALTHY_AT_ONCE,
    accepted,
    connects,
    content,
    converse,
    exchange,
    mesh,
    variable,
)
from conformance.instruments.datagrams import DatagramServer
from conformance.instruments.echo import EchoServer
from conformance.instruments.identities import (
    Authority,
    Identity,
    agent_identity,
    agent_trust_domain,
    spiffe_id,
)
from conformance.instruments.tls import TlsServer, connected, dial
from conformance.plugin.lab import AgentUnderTest, Lab
from conformance.plugin.marks import requirement

MESSAGE = b"to the application"
HOUR = datetime.timedelta(hours=1)


@requirement("proxy/identity/01")
def check_expired_peer_is_refused(lab: Lab) -> None:
    """Give the agent an authority of the suite, and connect to the public listener of ``redis`` with an expired leaf.

    Nothing comes back; a leaf of the same authority that has not expired is served. Source: catalogue.
    """
    _refuses_leaf(lab, lambda authority: authority.leaf("web", begins=-2 * HOUR, ends=-1 * HOUR))


@requirement("proxy/identity/02")
def check_early_peer_is_refused(lab: Lab) -> None:
    """Give the agent an authority of the suite, and connect with a leaf that begins in an hour.

    Nothing comes back; a leaf of the same authority that is valid now is served. Source: catalogue.
    """
    _refuses_leaf(lab, lambda authority: authority.leaf("web", begins=HOUR, ends=2 * HOUR))


@requirement("proxy/identity/03")
def check_peer_with_two_names_is_refused(lab: Lab) -> None:
    """Give the agent an authority of the suite, and connect with a leaf that names ``web`` and ``db``.

    Nothing comes back; a leaf that names ``web`` alone is served. Source: hardening.
    """
    _refuses_leaf(lab, lambda authority: _of_both(authority, "web", "db"))


@requirement("proxy/identity/04")
def check_expired_destination_is_refused(lab: Lab) -> None:
    """Let an instance registered as ``redis`` present an expired leaf of ``redis``, signed by the mesh's authority.

    No byte of the application is sent to it; with a valid leaf it is reached. Source: catalogue.
    """
    _refuses_instance(lab, lambda authority: authority.leaf("redis", begins=-2 * HOUR, ends=-1 * HOUR))


@requirement("proxy/identity/05")
def check_destination_with_two_names_is_refused(lab: Lab) -> None:
    """Let an instance registered as ``redis`` present a leaf that names ``redis`` and ``db``, signed by the mesh's
    authority.

    No byte of the application is sent to it; with a leaf that names ``redis`` alone it is reached. Source: hardening.
    """
    _refuses_instance(lab, lambda authority: _of_both(authority, "redis", "db"))


@requirement("proxy/identity/06")
def check_peer_of_no_service_is_refused(lab: Lab) -> None:
    """Give the agent an authority of the suite, and connect with a leaf that names a host and no service, and with one
    that names ``web`` in another trust domain.

    Nothing comes back; a leaf that names ``web`` in the trust domain of the mesh is served. Source: hardening.
    """
    elsewhere = spiffe_id("99999999-2222-3333-4444-555555555555.consul", "web")
    _refuses_leaf(
        lab,
        lambda authority: authority.leaf(uris=[], dns=["web.service.consul"]),
        lambda authority: authority.leaf(uris=[elsewhere]),
    )


@requirement("proxy/identity/07")
def check_peer_with_the_leaf_of_a_server_is_refused(lab: Lab) -> None:
    """Give the agent an authority of the suite, and connect with a leaf of ``web`` that may be used by servers alone.

    Nothing comes back; a leaf of the same authority for both purposes is served. Source: catalogue.
    """
    _refuses_leaf(lab, lambda authority: authority.leaf("web", purposes=[ExtendedKeyUsageOID.SERVER_AUTH]))


@requirement("proxy/identity/08")
def check_destination_with_the_leaf_of_a_client_is_refused(lab: Lab) -> None:
    """Let an instance registered as ``redis`` present a leaf of ``redis`` that may be used by clients alone.

    No byte of the application is sent to it; with a leaf for both purposes it is reached. Source: catalogue.
    """
    _refuses_instance(
        lab, lambda authority: authority.leaf("redis", purposes=[ExtendedKeyUsageOID.CLIENT_AUTH])
    )


@requirement("proxy/upstream/07")
def check_destination_of_old_tls_is_refused(lab: Lab) -> None:
    """Let an instance registered as ``redis``, with an honest leaf, speak nothing newer than TLS 1.1.

    No byte of the application is sent to it; with TLS 1.2 it is reached. Source: catalogue.
    """
    _refuses_instance(lab, lambda authority: authority.leaf("redis"), newest=ssl.TLSVersion.TLSv1_1)


@requirement("proxy/intention/01")
def check_denied_connection_is_cut(lab: Lab) -> None:
    """Open connections to the public listener of ``redis`` as ``web`` and as ``db``, then deny ``web`` by an intention.

    The one of ``web`` is ended within a second of the answer, the one of ``db`` still echoes. Source: hardening.
    """
    pair = mesh(lab, lab.use(EchoServer()))
    with (
        socket.create_connection(("127.0.0.1", pair.upstream_port), timeout=lab.budget("data_path")) as web,
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
    with socket.create_connection(
        ("127.0.0.1", pair.upstream_port), timeout=lab.budget("data_path")
    ) as connection:
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
    before, lines, began = {proxy: proxy.cpu() for proxy in proxies}, _lines(pair.agent), time.monotonic()
    lab.holds("observation", lambda: all(proxy.alive() for proxy in proxies), what="the proxies live on")
    seconds = time.monotonic() - began
    for proxy, cpu in before.items():
        share = (proxy.cpu() - cpu) / seconds
        assert share < 0.2, f"{variable(proxy, 'CONNECT_PROXY_ID')} takes {share:.0%} of a processor"
    written = _lines(pair.agent) - lines
    assert written < 20 * seconds, f"{written} lines in {seconds:.1f} s"


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
    with socket.create_connection(
        ("127.0.0.1", pair.upstream_port), timeout=lab.budget("data_path")
    ) as connection:
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
    with socket.create_connection(
        ("127.0.0.1", pair.upstream_port), timeout=lab.budget("data_path")
    ) as connection:
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
    held = [
        lab.use(socket.create_connection(("127.0.0.1", pair.upstream_port), timeout=lab.budget("data_path")))
        for _ in range(2)
    ]
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
    with socket.create_connection(
        ("127.0.0.1", pair.upstream_port), timeout=lab.budget("data_path")
    ) as connection:
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


def _agent_of(lab: Lab, authority: Authority, *definitions: Mapping[str, Any]) -> AgentUnderTest:
    """An agent whose mesh has this authority, so that the suite can sign leaves of the mesh."""
    own = {"private_key": authority.key_pem, "root_cert": authority.root_pem}
    options = {"connect": {"ca_provider": "consul", "ca_config": own}}
    agent = lab.agent(definitions=definitions, options=options)
    lab.until("authority", lambda: agent_identity(agent.api, "web"), what="the authority is there")
    return agent


def _of_both(authority: Authority, *services: str) -> Identity:
    """A leaf that names several services."""
    return authority.leaf(uris=[spiffe_id(authority.trust_domain, service) for service in services])


def _refuses_instance(
    lab: Lab,
    rogue: Callable[[Authority], Identity],
    *,
    newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2,
) -> None:
    """Let ``redis`` be a rogue that speaks this version of TLS, and then an honest instance that speaks 1.2."""
    authority = Authority()
    port, upstream = lab.port(), lab.port()
    agent = _agent_of(
        lab,
        authority,
        lab.service("redis", port=port, connect={"native": True}),
        lab.service("web", proxy={"upstreams": [{"destination_name": "redis", "local_bind_port": upstream}]}),
    )
    authority.trust_domain = agent_trust_domain(agent.api)
    lab.until("proxy_listens", lambda: connects(upstream), what="the upstream listens")
    roots = [authority.root_pem]
    with TlsServer(rogue(authority), roots=roots, port=port, newest=newest) as server:
        lab.until(
            "data_path",
            lambda: exchange(upstream, b"secret") != b"" or server.peers or server.failures,
            what="the destination is tried",
        )
        lab.holds("blink", lambda: exchange(upstream, b"secret") == b"", what="the destination is refused")
        assert server.received == b"", "the application's bytes were sent to the wrong peer"
    honest = authority.leaf("redis")
    lab.use(TlsServer(honest, roots=roots, port=port, newest=ssl.TLSVersion.TLSv1_2))
    lab.until(
        "data_path", lambda: exchange(upstream, b"hello") == b"hello", what="the honest instance is reached"
    )


def _refuses_leaf(lab: Lab, *rogues: Callable[[Authority], Identity]) -> None:
    authority, application = Authority(), lab.use(EchoServer())
    agent = _agent_of(
        lab, authority, lab.service("redis", port=application.port, proxy={"config": HEALTHY_AT_ONCE})
    )
    authority.trust_domain = agent_trust_domain(agent.api)
    port = agent.services()["redis-proxy"]["Port"]
    lab.until("proxy_listens", lambda: connects(port), what="the public listener is open")

    def greet(identity: Identity) -> bytes:
        roots = [authority.root_pem]
        return dial(
            port, identity=identity, roots=roots, send=MESSAGE, expect=len(MESSAGE), half_close=False
        ).received

    assert greet(authority.leaf("web")) == MESSAGE, "a valid leaf of the authority is refused"
    before = application.received
    for rogue in rogues:
        assert greet(rogue(authority)) == b"", "the wrong leaf is accepted"
    assert application.received == before, "bytes of a refused peer reached the application"


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
