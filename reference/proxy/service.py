"""Composition: what the agent says about a proxy becomes listeners, and changes them while traffic flows.

The state of a :class:`Service` belongs to its first loop; watches bring their news there. An upstream is the same as
long as its definition is equal: others come, go and change without it. Established connections outlive the
listener they came through.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote

from reference.proxy.api import Agent, Client
from reference.proxy.authorize import Authorizer, Intentions
from reference.proxy.bulk import Bulk
from reference.proxy.config import ProxyConfig, Public, Upstream, parse
from reference.proxy.endpoints import ConfigError, Endpoint, SocketPath
from reference.proxy.exporter import Exporter
from reference.proxy.identity import Identity, IdentityKeeper
from reference.proxy.inbound import Inbound
from reference.proxy.listener import Listener, Serve
from reference.proxy.log import Log
from reference.proxy.loop import Known, Loop, Timer
from reference.proxy.metrics import Ledger, exposition
from reference.proxy.notice import announce_ready
from reference.proxy.outbound import Outbound
from reference.proxy.resolver import resolver
from reference.proxy.sinks import Reporter
from reference.proxy.telemetry import Telemetry
from reference.proxy.watch import Watch
from reference.proxy.workers import Workers

#: How soon a listener that could not be opened is tried again.
BIND_RETRY_SECONDS = 1.0
WORKERS = 4


class Door:
    """A listener that is wanted: opened now or, when something else holds its address, as soon as it lets go."""

    def __init__(
        self,
        loops: Sequence[Loop],
        *,
        name: str,
        bind: Endpoint,
        serve: Serve,
        log: Log,
        opened: Callable[[], None] = lambda: None,
    ) -> None:
        self.bind = bind
        self._opened = opened
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
                self._log.err(f"{self._name} stopped with error: {_listen(self.bind)}: bind: {reason}")
        else:
            self._log.info(f"{self._name} starting on {self.bind}")
            self._opened()


class Service:
    """One proxy. ``loops[0]`` is where its state lives; all loops carry its connections, those of ``bulk`` streams.

    It begins with :meth:`follow` (what the agent says) or :meth:`serve` (what somebody else says).
    """

    def __init__(self, loops: Sequence[Loop], *, bulk: Bulk, agent: Agent, log: Log) -> None:
        self._loops = loops
        self._bulk = bulk
        self._agent = agent
        self._log = log
        self._client = Client(agent)
        self._workers = Workers(WORKERS)
        self._authorizer: Authorizer | None = None
        self._identity = Known[Identity]()
        self._keeper: IdentityKeeper | None = None
        self._config: ProxyConfig | None = None
        self._upstreams: dict[Upstream, tuple[Outbound, Door]] = {}
        self._inbound: Inbound | None = None
        self._public: Door | None = None
        self._ledger = Ledger(on_end=self._hear_end)
        self._exporter = Exporter(self._page)
        self._prometheus: Door | None = None
        self._reporter: Reporter | None = None
        self._drained: Callable[[], None] | None = None

    def follow(self, proxy_id: str) -> None:
        """Do what the agent says about this proxy, a managed one or a registered one, now and in future."""
        name = quote(proxy_id, safe="")
        Watch(
            self._agent,
            name="connect_proxy",
            path=f"/v1/agent/connect/proxy/{name}",
            other_path=f"/v1/agent/service/{name}",
            on_change=self._hear_config,
            log=self._log,
        )

    def serve(self, config: ProxyConfig) -> None:
        """Do this from now on. From any thread."""
        self._loops[0].post(lambda: self._apply(config))

    def drain(self, then: Callable[[], None]) -> None:
        """Accept nothing any more, and call ``then`` once: when the last connection has ended, or time is up."""
        if self._drained is not None:
            return
        self._drained = then
        self.close()
        seconds = self._config.drain_timeout if self._config is not None else 0.0
        self._loops[0].later(seconds, self._give_up)
        self._look_whether_drained()

    def close(self) -> None:
        """Listen no more."""
        self._close_public()
        self._change_upstreams(())
        self._change_prometheus(None)

    def report(self) -> None:
        """Send the last metrics, if any are sent at all. Not on a loop: it may take a second."""
        if self._reporter is not None:
            self._reporter.stop()
            self._reporter.join()

    def _give_up(self) -> None:
        left = sum(len(traffic.live()) for traffic in self._ledger.all())
        if left and self._drained is not None:
            self._log.warn(f"{left} connections have not ended in time and are cut")
            for traffic in self._ledger.all():
                for connection in traffic.live():
                    connection.sever("the proxy ends")

    def _look_whether_drained(self) -> None:
        if self._drained is not None and not any(traffic.busy for traffic in self._ledger.all()):
            self._drained()

    def _hear_end(self) -> None:
        if self._drained is not None:
            self._loops[0].post(self._look_whether_drained)

    def _hear_config(self, answer: Any) -> None:
        # No failure of the watch, which would ask again and again: the agent will say when it has something better.
        try:
            self.serve(parse(answer))
        except ConfigError as problem:
            self._log.err(f"the agent's configuration is of no use: {problem}")

    def _hear_identity(self, identity: Identity) -> None:
        self._loops[0].post(lambda: self._take_identity(identity))

    def _hear_intentions(self) -> None:
        self._loops[0].post(self._reauthorize)

    def _reauthorize(self) -> None:
        if self._inbound is not None and self._inbound.public.reauthorize:
            self._loops[0].spawn(self._inbound.reauthorize)

    def _apply(self, config: ProxyConfig) -> None:
        if self._drained is not None:
            return
        self._log.debug("got new config")
        if self._config is None or self._config.service != config.service:
            self._represent(config.service)
        before, self._config = self._config, config
        for problem in config.left_out:
            if before is None or problem not in before.left_out:
                self._log.err(f"upstream left out: {problem}")
        self._change_upstreams(config.upstreams)
        self._change_public()
        self._change_prometheus(config.prometheus)
        if before is None or before.telemetry != config.telemetry:
            self._change_telemetry(config.telemetry)

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
            traffic=self._ledger.traffic(
                "upstream",
                {"src": self._service_name(), "dst_type": upstream.kind, "dst": upstream.name},
            ),
            workers=self._workers,
            bulk=self._bulk,
            log=self._log,
        )
        door = Door(self._loops, name=str(upstream), bind=upstream.bind, serve=outbound.serve, log=self._log)
        return outbound, door

    def _change_public(self) -> None:
        """Bring the public listener in line; it waits for the first identity (MP-BIP-011)."""
        if self._config is None or self._identity.value is None or self._drained is not None:
            return
        wanted: Public | None = self._config.public
        if self._public is not None and (wanted is None or wanted.bind != self._public.bind):
            self._close_public()
        if wanted is None:
            announce_ready(os.environ)
            return
        if self._public is not None and self._inbound is not None:
            self._inbound.public = wanted
            return
        if self._authorizer is None:
            intentions = Intentions(self._agent, on_change=self._hear_intentions, log=self._log)
            self._authorizer = Authorizer(self._client, self._workers, intentions)
        self._inbound = Inbound(
            service=self._config.service,
            public=wanted,
            identity=self._identity,
            authorizer=self._authorizer,
            traffic=self._ledger.traffic("inbound", {"dst": self._config.service}),
            workers=self._workers,
            bulk=self._bulk,
            log=self._log,
        )
        self._public = Door(
            self._loops,
            name="public listener",
            bind=wanted.bind,
            serve=self._inbound.serve,
            log=self._log,
            opened=lambda: announce_ready(os.environ),
        )

    def _close_public(self) -> None:
        if self._public is not None:
            self._public.close()
            self._public = None
            self._log.info("public listener stopped")

    def _change_prometheus(self, wanted: Endpoint | None) -> None:
        if self._prometheus is not None and self._prometheus.bind != wanted:
            self._prometheus.close()
            self._prometheus = None
        if wanted is not None and self._prometheus is None:
            self._prometheus = Door(
                self._loops, name="metrics", bind=wanted, serve=self._exporter.serve, log=self._log
            )

    def _change_telemetry(self, wanted: Telemetry | None) -> None:
        if self._reporter is not None:
            self._reporter.stop()
        self._reporter = None if wanted is None else Reporter(self._ledger, wanted, log=self._log)

    def _page(self) -> str:
        identity = self._identity.value
        return exposition(self._ledger.samples(), leaf_expires=None if identity is None else identity.expires)

    def _service_name(self) -> str:
        return "" if self._config is None else self._config.service


def _listen(bind: Endpoint) -> str:
    return f"listen unix {bind.path}" if isinstance(bind, SocketPath) else f"listen tcp {bind}"
