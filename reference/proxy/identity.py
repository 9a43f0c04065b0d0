"""Who we are to our peers: leaf and roots from the agent, made into TLS contexts, renewed while traffic flows.

A new leaf or a new set of roots makes a new :class:`Identity`; connections keep the one they were made with.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from reference.proxy.api import Agent
from reference.proxy.catalog import Leaf, Roots
from reference.proxy.catalog import leaf as read_leaf
from reference.proxy.catalog import roots as read_roots
from reference.proxy.log import Log
from reference.proxy.spiffe import IdentityError
from reference.proxy.tls import context
from reference.proxy.watch import Watch


@dataclass(frozen=True, kw_only=True)
class Identity:
    """One leaf with one set of roots. The contexts are built once and shared by all connections."""

    uri: str
    trust_domain: str
    #: When the leaf ends, in seconds since the epoch.
    expires: float
    root_names: tuple[str, ...]
    server: ssl.SSLContext = field(repr=False)
    client: ssl.SSLContext = field(repr=False)

    def check(self) -> None:
        """:class:`Expired` when it must not be shown to anybody any more."""
        if time.time() >= self.expires:
            raise Expired(f"our own certificate {self.uri} has expired, and the agent gave no other")


class Expired(IdentityError):
    """We cannot say who we are."""


def build(leaf: Leaf, roots: Roots) -> Identity:
    """Make the contexts. Raises :class:`ssl.SSLError` or :class:`ValueError` for unusable PEM."""
    trusted = "\n".join(roots.certificates)
    server, client = (
        context(server=server, certificate=leaf.certificate, key=leaf.key, roots=trusted)
        for server in (True, False)
    )
    return Identity(
        uri=leaf.uri,
        expires=leaf.expires,
        trust_domain=roots.trust_domain,
        root_names=tuple(_common_name(root) for root in server.get_ca_certs()),
        server=server,
        client=client,
    )


class IdentityKeeper:
    """Follows the leaf of one service and the roots; tells ``on_identity``, on a thread of its own, of each change."""

    def __init__(
        self, agent: Agent, *, service: str, on_identity: Callable[[Identity], None], log: Log
    ) -> None:
        self._on_identity = on_identity
        self._lock = threading.Lock()
        self._leaf: Leaf | None = None
        self._roots: Roots | None = None
        self._watches = (
            Watch(
                agent,
                name="connect_roots",
                path="/v1/agent/connect/ca/roots",
                on_change=self._take_roots,
                log=log,
            ),
            Watch(
                agent,
                name="connect_leaf",
                path=f"/v1/agent/connect/ca/leaf/{quote(service, safe='')}",
                on_change=self._take_leaf,
                log=log,
            ),
        )

    def stop(self) -> None:
        for watch in self._watches:
            watch.stop()

    def _take_roots(self, answer: Any) -> None:
        with self._lock:
            self._roots = read_roots(answer)
            self._rebuild()

    def _take_leaf(self, answer: Any) -> None:
        with self._lock:
            self._leaf = read_leaf(answer)
            self._rebuild()

    def _rebuild(self) -> None:
        if self._leaf is not None and self._roots is not None:
            self._on_identity(build(self._leaf, self._roots))


def _common_name(certificate: dict[str, Any]) -> str:
    subject = {name: value for part in certificate.get("subject", ()) for name, value in part}
    return str(subject.get("commonName", ""))
