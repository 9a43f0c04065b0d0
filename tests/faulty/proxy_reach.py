"""The built-in proxy: how it reaches its destinations, and what it says of whom it refused."""

from __future__ import annotations

import socket
from dataclasses import replace
from typing import Any

import reference.proxy.catalog as catalog
import reference.proxy.identity as identity
import reference.proxy.inbound as inbound
from reference.proxy import resolver
from reference.proxy.catalog import Instance
from reference.proxy.config import Upstream
from reference.proxy.endpoints import Address
from reference.proxy.outbound import Outbound
from reference.proxy.resolver import QueryResolver
from reference.proxy.tls import context
from tests.faulty import fault


@fault("proxy/protocol/01", in_proxy=True)
def agrees_to_no_protocol() -> None:
    """Its proxies agree to another application protocol than the one of the mesh."""

    def other(**options: Any) -> Any:
        made = context(**options)
        made.set_alpn_protocols(["http/1.1"])
        return made

    identity.context = other


@fault("proxy/address/01", in_proxy=True)
def cuts_addresses_at_the_first_colon() -> None:
    """Its proxies take what stands before the first colon of an address for the host."""
    honest = catalog._instance

    def cut(entry: Any) -> Instance:
        found = honest(entry)
        host = found.address.host.partition(":")[0] or "127.0.0.1"
        return replace(found, address=Address(host=host, port=found.address.port))

    catalog._instance = cut


@fault("proxy/discovery/02", in_proxy=True)
def goes_to_the_node() -> None:
    """Its proxies dial the address of the node, whatever address an instance was registered with."""
    honest = catalog._instance

    def of_the_node(entry: Any) -> Instance:
        return honest({**entry, "Service": {**entry["Service"], "Address": ""}})

    catalog._instance = of_the_node


@fault("proxy/upstream/06", in_proxy=True)
def waits_as_long_as_it_likes() -> None:
    """Its proxies give every upstream ten seconds to connect, whatever connect_timeout_ms says."""
    honest = Outbound.__init__

    def patient(self: Outbound, upstream: Upstream, *arguments: Any, **rest: Any) -> None:
        honest(self, replace(upstream, connect_timeout=10.0), *arguments, **rest)

    Outbound.__init__ = patient  # type: ignore[assignment,method-assign]


@fault("logs/level/03", in_proxy=True)
def refuses_without_a_name() -> None:
    """Its proxies log that they refused somebody, and not whom."""
    honest = inbound.Inbound._authorize

    async def discreet(*arguments: Any) -> Any:
        try:
            return await honest(*arguments)
        except inbound.IdentityError as refusal:
            raise inbound.IdentityError("not authorized") from refusal

    inbound.Inbound._authorize = discreet  # type: ignore[method-assign]


@fault("security/masquerade/01", in_proxy=True)
def looks_at_where_it_is_called_from() -> None:
    """Its proxies carry connections to an upstream port from 127.0.0.1 alone."""
    honest = Outbound.serve

    async def picky(self: Outbound, task: Any, sock: socket.socket, peer: str) -> None:
        if sock.family is socket.AF_INET and sock.getpeername()[0] != "127.0.0.1":
            sock.close()
        else:
            await honest(self, task, sock, peer)

    Outbound.serve = picky  # type: ignore[method-assign]


@fault("proxy/upstream/05", "query/upstream/02", in_proxy=True)
def does_not_look_again() -> None:
    """Its proxies connect to instances however sick they are, and execute a prepared query once for all connections."""
    path, candidates = resolver._path, QueryResolver.candidates

    async def once(self: QueryResolver, loop: Any) -> list[Instance]:
        return list(self._last) if self._last else await candidates(self, loop)

    resolver._path = lambda text, upstream: path(text.replace("?passing=1", "?any=1"), upstream)
    QueryResolver.candidates = once  # type: ignore[method-assign]
