"""Composition: what the agent says about a proxy becomes listeners, and changes them while traffic flows.

The state of a :class:`Service` belongs to its first loop; watches bring their news there. An upstream is the same as
long as its definition is equal: others come, go and change without it. Established connections outlive the
listener they came through.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from reference.proxy.api import Agent, Client, Watch
from reference.proxy.authorize import Authorizer
from reference.proxy.config import Address, ProxyConfig, Public, Upstream, parse
from reference.proxy.identity import Identity, IdentityKeeper
from reference.proxy.inbound import Inbound
from reference.proxy.listener import Listener, Serve
from reference.proxy.log import Log
from reference.proxy.loop import Known, Loop, Timer
from reference.proxy.outbound import Outbound
from reference.proxy.resolver import resolver
from reference.proxy.workers import Workers

#: How soon a listener that could not be opened is tried again.
BIND_RETRY_SECONDS = 1.0
WORKERS = 4


class Door:
    """A listener that is wanted: opened now or, when something else holds its address, as soon as it lets go."""

    def __init__(self, loops: Sequence[Loop], *, name: str, bind: Address, serve: Serve, log: Log) -> None:
        self.bind = bind
        self._loops = loops
        self._name = name
        self._serve = serve
        self._log = log
        self._listener: Listener | None = None
        self._retry: Timer | None = None
        self._problem = ""
        self._open()

    def close(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
        if self._listener is not None:
            self._listener.close()

    def _open(self) -> None:
        try:
            self._listener = Listener(self._loops, self.bind, self._serve, self._log)
        except OSError as problem:
            self._retry = self._loops[0].later(BIND_RETRY_SECONDS, self._open)
            reason = (problem.strerror or str(problem)).lower()
            if reason != self._problem:
                self._problem = reason
                self._log.err(f"{self._name} stopped with error: listen tcp {self.bind}: bind: {reason}")
        else:
            self._log.info(f"{self._name} starting on {self.bind}")


class Service:
    """One proxy. ``loops[0]`` is where its state lives; all loops carry its connections."""

    def __init__(self, loops: Sequence[Loop], *, agent: Agent, proxy_id: str, log: Log) -> None:
        self._loops = loops
        self._agent = agent
        self._log = log
        self._client = Client(agent)
        self._workers = Workers(WORKERS)
        self._authorizer = Authorizer(self._client, self._workers)
        self._identity = Known[Identity]()
        self._keeper: IdentityKeeper | None = None
        self._config: ProxyConfig | None = None
        self._upstreams: dict[Upstream, tuple[Outbound, Door]] = {}
        self._inbound: Inbound | None = None
        self._public: Door | None = None
        Watch(
            agent,
            name="connect_proxy",
            path=f"/v1/agent/connect/proxy/{quote(proxy_id, safe='')}",
            on_change=self._hear_config,
            log=log,
        )

    def _hear_config(self, answer: Any) -> None:
        config = parse(answer)
        self._loops[0].post(lambda: self._apply(config))

    def _hear_identity(self, identity: Identity) -> None:
        self._loops[0].post(lambda: self._take_identity(identity))

    def _apply(self, config: ProxyConfig) -> None:
        self._log.debug("got new config")
        if self._config is None or self._config.service != config.service:
            self._represent(config.service)
        self._config = config
        self._change_upstreams(config.upstreams)
        self._change_public()

    def _represent(self, service: str) -> None:
        """Get certificates of ``service``; those of another one are no longer shown to anybody new."""
        if self._keeper is not None:
            self._keeper.stop()
            self._identity.value = None
            self._close_public()
        self._keeper = IdentityKeeper(
            self._agent, service=service, on_identity=self._hear_identity, log=self._log
        )

    def _take_identity(self, identity: Identity) -> None:
        if self._identity.value is None:
            self._log.info("Proxy loaded config and ready to serve")
        self._identity.set(identity)
        self._log.info(f"TLS Identity: {identity.uri}")
        self._log.info(f"TLS Roots   : [{' '.join(identity.root_names)}]")
        self._change_public()

    def _change_upstreams(self, wanted: Sequence[Upstream]) -> None:
        for upstream in self._upstreams.keys() - set(wanted):
            outbound, door = self._upstreams.pop(upstream)
            door.close()
            outbound.stop()
            self._log.info(f"{upstream} stopped")
        for upstream in wanted:
            if upstream not in self._upstreams:
                self._upstreams[upstream] = self._open_upstream(upstream)

    def _open_upstream(self, upstream: Upstream) -> tuple[Outbound, Door]:
        outbound = Outbound(
            upstream,
            resolver=resolver(self._agent, self._client, self._workers, upstream, self._log),
            identity=self._identity,
            workers=self._workers,
            log=self._log,
        )
        door = Door(self._loops, name=str(upstream), bind=upstream.bind, serve=outbound.serve, log=self._log)
        return outbound, door

    def _change_public(self) -> None:
        """Bring the public listener in line; it waits for the first identity (MP-BIP-011)."""
        if self._config is None or self._identity.value is None:
            return
        wanted: Public | None = self._config.public
        if self._public is not None and (wanted is None or wanted.bind != self._public.bind):
            self._close_public()
        if wanted is None:
            return
        if self._public is not None and self._inbound is not None:
            self._inbound.public = wanted
            return
        self._inbound = Inbound(
            service=self._config.service,
            public=wanted,
            identity=self._identity,
            authorizer=self._authorizer,
            workers=self._workers,
            log=self._log,
        )
        self._public = Door(
            self._loops, name="public listener", bind=wanted.bind, serve=self._inbound.serve, log=self._log
        )

    def _close_public(self) -> None:
        if self._public is not None:
            self._public.close()
            self._public = None
            self._log.info("public listener stopped")
