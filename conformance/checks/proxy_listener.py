"""The public listener of the built-in proxy: peers honest and rogue."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from conformance.checks._situations import (
    HEALTHY_AT_ONCE,
    assert_ends,
    connects,
    end,
    exchange,
    mesh,
    needs_ipv6,
)
from conformance.instruments.echo import EchoServer
from conformance.instruments.identities import (
    Authority,
    Identity,
    agent_identity,
    agent_roots,
    agent_trust_domain,
)
from conformance.instruments.tls import Exchange, dial
from conformance.plugin.lab import AgentUnderTest, Lab
from conformance.plugin.marks import requirement

MESSAGE = b"to the application"


@requirement("proxy/listener/01")
def check_peer_without_certificate_is_refused(lab: Lab) -> None:
    """Connect to the public listener of ``redis`` with TLS but without a client certificate, and send bytes.

    Nothing comes back and nothing reaches the application. Source: document, Upstream Configuration.
    """
    _refuses(listener_of(lab), identity=None)


@requirement("proxy/listener/02")
def check_peer_of_foreign_authority_is_refused(lab: Lab) -> None:
    """Connect to the public listener of ``redis`` as ``web``, with a leaf that another authority signed.

    Nothing comes back and nothing reaches the application. Source: document, Upstream Configuration.
    """
    listener = listener_of(lab)
    _refuses(listener, identity=Authority(agent_trust_domain(listener.agent.api)).leaf("web"))


@requirement("proxy/listener/03")
def check_peer_of_the_mesh_is_served(lab: Lab) -> None:
    """Connect to the public listener of ``redis`` with the leaf of ``web``, verifying against the agent's roots.

    The listener presents the leaf of ``redis``, and bytes go to the application and back.
    Source: document, Minimal Configuration.
    """
    listener = listener_of(lab)
    outcome = listener.greet(agent_identity(listener.agent.api, "web"))
    assert outcome.received == MESSAGE, outcome.reason
    domain = agent_trust_domain(listener.agent.api)
    assert outcome.peer == (f"spiffe://{domain}/ns/default/dc/dc1/svc/redis",)
    assert listener.application.received == len(MESSAGE)


@requirement("proxy/listener/04")
def check_old_tls_is_refused(lab: Lab) -> None:
    """Connect to the public listener with an honest leaf but nothing newer than TLS 1.1.

    The handshake fails; with TLS 1.2 the same peer is served. Source: catalogue.
    """
    listener = listener_of(lab)
    honest = agent_identity(listener.agent.api, "web")
    old = dial(
        listener.port,
        identity=honest,
        newest=ssl.TLSVersion.TLSv1_1,
        send=MESSAGE,
        expect=1,
        half_close=False,
    )
    assert not old.handshake, f"negotiated {old.version}"
    assert listener.greet(honest, newest=ssl.TLSVersion.TLSv1_2).received == MESSAGE


@requirement("proxy/listener/05")
def check_bad_peers_do_not_starve_good_ones(lab: Lab) -> None:
    """Leave twenty silent connections open at the public listener, send garbage on others and break them off.

    An honest peer is served meanwhile. Source: catalogue.
    """
    listener = listener_of(lab)
    honest = agent_identity(listener.agent.api, "web")
    silent = [lab.use(socket.create_connection(("127.0.0.1", listener.port), timeout=10)) for _ in range(20)]
    for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff" + b"\0" * 2000, b"\x16"):
        with socket.create_connection(("127.0.0.1", listener.port), timeout=10) as rude, suppress(OSError):
            rude.sendall(garbage)
    assert listener.greet(honest).received == MESSAGE
    assert len(silent) == 20


@requirement("proxy/listener/06")
def check_application_sees_no_stranger(lab: Lab) -> None:
    """Connect to the public listener without TLS, and with TLS but no certificate.

    The application sees no connection at all; it sees one of an honest peer. Source: hardening.
    """
    listener = listener_of(lab)
    assert listener.application.connections == 0, "a mere connection to the listener reached the application"
    _refuses(listener, identity=None)
    assert listener.application.connections == 0, "a refused peer reached the application"
    assert listener.greet(agent_identity(listener.agent.api, "web")).received == MESSAGE
    others = listener.application.connections - 1  # some may have come late
    assert others == 0, f"{others} connections of others reached the application"


@requirement("proxy/listener/07")
def check_slow_handshake_is_cut_off(lab: Lab) -> None:
    """Set ``config.handshake_timeout_ms`` to 500, connect to the public listener and say nothing.

    The connection is ended by the proxy. Source: catalogue; the original never uses the setting.
    """
    listener = listener_of(lab, handshake_timeout_ms=500)
    with socket.create_connection(("127.0.0.1", listener.port), timeout=lab.budget("observation")) as silent:
        assert_ends(silent, otherwise="the silent connection is still open")


@requirement("proxy/listener/09")
def check_weak_suites_are_refused(lab: Lab) -> None:
    """Connect to the public listener with an honest leaf and TLS 1.2, offering suites of CBC and HMAC alone.

    The handshake fails; with suites of GCM the same peer is served. Source: hardening.
    """
    listener = listener_of(lab)
    honest = agent_identity(listener.agent.api, "web")
    for suites, served in (("ECDHE+AES+SHA1:ECDHE+AES+SHA256", False), ("ECDHE+AESGCM", True)):
        outcome = dial(
            listener.port,
            identity=honest,
            newest=ssl.TLSVersion.TLSv1_2,
            suites=suites,
            send=MESSAGE,
            expect=len(MESSAGE),
            half_close=False,
        )
        assert outcome.handshake is served, f"a peer that offers {suites} was {'not ' * served}served"


@requirement("proxy/protocol/01")
def check_protocols_are_negotiated(lab: Lab) -> None:
    """Connect to the public listener with an honest leaf, offering ``h2``, and then without an offer.

    The first peer gets ``h2``, the second no protocol, and both are served. Source: catalogue.
    """
    listener = listener_of(lab)
    honest = agent_identity(listener.agent.api, "web")
    for offered, chosen in ((("h2",), "h2"), ((), "")):
        outcome = listener.greet(honest, offering=offered)
        assert (outcome.received, outcome.protocol) == (MESSAGE, chosen), outcome.reason


@requirement("proxy/address/01")
def check_listener_on_ipv6(lab: Lab) -> None:
    """Let the proxy of ``redis`` bind ``::1``, and let ``web`` reach it through its own proxy, by an upstream on
    127.0.0.1 and by one on ``::1``.

    Bytes pass. Source: hardening; addresses were put together without brackets.
    """
    needs_ipv6(lab, "::1")
    pair = mesh(lab, lab.use(EchoServer()), redis={**HEALTHY_AT_ONCE, "bind_address": "::1"})
    assert pair.exchange(MESSAGE) == MESSAGE
    redis, web = pair.definitions(pair.upstream_port)
    port = lab.port()
    upstream = {"destination_name": "redis", "local_bind_port": port, "local_bind_address": "::1"}
    web["service"]["connect"]["proxy"]["upstreams"].append(upstream)
    pair.agent.reload(definitions=[redis, web])
    lab.until(
        "proxy_config",
        lambda: exchange(port, MESSAGE, host="::1") == MESSAGE,
        what="the upstream on ::1 carries bytes",
    )


@requirement("proxy/upstream/08")
def check_upstream_waits_for_its_port(lab: Lab) -> None:
    """Let ``web`` have two upstreams, listen on the port of one of them before it starts, and stop listening later.

    Bytes pass through the other one meanwhile, and through both afterwards. Source: hardening.
    """
    taken = lab.port()
    with socket.create_server(("127.0.0.1", taken)):
        pair = mesh(lab, lab.use(EchoServer()), also=[taken])
    lab.until(
        "proxy_config", lambda: exchange(taken, MESSAGE) == MESSAGE, what="the upstream is opened on its port"
    )
    assert pair.exchange(MESSAGE) == MESSAGE


@requirement("proxy/upstream/09")
def check_senseless_upstream_harms_no_other(lab: Lab) -> None:
    """Add upstreams to ``web`` that have no port, one that there is not, no destination, and one of an unknown type.

    The agent refuses them in a reload, or the one that makes sense carries bytes as before, also through a proxy that
    was started with all of them, and the public listener is open. Source: hardening.
    """
    pair = mesh(lab, lab.use(EchoServer()))
    redis, web = pair.definitions(pair.upstream_port)
    proxy = pair.agent.proxy("web-proxy")
    senseless = [
        {"destination_name": "redis"},
        {"destination_name": "redis", "local_bind_port": 70000},
        {"destination_name": "", "local_bind_port": lab.port()},
        {"destination_name": "redis", "destination_type": "pigeon", "local_bind_port": lab.port()},
    ]
    web["service"]["connect"]["proxy"]["upstreams"][:0] = senseless
    pair.agent.reload(definitions=[redis, web])
    lab.holds("quiet", lambda: pair.exchange(MESSAGE) == MESSAGE, what="the upstream carries bytes as before")
    end(proxy)
    pair.agent.proxy("web-proxy", other_than=proxy)
    lab.until("data_path", lambda: pair.exchange(MESSAGE) == MESSAGE, what="it carries bytes after a restart")
    port = pair.agent.services()["web-proxy"]["Port"]
    lab.until("proxy_listens", lambda: connects(port), what="the public listener is open")


@dataclass(frozen=True, kw_only=True)
class Listener:
    """The default proxy of service ``redis``, seen from outside."""

    agent: AgentUnderTest
    application: EchoServer
    port: int

    def greet(
        self,
        identity: Identity | None,
        *,
        newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
        offering: Sequence[str] = (),
    ) -> Exchange:
        """Send the message as a peer with this identity, and read as much back."""
        return dial(
            self.port,
            offering=offering,
            identity=identity,
            roots=agent_roots(self.agent.api),
            send=MESSAGE,
            expect=len(MESSAGE),
            half_close=False,
            newest=newest,
        )


def listener_of(lab: Lab, **config: object) -> Listener:
    """Start ``redis`` with this config of its proxy, and wait until its public listener is open."""
    application = lab.use(EchoServer())
    proxy = {"config": {**HEALTHY_AT_ONCE, **config}}
    agent = lab.agent(definitions=[lab.service("redis", port=application.port, proxy=proxy)])
    port = agent.services()["redis-proxy"]["Port"]
    lab.until("proxy_listens", lambda: connects(port), what="the public listener is open")
    return Listener(agent=agent, application=application, port=port)


def _refuses(listener: Listener, *, identity: Identity | None) -> None:
    outcome = listener.greet(identity)
    assert outcome.received == b""
    assert not outcome.handshake, "the peer was let in"
    assert listener.application.received == 0, "bytes of a refused peer reached the application"
