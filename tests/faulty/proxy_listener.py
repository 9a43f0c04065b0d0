"""The built-in proxy: whom its listeners let in, what they listen on, and what it does when something fails."""

from __future__ import annotations

import os
import ssl
import sys
from dataclasses import replace
from typing import Any

import reference.proxy.identity as identity
import reference.proxy.inbound as inbound
import reference.proxy.service as service
import reference.proxy.tls as tls
from reference.proxy import config
from reference.proxy.config import Public, Upstream
from reference.proxy.endpoints import Address, ConfigError
from reference.proxy.inbound import Inbound
from reference.proxy.outbound import Outbound
from reference.proxy.relay import Relay
from reference.proxy.service import Service
from reference.proxy.spiffe import ServiceId
from tests.faulty import fault


def _context(change: Any, *, server: bool) -> None:
    """Change the contexts of one side after they were made."""
    honest = identity.context

    def changed(**options: Any) -> ssl.SSLContext:
        made = honest(**options)
        if options["server"] is server:
            change(made)
        return made

    identity.context = changed


@fault(
    "proxy/listener/01",
    "proxy/listener/02",
    "proxy/listener/06",
    "intentions/deny/02",
    "intentions/default/02",
    in_proxy=True,
)
def asks_for_no_certificate() -> None:
    """Its proxies ask their peers for no certificate, and let everybody in."""

    def careless(made: ssl.SSLContext) -> None:
        made.verify_mode = ssl.CERT_NONE

    _context(careless, server=True)
    _read_anything()

    async def admit(self: Inbound, *arguments: Any) -> Any:
        return self.traffic.admit(arguments[0], limit=0, uri="", serial="")

    Inbound._authorize = admit  # type: ignore[method-assign]


def _read_anything() -> None:
    """Do without a certificate that was verified; what the peer has shown is read all the same."""
    from cryptography import x509

    def read(self: Any, sock: ssl.SSLObject) -> Any:
        der = sock.getpeercert(binary_form=True)
        if der is None:
            return {}, float("inf")
        names = x509.load_der_x509_certificate(der).extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        )
        uris = names.value.get_values_for_type(x509.UniformResourceIdentifier)
        return {"subjectAltName": tuple(("URI", uri) for uri in uris)}, float("inf")

    tls._Certificates.read = read  # type: ignore[method-assign]


@fault("proxy/upstream/04", in_proxy=True)
def believes_any_authority() -> None:
    """Its proxies look at the name in the certificate of a destination, and not at who has signed it."""

    def careless(made: ssl.SSLContext) -> None:
        made.verify_mode = ssl.CERT_NONE

    honest = tls._Certificates.read
    _read_anything()
    lenient = tls._Certificates.read

    def read(self: Any, sock: ssl.SSLObject) -> Any:
        return honest(self, sock) if sock.server_side else lenient(self, sock)

    tls._Certificates.read = read  # type: ignore[method-assign]
    _context(careless, server=False)


@fault("proxy/update/05", in_proxy=True)
def starts_over_after_a_mistake() -> None:
    """Its proxies end when they are told something that makes no sense, as if the next start would mend that."""
    honest = service.parse

    def parsed(answer: Any) -> Any:
        try:
            return honest(answer)
        except ConfigError:
            os._exit(1)

    service.parse = parsed


@fault("proxy/upstream/09", in_proxy=True)
def takes_all_upstreams_or_none() -> None:
    """Its proxies do nothing of what they are told as long as one upstream makes no sense."""
    honest = config._upstreams

    def all_of_them(entries: Any) -> Any:
        upstreams, left_out = honest(entries)
        if left_out:
            raise ConfigError(left_out[0])
        return upstreams, left_out

    config._upstreams = all_of_them


@fault("ports/fixed/03", "proxy/upstream/08", in_proxy=True)
def tries_to_listen_once() -> None:
    """Its proxies never open a listener whose port was in use when they came to it."""
    service.BIND_RETRY_SECONDS = 3600.0


@fault("proxy/identity/09", "proxy/identity/10", "proxy/upstream/03", in_proxy=True)
def verifies_chains_only() -> None:
    """Its proxies take any destination whose certificate the mesh has signed, whatever its name."""
    ServiceId.matches = lambda self, other: True  # type: ignore[method-assign]


@fault("proxy/identity/09", in_proxy=True)
def compares_names_alone() -> None:
    """Its proxies take a destination of another datacenter or namespace for the one of that name in their own."""
    honest = ServiceId.matches

    def matches(self: ServiceId, other: ServiceId) -> bool:
        return honest(self, replace(other, datacenter=self.datacenter, namespace=self.namespace))

    ServiceId.matches = matches  # type: ignore[method-assign]


@fault("proxy/identity/10", in_proxy=True)
def compares_no_trust_domains() -> None:
    """Its proxies take a destination of another trust domain for the one of that name in their own."""
    honest = ServiceId.matches

    def matches(self: ServiceId, other: ServiceId) -> bool:
        return honest(self, replace(other, trust_domain=self.trust_domain))

    ServiceId.matches = matches  # type: ignore[method-assign]


@fault(
    "proxy/upstream/02",
    "proxy/upstream/05",
    "proxy/upstream/07",
    "proxy/upstream/08",
    "proxy/upstream/09",
    in_proxy=True,
)
def shows_no_certificate() -> None:
    """Its proxies show no certificate of their own to destinations that are no proxies of the agent."""

    def nameless(**options: Any) -> ssl.SSLContext:
        if options["server"]:
            return tls.context(**options)
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        made.check_hostname = False
        made.load_verify_locations(cadata=options["roots"])
        return made

    identity.context = nameless


@fault("proxy/traffic/01", in_proxy=True)
def garbles_long_streams() -> None:
    """Its proxies change a byte when a connection has carried half a megabyte."""
    honest = Relay.__init__

    class Garbled:
        def __init__(self, sock: Any) -> None:
            self._sock, self._left = sock, 500_000

        def __getattr__(self, name: str) -> Any:
            return getattr(self._sock, name)

        def recv_into(self, view: memoryview) -> int:
            count = int(self._sock.recv_into(view))
            self._left -= count
            if count and -count < self._left <= 0:
                view[0] = (view[0] + 1) % 256
            return count

    def garbling(self: Relay, loop: Any, *, plain: Any, **rest: Any) -> None:
        honest(self, loop, plain=Garbled(plain), **rest)

    Relay.__init__ = garbling  # type: ignore[method-assign,assignment]


@fault(
    "proxy/listener/03",
    "proxy/listener/04",
    "proxy/listener/05",
    "proxy/listener/06",
    "proxy/listener/08",
    "proxy/listener/09",
    in_proxy=True,
)
def serves_its_like_only() -> None:
    """Its proxies refuse peers that do not offer the protocol which they offer themselves."""
    honest = inbound.handshake

    async def handshake(channel: tls.Tls) -> Any:
        certificate = await honest(channel)
        if channel.ssl.selected_alpn_protocol() is None:
            raise ssl.SSLError("no protocol in common")
        return certificate

    inbound.handshake = handshake


@fault("proxy/traffic/03", "proxy/traffic/05", in_proxy=True)
def ends_both_directions() -> None:
    """Its proxies drop what is still to come when one side has ended its direction."""
    honest = Relay._settle

    def settle(self: Relay) -> None:
        if self.outward.done or self.inward.done:
            self._close(None)
        else:
            honest(self)

    Relay._settle = settle  # type: ignore[method-assign]


@fault("proxy/traffic/01", "proxy/traffic/02", "proxy/traffic/03", "proxy/traffic/06", in_proxy=True)
def carries_one_at_a_time() -> None:
    """Its proxies refuse a second connection to an upstream while there is one."""
    honest = Outbound._admit

    def admit(self: Outbound, task: Any) -> Any:
        return None if self._open else honest(self, task)

    Outbound._admit = admit  # type: ignore[method-assign]


def _old(made: ssl.SSLContext) -> None:
    made.minimum_version = ssl.TLSVersion.TLSv1
    made.set_ciphers("ALL:@SECLEVEL=0")


@fault("proxy/listener/04", "proxy/listener/09", in_proxy=True)
def speaks_old_tls() -> None:
    """Its proxies speak any TLS, from 1.0 on."""

    _context(_old, server=True)


@fault("proxy/upstream/07", in_proxy=True)
def puts_up_with_old_tls() -> None:
    """Its proxies send what is for a destination over any TLS that it speaks, from 1.0 on."""
    _context(_old, server=False)


@fault(
    "proxy/listener/04",
    "proxy/listener/05",
    "proxy/listener/06",
    "proxy/listener/08",
    "proxy/listener/09",
    in_proxy=True,
)
def is_offended_by_garbage() -> None:
    """Its proxies serve nobody any more once a handshake has failed."""
    honest = Inbound._admit
    offended: list[bool] = []

    async def admit(self: Inbound, task: Any, sock: Any, peer: str) -> Any:
        if offended:
            sock.close()
            return None
        return await honest(self, task, sock, peer)

    async def farewell(task: Any, sock: Any) -> None:
        offended.append(True)

    Inbound._admit = admit  # type: ignore[method-assign]
    inbound._farewell = farewell


@fault("proxy/listener/06", "proxy/probe/01", in_proxy=True)
def dials_before_it_asks() -> None:
    """Its proxies connect to the application before they know who comes."""
    honest = Inbound.serve

    async def serve(self: Inbound, task: Any, sock: Any, peer: str) -> None:
        (await inbound.dial(task.loop, self._workers, self.public.application)).close()
        await honest(self, task, sock, peer)

    Inbound.serve = serve  # type: ignore[method-assign]


@fault("proxy/listener/07", in_proxy=True)
def has_all_the_time_in_the_world() -> None:
    """Its proxies wait a minute for a handshake, whatever ``handshake_timeout_ms`` says."""
    honest = config._public

    def patient(given: Any) -> Public | None:
        public = honest(given)
        return public and replace(public, handshake_timeout=60.0)

    config._public = patient


@fault("ports/listener/01", in_proxy=True)
def listens_everywhere() -> None:
    """Its proxies listen on all addresses of the machine."""
    honest = config._public

    def everywhere(given: Any) -> Public | None:
        public = honest(given)
        if public is None or not isinstance(public.bind, Address):
            return public
        return replace(public, bind=Address(host="0.0.0.0", port=public.bind.port))

    config._public = everywhere


@fault("proxy/application/01", in_proxy=True)
def goes_to_the_services_port() -> None:
    """Its proxies ignore ``local_service_address`` and go to the port of the service."""
    from reference.proxy.api import Client
    from reference.proxy.config import ProxyConfig

    honest = Service.serve

    def serve(self: Service, given: ProxyConfig) -> None:
        public = given.public
        if public is not None:
            client = Client(self._agent)
            port = client.get(f"/v1/agent/service/{given.service}")["Port"]
            given = replace(given, public=replace(public, application=Address(host="127.0.0.1", port=port)))
        honest(self, given)

    Service.serve = serve  # type: ignore[method-assign]


@fault("proxy/application/02", in_proxy=True)
def gives_the_application_one_chance() -> None:
    """Its proxies never try an application again that they could not reach once."""
    honest = inbound.dial
    dead: list[Any] = []

    async def dial(loop: Any, workers: Any, address: Any) -> Any:
        if address in dead:
            raise ConnectionRefusedError("it was not there before")
        try:
            return await honest(loop, workers, address)
        except OSError:
            dead.append(address)
            raise

    inbound.dial = dial


@fault("proxy/upstream/01", in_proxy=True)
def binds_upstreams_to_one_address() -> None:
    """Its proxies open every upstream on 127.0.0.1, whatever ``local_bind_address`` says."""
    honest = config._upstream

    def local(entry: Any, index: int) -> Upstream:
        return honest({**entry, "LocalBindAddress": ""}, index)

    config._upstream = local


@fault("proxy/upstream/05", "proxy/upstream/06", in_proxy=True)
def keeps_clients_waiting() -> None:
    """Its proxies leave a client's connection open when they find nobody to connect it to."""
    honest = Outbound.serve
    held: list[Any] = []

    async def serve(self: Outbound, task: Any, sock: Any, peer: str) -> None:
        held.append(sock.dup())
        await honest(self, task, sock, peer)

    Outbound.serve = serve  # type: ignore[method-assign]


@fault("proxy/update/01", "proxy/update/03", "proxy/update/05", in_proxy=True)
def opens_no_upstream_later() -> None:
    """Its proxies open the upstreams that they are told of first, and none later."""
    honest = Service._change_upstreams

    def change(self: Service, wanted: Any) -> None:
        known = [upstream for upstream in wanted if upstream in self._upstreams]
        honest(self, known if self._upstreams else wanted)

    Service._change_upstreams = change  # type: ignore[method-assign]


@fault("proxy/update/02", "proxy/update/03", in_proxy=True)
def closes_no_upstream() -> None:
    """Its proxies go on serving an upstream that was taken away from them."""
    honest = Service._change_upstreams

    def change(self: Service, wanted: Any) -> None:
        honest(self, tuple(dict.fromkeys((*self._upstreams, *wanted))) if wanted else wanted)

    Service._change_upstreams = change  # type: ignore[method-assign]


@fault("lifecycle/survive/06", "proxy/drain/01", "proxy/drain/02", "stopping/builtin/01", in_proxy=True)
def will_not_end() -> None:
    """Its proxies begin anew when they are asked to end with SIGTERM."""

    def drain(self: Service, then: Any) -> None:
        os.execv(sys.executable, sys.orig_argv)

    Service.drain = drain  # type: ignore[method-assign]


@fault("proxy/update/03", "proxy/update/04", in_proxy=True)
def goes_where_it_was_sent_first() -> None:
    """Its proxies lead an upstream and the public listener where they were told first, whatever they are told later."""
    upstreams, public = Service._change_upstreams, Service._change_public

    def change_upstreams(self: Service, wanted: Any) -> None:
        known = {upstream.bind: upstream for upstream in self._upstreams}
        upstreams(self, tuple(known.get(upstream.bind, upstream) for upstream in wanted))

    def change_public(self: Service) -> None:
        before = None if self._inbound is None else self._inbound.public
        public(self)
        if before is not None and self._inbound is not None:
            self._inbound.public = replace(self._inbound.public, application=before.application)

    Service._change_upstreams = change_upstreams  # type: ignore[method-assign]
    Service._change_public = change_public  # type: ignore[method-assign]


@fault("proxy/update/01", "proxy/update/05", in_proxy=True)
def starts_over_with_each_change() -> None:
    """Its proxies cut the connections of all upstreams when one is added."""
    honest = Service._change_upstreams

    def change(self: Service, wanted: Any) -> None:
        if self._upstreams and set(wanted) - set(self._upstreams):
            for traffic in self._ledger.all():
                for connection in traffic.live():
                    connection.sever("something has changed")
        honest(self, wanted)

    Service._change_upstreams = change  # type: ignore[method-assign]
