"""The built-in proxy between two applications: what travels, and to whom."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from conformance.bench.load import MESSAGE
from conformance.checks._situations import (
    HEALTHY_AT_ONCE,
    accepted,
    assert_ends,
    connects,
    converse,
    exchange,
    mesh,
    native_peer,
    payload,
)
from conformance.instruments.api import ApiClient
from conformance.instruments.echo import CandidServer, EchoServer, SilentServer, reset
from conformance.instruments.identities import (
    Authority,
    Identity,
    agent_identity,
    agent_roots,
    agent_trust_domain,
)
from conformance.instruments.tls import TlsServer, dial
from conformance.plugin.lab import Lab
from conformance.plugin.marks import requirement


@requirement("proxy/traffic/01")
def check_bytes_arrive_unchanged(lab: Lab) -> None:
    """Define ``redis`` and ``web`` with a managed proxy each, and ``redis`` as upstream of ``web``.

    A megabyte sent to the upstream port reaches the application of ``redis``, and its echo comes back, unchanged.
    Source: document, Upstream Configuration.
    """
    data = payload(1 << 20)
    application = lab.use(EchoServer())
    pair = mesh(lab, application)
    before = application.received
    assert pair.exchange(data) == data
    assert application.received - before == len(data), "the bytes did not come from the application"


@requirement("proxy/traffic/02")
def check_connections_are_independent(lab: Lab) -> None:
    """Open sixteen connections to an upstream port at once, each with bytes of its own, beside one that is idle.

    Each gets back its own bytes. Source: document, Upstream Configuration.
    """
    pair = mesh(lab, lab.use(EchoServer()))
    messages = [bytes([number]) * 50_000 for number in range(16)]
    with (
        socket.create_connection(("127.0.0.1", pair.upstream_port), timeout=10),
        ThreadPoolExecutor(16) as pool,
    ):
        assert list(pool.map(pair.exchange, messages)) == messages


@requirement("proxy/traffic/03")
def check_half_close_is_passed_on(lab: Lab) -> None:
    """Send bytes to an upstream port, end that direction, and only then read.

    All of the echo arrives, and then the end. Source: hardening; the original ends both directions.
    """
    data = payload(300_000)
    pair = mesh(lab, lab.use(EchoServer()))
    with (
        pair.connect() as connection,
        ThreadPoolExecutor(1) as pool,
    ):
        reading = pool.submit(_read_all, connection)
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        received = reading.result()
    assert received == data, f"{len(received)} of {len(data)} bytes came back"


@requirement("proxy/traffic/03")
def check_half_close_by_the_application(lab: Lab) -> None:
    """Let the application end its direction first, and only then send bytes to the upstream port.

    All of them arrive at the application. Source: hardening; the original ends both directions.
    """
    data = payload(300_000)
    application = lab.use(CandidServer())
    pair = mesh(lab, application)
    lab.until("data_path", lambda: application.open == 0, what="the first connection is over")
    before, heard = len(application.endings), application.heard
    with pair.connect() as connection:
        connection.sendall(MESSAGE)
        assert _read_all(connection) == MESSAGE
        with suppress(OSError):
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
        lab.until("data_path", lambda: len(application.endings) > before, what="the connection is over")
    arrived = application.heard - heard
    assert arrived == len(data), f"{arrived} of {len(data)} bytes arrived"


@requirement("proxy/traffic/05")
def check_resets_are_passed_on(lab: Lab) -> None:
    """Break a connection to an upstream port off, and have the application break another one off.

    The application is told that the first was broken off, and the client that the second was. Source: hardening; who
    sees a proper end takes a part for the whole.
    """
    application = lab.use(CandidServer())
    pair = mesh(lab, application)
    lab.until("data_path", lambda: application.open == 0, what="the first connection is over")
    before = len(application.endings)
    with pair.connect() as connection:
        connection.sendall(MESSAGE)
        assert _read_all(connection) == MESSAGE
        reset(connection)
    lab.until("data_path", lambda: len(application.endings) > before, what="the application sees it end")
    assert application.endings[before:] == ["reset"], (
        "the application takes a broken connection for a complete one"
    )
    with pair.connect() as connection:
        connection.sendall(CandidServer.BREAK)
        try:
            broken = connection.recv(1) != b""
        except ConnectionError:
            broken = True
    assert broken, "the client takes a broken connection for a complete one"


@requirement("proxy/upstream/01")
def check_upstream_address(lab: Lab) -> None:
    """Define one upstream without an address and one with ``local_bind_address`` 127.0.0.2.

    The first listens on 127.0.0.1 alone, the second on 127.0.0.2 alone. Source: document, Upstream Configuration.
    """
    first, second = lab.port(), lab.port()
    upstreams = [
        {"destination_name": "redis", "local_bind_port": first},
        {"destination_name": "redis", "local_bind_port": second, "local_bind_address": "127.0.0.2"},
    ]
    lab.agent(definitions=[lab.service("web", proxy={"upstreams": upstreams})])
    lab.until("proxy_listens", lambda: connects(first), what="the first upstream listens on 127.0.0.1")
    lab.until(
        "proxy_listens", lambda: connects(second, host="127.0.0.2"), what="the second listens on 127.0.0.2"
    )
    assert not connects(first, host="127.0.0.2")
    assert not connects(second)


@requirement("proxy/upstream/02")
def check_upstream_identifies_as_its_service(lab: Lab) -> None:
    """Let ``web`` have an upstream to ``redis``, which is a Connect-native service of ours with an honest leaf.

    The bytes arrive there over TLS, from a client whose certificate names ``web`` and nobody else.
    Source: document, Upstream Configuration.
    """
    peer = native_peer(lab, identity=lambda api: agent_identity(api, "redis"))
    lab.until(
        "data_path", lambda: exchange(peer.upstream_port, b"hello") == b"hello", what="the peer is reached"
    )
    domain = agent_trust_domain(peer.agent.api)
    assert set(peer.server.peers) == {(f"spiffe://{domain}/ns/default/dc/dc1/svc/web",)}


@requirement("proxy/upstream/03")
def check_wrong_service_is_refused(lab: Lab) -> None:
    """Let the instance registered as ``redis`` present the leaf of ``db``, which the same authority signed.

    No byte of the application is sent to it. Source: document, Upstream Configuration.
    """
    _refuses_destination(lab, lambda api: agent_identity(api, "db"))


@requirement("proxy/upstream/04")
def check_foreign_authority_is_refused(lab: Lab) -> None:
    """Let the instance registered as ``redis`` present a leaf with the right name, signed by another authority.

    No byte of the application is sent to it. Source: document, Upstream Configuration.
    """
    _refuses_destination(lab, lambda api: Authority(agent_trust_domain(api)).leaf("redis"))


@requirement("proxy/upstream/05")
def check_no_instance_no_data(lab: Lab) -> None:
    """Connect to an upstream port whose destination nobody provides, and send bytes.

    The connection ends without data, and within the budget. So it is with an instance that is critical, and listens:
    it sees nothing before it is passing. Source: document, Upstream Configuration.
    """
    port, sick = lab.port(), lab.port()
    upstream = {"destination_name": "nobody", "local_bind_port": port}
    agent = lab.agent(definitions=[lab.service("web", proxy={"upstreams": [upstream]})])
    lab.until("proxy_listens", lambda: connects(port), what="the upstream listens")
    with socket.create_connection(("127.0.0.1", port), timeout=lab.budget("data_path")) as connection:
        with suppress(ConnectionError):
            connection.sendall(b"anybody?")
        assert_ends(connection, otherwise="the connection stays open though nobody can answer")
    leaf = lab.until("authority", lambda: agent_identity(agent.api, "nobody"), what="a leaf is issued")
    server = lab.use(TlsServer(leaf, roots=agent_roots(agent.api), port=sick))
    body = {"Name": "nobody", "Port": sick, "Connect": {"Native": True}, "Check": {"TTL": "10m"}}
    accepted(agent.api.put("/v1/agent/service/register", body))
    lab.until(
        "registration",
        lambda: accepted(agent.api.get("/v1/health/connect/nobody")).json,
        what="the instance is known",
    )
    lab.holds("quiet", lambda: exchange(port, b"anybody?") == b"", what="nobody answers")
    assert not server.peers, "a critical instance was connected to"
    accepted(agent.api.put("/v1/agent/check/pass/service:nobody"))
    lab.until(
        "data_path", lambda: exchange(port, b"hello") == b"hello", what="the instance is reached once passing"
    )


@requirement("proxy/upstream/06")
def check_connect_timeout_of_an_upstream(lab: Lab) -> None:
    """Set ``connect_timeout_ms`` of an upstream to 500, and let its destination accept connections and say nothing.

    A connection to the upstream port is closed long before the ten seconds of the default.
    Source: document, Upstream Configuration.
    """
    silent, upstream = lab.use(SilentServer()), lab.port()
    impatient = {
        "destination_name": "redis",
        "local_bind_port": upstream,
        "config": {"connect_timeout_ms": 500},
    }
    lab.agent(
        definitions=[
            lab.service("redis", port=silent.port, connect={"native": True}),
            lab.service("web", proxy={"upstreams": [impatient]}),
        ]
    )
    lab.until("data_path", lambda: _leads_to(silent, upstream), what="the destination is reached")
    with socket.create_connection(
        ("127.0.0.1", upstream), timeout=lab.budget("upstream_gives_up")
    ) as waiting:
        assert_ends(waiting, otherwise="the connection is still open")


def _leads_to(server: SilentServer, port: int) -> bool:
    """Whether connections to the port come to the server, which makes them wait; others are closed at once."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=0.2) as connection:
        connection.recv(1)
    return server.connections > 0


@requirement("proxy/discovery/02")
def check_instances_are_reached_at_their_address(lab: Lab) -> None:
    """Register ``redis``, a Connect-native service of ours, with the address 127.0.0.2, and then without an address.

    ``web`` reaches it first there, then at the address of the node, 127.0.0.1. Source: catalogue.
    """
    port, upstream = lab.port(), lab.port()
    there, here = (
        lab.service("redis", port=port, connect={"native": True}, address=address)
        for address in ("127.0.0.2", "")
    )
    web = lab.service(
        "web", proxy={"upstreams": [{"destination_name": "redis", "local_bind_port": upstream}]}
    )
    agent = lab.agent(definitions=[there, web])
    leaf = lab.until(
        "authority", lambda: agent_identity(agent.api, "redis"), what="the leaf of redis is issued"
    )
    for host, definition in (("127.0.0.2", None), ("127.0.0.1", here)):
        if definition is not None:
            agent.reload(definitions=[definition, web])
        with TlsServer(leaf, roots=agent_roots(agent.api), port=port, host=host):
            lab.until(
                "data_path",
                lambda: exchange(upstream, b"hello") == b"hello",
                what=f"redis is reached at {host}",
            )


@requirement("proxy/application/01")
def check_local_service_address(lab: Lab) -> None:
    """Set ``config.local_service_address`` of ``redis`` to another port than that of the service.

    Bytes for ``redis`` reach the application there, not the one on the service's port.
    Source: document, Upstream Configuration.
    """
    decoy, application = lab.use(EchoServer()), lab.use(EchoServer())
    config = {**HEALTHY_AT_ONCE, "local_service_address": f"127.0.0.1:{application.port}"}
    pair = mesh(lab, decoy, redis=config)
    assert pair.exchange(b"hello") == b"hello"
    assert application.received >= len(b"hello")
    assert decoy.received == 0


@requirement("proxy/application/02")
def check_application_may_go_and_come_back(lab: Lab) -> None:
    """Reach the application of ``redis`` through both proxies, stop it, connect once more, and start it again.

    The connection meanwhile ends without data; a later one is served. Source: catalogue.
    """
    with EchoServer() as application:
        pair = mesh(lab, application)
    assert pair.exchange(b"nobody there") == b""
    lab.use(EchoServer(application.port))
    lab.until("data_path", lambda: pair.exchange(b"hello") == b"hello", what="the application is reached")


@requirement("proxy/update/01")
def check_added_upstream_is_served(lab: Lab) -> None:
    """Add an upstream to a running proxy by a reload, while a connection leads through another.

    Its port carries bytes, so do the old port and the connection, and the process is the same. Source: catalogue.
    """
    added = lab.port()
    pair = mesh(lab, lab.use(EchoServer()))
    proxy = pair.agent.proxy("web-proxy")
    with pair.connect() as connection:
        assert converse(connection, b"before") == b"before"
        pair.agent.reload(definitions=pair.definitions(pair.upstream_port, added))
        lab.until(
            "proxy_config", lambda: exchange(added, b"new") == b"new", what="the added upstream carries bytes"
        )
        assert converse(connection, b"after") == b"after", "a connection through another upstream broke"
    assert pair.exchange(b"old") == b"old"
    assert pair.agent.proxies("web-proxy") == [proxy]


@requirement("proxy/update/05")
def check_senseless_option_ends_nothing(lab: Lab) -> None:
    """Give a running proxy a time-out that is no number by a reload, while a connection leads through its upstream,
    then take that back and add an upstream.

    The connection carries bytes all the time, and the added upstream does at the end; the process is the same.
    Source: hardening.
    """
    added = lab.port()
    pair = mesh(lab, lab.use(EchoServer()))
    proxy = pair.agent.proxy("web-proxy")
    with pair.connect() as connection:
        redis, web = pair.definitions(pair.upstream_port)
        web["service"]["connect"]["proxy"]["config"] = {**HEALTHY_AT_ONCE, "handshake_timeout_ms": "soon"}
        pair.agent.reload(definitions=[redis, web])
        lab.holds("quiet", lambda: converse(connection, b"on") == b"on", what="the connection carries bytes")
        assert pair.exchange(b"new") == b"new"
        pair.agent.reload(definitions=pair.definitions(pair.upstream_port, added))
        lab.until(
            "proxy_config", lambda: exchange(added, b"new") == b"new", what="the added upstream carries bytes"
        )
        assert converse(connection, b"after") == b"after", "the connection broke"
    assert pair.agent.proxies("web-proxy") == [proxy]


@requirement("proxy/update/02")
def check_removed_upstream_is_closed(lab: Lab) -> None:
    """Take an upstream away from a running proxy by a reload.

    Nothing listens on its port any more; the other one still carries bytes. Source: hardening.
    """
    removed = lab.port()
    pair = mesh(lab, lab.use(EchoServer()), also=[removed])
    lab.until("data_path", lambda: exchange(removed, b"?") == b"?", what="the second upstream carries bytes")
    pair.agent.reload(definitions=pair.definitions(pair.upstream_port))
    lab.until("proxy_config", lambda: not connects(removed), what="the removed upstream is closed")
    assert pair.exchange(b"old") == b"old"


@requirement("proxy/update/03")
def check_changed_upstream_leads_elsewhere(lab: Lab) -> None:
    """Let an upstream of ``web`` lead to ``redis`` and, after a reload, to ``db``; both are Connect-native services.

    Connections to the same port come to ``redis`` before and to ``db`` afterwards. Source: hardening.
    """
    upstream, ports = lab.port(), {name: lab.port() for name in ("redis", "db")}

    def definitions(destination: str) -> list[Mapping[str, Any]]:
        upstreams = [{"destination_name": destination, "local_bind_port": upstream}]
        natives = (lab.service(name, port=port, connect={"native": True}) for name, port in ports.items())
        return [*natives, lab.service("web", port=1, proxy={"upstreams": upstreams})]

    agent = lab.agent(definitions=definitions("redis"))
    lab.until("authority", lambda: agent_identity(agent.api, "web"), what="there is an authority")
    roots = agent_roots(agent.api)
    servers = {
        name: lab.use(TlsServer(agent_identity(agent.api, name), roots=roots, port=port))
        for name, port in ports.items()
    }
    lab.until("data_path", lambda: exchange(upstream, b"one") == b"one", what="redis is reached")
    assert not servers["db"].peers
    agent.reload(definitions=definitions("db"))
    lab.until(
        "proxy_config",
        lambda: exchange(upstream, b"two") == b"two" and servers["db"].peers,
        what="db is reached at the same port",
    )


@requirement("proxy/update/04")
def check_moved_application_is_followed(lab: Lab) -> None:
    """Move the application of ``redis`` to another port, change the port in the definition of the service, and reload.

    New connections come to the application at its new port. Source: hardening.
    """
    old, new = lab.use(EchoServer()), lab.use(EchoServer())

    def definition(application: EchoServer) -> Mapping[str, Any]:
        return lab.service("redis", port=application.port, proxy={"config": HEALTHY_AT_ONCE})

    agent = lab.agent(definitions=[definition(old)])
    port = agent.services()["redis-proxy"]["Port"]
    web = lab.until("authority", lambda: agent_identity(agent.api, "web"), what="the leaf of web is issued")

    def greeted() -> bool:
        return (
            dial(port, identity=web, send=MESSAGE, expect=len(MESSAGE), half_close=False).received == MESSAGE
        )

    lab.until("data_path", greeted, what="the application is reached")
    assert old.received
    assert not new.received
    agent.reload(definitions=[definition(new)])
    lab.until(
        "proxy_config", lambda: greeted() and new.received, what="the application is reached at its new port"
    )


def _read_all(connection: socket.socket) -> bytes:
    """Everything until the peer ends its direction; what came until then when it never does."""
    received = bytearray()
    with suppress(OSError):
        while piece := connection.recv(1 << 16):
            received += piece
    return bytes(received)


def _refuses_destination(lab: Lab, identity: Callable[[ApiClient], Identity]) -> None:
    peer = native_peer(lab, identity=identity)
    # The peer must have been tried and found wrong; an upstream that finds nobody sends nothing either.
    lab.until(
        "data_path",
        lambda: exchange(peer.upstream_port, b"secret") != b"" or peer.server.peers or peer.server.failures,
        what="the destination is tried",
    )
    lab.holds(
        "blink", lambda: exchange(peer.upstream_port, b"secret") == b"", what="the destination is refused"
    )
    assert peer.server.received == b"", "the application's bytes were sent to the wrong peer"
