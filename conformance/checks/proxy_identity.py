"""The built-in proxy: whose certificates it takes, of those who come and of those whom it goes to."""

from __future__ import annotations

import datetime
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.x509.oid import ExtendedKeyUsageOID

from conformance.checks._situations import HEALTHY_AT_ONCE, connects, exchange
from conformance.instruments.echo import EchoServer
from conformance.instruments.identities import (
    Authority,
    Identity,
    agent_identity,
    agent_trust_domain,
    spiffe_id,
)
from conformance.instruments.tls import Returning, TlsServer, dial
from conformance.plugin.lab import AgentUnderTest, Lab
from conformance.plugin.marks import requirement

MESSAGE = b"to the application"
HOUR = datetime.timedelta(hours=1)
#: How long a leaf lives that is to end while a check watches: long enough to be used before.
_SHORT = datetime.timedelta(seconds=6)
#: A trust domain that is not the mesh's.
_ELSEWHERE = "99999999-2222-3333-4444-555555555555.consul"


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
    _refuses_leaf(
        lab,
        lambda authority: authority.leaf(uris=[], dns=["web.service.consul"]),
        lambda authority: authority.leaf(uris=[spiffe_id(_ELSEWHERE, "web")]),
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


@requirement("proxy/identity/09")
def check_destination_of_another_datacenter_is_refused(lab: Lab) -> None:
    """Let an instance registered as ``redis`` present leaves, signed by the mesh's authority, that name the ``redis``
    of another datacenter, and that of another namespace.

    No byte of the application is sent to it; with a leaf of the ``redis`` that is meant it is reached.
    Source: catalogue.
    """
    _refuses_instance(
        lab,
        lambda authority: authority.leaf(uris=[spiffe_id(authority.trust_domain, "redis", "dc2")]),
        lambda authority: authority.leaf(
            uris=[spiffe_id(authority.trust_domain, "redis").replace("/ns/default/", "/ns/other/")]
        ),
    )


@requirement("proxy/identity/10")
def check_destination_of_another_trust_domain_is_refused(lab: Lab) -> None:
    """Let an instance registered as ``redis`` present a leaf that names the ``redis`` of another trust domain, signed
    by the mesh's authority.

    No byte of the application is sent to it; with a leaf of the mesh's own trust domain it is reached.
    Source: hardening.
    """
    _refuses_instance(lab, lambda authority: authority.leaf(uris=[spiffe_id(_ELSEWHERE, "redis")]))


@requirement("proxy/identity/11", takes=7)
def check_session_of_a_peer_ends_with_its_leaf(lab: Lab) -> None:
    """Give the agent an authority of the suite, connect as ``web`` with a leaf that lives for seconds, and come back
    with the TLS session of that visit when the leaf has expired.

    The first time bytes come back, the second time nothing does; a leaf that has not expired is served still.
    Source: hardening; OpenSSL, for one, looks at no certificate when a session is resumed.
    """
    listener = _listener(lab)

    def visited() -> Returning | None:
        peer = Returning(listener.authority.leaf("web", ends=_SHORT))
        return peer if peer.visit(listener.port, MESSAGE) == MESSAGE else None

    peer = lab.until("data_path", visited, what="a leaf that is short of life is served")
    assert peer is not None
    _expires(lab, peer.identity)
    before = listener.application.received
    assert peer.visit(listener.port, MESSAGE) == b"", "the session outlives the leaf"
    assert listener.application.received == before, "bytes of a refused peer reached the application"
    assert listener.greet(listener.authority.leaf("web")) == MESSAGE


@requirement("proxy/identity/11", takes=7)
def check_session_with_a_destination_ends_with_its_leaf(lab: Lab) -> None:
    """Let an instance registered as ``redis`` present a leaf that lives for seconds, send bytes to it, and send more
    when the leaf has expired.

    The first ones arrive, and of the others none is sent. Source: hardening.
    """
    upstream = _upstream(lab)
    leaf = upstream.authority.leaf("redis", ends=_SHORT)
    server = lab.use(TlsServer(leaf, roots=[upstream.authority.root_pem], port=upstream.destination))
    lab.until("data_path", lambda: upstream.send(MESSAGE) == MESSAGE, what="the destination is reached")
    _expires(lab, leaf)
    before = server.received
    lab.holds("blink", lambda: upstream.send(b"secret") == b"", what="the destination is refused")
    assert server.received == before, "the application's bytes were sent to the wrong peer"


@requirement("proxy/upstream/07")
def check_destination_of_old_tls_is_refused(lab: Lab) -> None:
    """Let an instance registered as ``redis``, with an honest leaf, speak nothing newer than TLS 1.1.

    No byte of the application is sent to it; with TLS 1.2 it is reached. Source: catalogue.
    """
    _refuses_instance(lab, lambda authority: authority.leaf("redis"), newest=ssl.TLSVersion.TLSv1_1)


@dataclass(frozen=True, kw_only=True)
class _Listener:
    """The public listener of ``redis`` in a mesh of the suite's own authority."""

    authority: Authority
    application: EchoServer
    port: int

    def greet(self, identity: Identity) -> bytes:
        """Send a message with this leaf; what comes back."""
        roots = [self.authority.root_pem]
        return dial(
            self.port, identity=identity, roots=roots, send=MESSAGE, expect=len(MESSAGE), half_close=False
        ).received


def _listener(lab: Lab) -> _Listener:
    authority, application = Authority(), lab.use(EchoServer())
    agent = _agent_of(
        lab, authority, lab.service("redis", port=application.port, proxy={"config": HEALTHY_AT_ONCE})
    )
    port = agent.services()["redis-proxy"]["Port"]
    lab.until("proxy_listens", lambda: connects(port), what="the public listener is open")
    return _Listener(authority=authority, application=application, port=port)


@dataclass(frozen=True, kw_only=True)
class _Upstream:
    """An upstream of ``web``, and the port where ``redis`` is looked for, in a mesh of the suite's own authority."""

    authority: Authority
    port: int
    destination: int

    def send(self, data: bytes) -> bytes:
        """Send as ``web``; what comes back."""
        return exchange(self.port, data)


def _upstream(lab: Lab) -> _Upstream:
    authority = Authority()
    destination, port = lab.port(), lab.port()
    _agent_of(
        lab,
        authority,
        lab.service("redis", port=destination, connect={"native": True}),
        lab.service("web", proxy={"upstreams": [{"destination_name": "redis", "local_bind_port": port}]}),
    )
    lab.until("proxy_listens", lambda: connects(port), what="the upstream listens")
    return _Upstream(authority=authority, port=port, destination=destination)


def _agent_of(lab: Lab, authority: Authority, *definitions: Mapping[str, Any]) -> AgentUnderTest:
    """An agent whose mesh has this authority, so that the suite can sign leaves of the mesh."""
    own = {"private_key": authority.key_pem, "root_cert": authority.root_pem}
    options = {"connect": {"ca_provider": "consul", "ca_config": own}}
    agent = lab.agent(definitions=definitions, options=options)
    lab.until("authority", lambda: agent_identity(agent.api, "web"), what="the authority is there")
    authority.trust_domain = agent_trust_domain(agent.api)
    return agent


def _of_both(authority: Authority, *services: str) -> Identity:
    """A leaf that names several services."""
    return authority.leaf(uris=[spiffe_id(authority.trust_domain, service) for service in services])


def _expires(lab: Lab, identity: Identity) -> None:
    ends = identity.certificate.not_valid_after_utc
    lab.until("leaf_end", lambda: datetime.datetime.now(datetime.UTC) > ends, what="the leaf has expired")


def _refuses_instance(
    lab: Lab,
    *rogues: Callable[[Authority], Identity],
    newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2,
) -> None:
    """Let ``redis`` be one rogue after the other, who speaks this version of TLS, and then honest, with TLS 1.2."""
    upstream = _upstream(lab)
    roots = [upstream.authority.root_pem]
    for rogue in rogues:
        leaf = rogue(upstream.authority)
        with TlsServer(leaf, roots=roots, port=upstream.destination, newest=newest) as server:
            lab.until(
                "data_path",
                lambda: upstream.send(b"secret") != b"" or server.peers or server.failures,
                what="the destination is tried",
            )
            lab.holds("blink", lambda: upstream.send(b"secret") == b"", what="the destination is refused")
            assert server.received == b"", "the application's bytes were sent to the wrong peer"
    honest = upstream.authority.leaf("redis")
    lab.use(TlsServer(honest, roots=roots, port=upstream.destination, newest=ssl.TLSVersion.TLSv1_2))
    lab.until("data_path", lambda: upstream.send(b"hello") == b"hello", what="the honest instance is reached")


def _refuses_leaf(lab: Lab, *rogues: Callable[[Authority], Identity]) -> None:
    listener = _listener(lab)
    assert listener.greet(listener.authority.leaf("web")) == MESSAGE, (
        "a valid leaf of the authority is refused"
    )
    before = listener.application.received
    for rogue in rogues:
        assert listener.greet(rogue(listener.authority)) == b"", "the wrong leaf is accepted"
    assert listener.application.received == before, "bytes of a refused peer reached the application"
