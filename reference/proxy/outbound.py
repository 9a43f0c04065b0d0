"""An upstream: a local client is brought to a healthy instance whose certificate names the expected service."""

from __future__ import annotations

import socket
import ssl
import time
from dataclasses import replace
from functools import lru_cache

from reference.proxy.api import AgentError
from reference.proxy.bulk import Bulk
from reference.proxy.catalog import Instance
from reference.proxy.config import Upstream
from reference.proxy.dial import dial
from reference.proxy.identity import Identity
from reference.proxy.inbound import explain
from reference.proxy.log import Log
from reference.proxy.loop import Known, Task
from reference.proxy.relay import Relay
from reference.proxy.resolver import Resolver
from reference.proxy.spiffe import IdentityError, ServiceId, parse, uri_of
from reference.proxy.tls import Sessions, Tls, handshake
from reference.proxy.traffic import LIMITED, UNREACHED, Connection, Severed, Traffic
from reference.proxy.workers import Workers


class Outbound:
    """Serves the connections of one upstream listener."""

    def __init__(
        self,
        upstream: Upstream,
        *,
        resolver: Resolver,
        identity: Known[Identity],
        traffic: Traffic,
        workers: Workers,
        bulk: Bulk,
        log: Log,
    ) -> None:
        self.upstream = upstream
        self.traffic = traffic
        self._resolver = resolver
        self._identity = identity
        self._workers = workers
        self._bulk = bulk
        self._log = log
        self._sessions = Sessions()
        #: Other listeners may share the traffic, but not the limit.
        self._open: set[Connection] = set()

    def stop(self) -> None:
        """Ask the agent no more; connections go on."""
        self._resolver.stop()

    async def serve(self, task: Task, sock: socket.socket, _peer: str) -> None:
        """One connection, from accept to relay. Owns ``sock``."""
        connection = self._admit(task)
        if connection is None:
            sock.close()
            return
        try:
            tls, instance = await self._reach(task)
        except (OSError, AgentError, IdentityError) as problem:
            self._log.err(f"failed to dial: {_describe(problem)}")
            self.traffic.count(UNREACHED)
            sock.close()
            self._forget(connection)
            return
        task.deadline(None)

        def ended(problem: OSError | None) -> None:
            self._forget(connection)
            if problem is None:
                return
            if isinstance(problem, Severed):
                self._log.info(f"connection to {self.upstream.name} cut: {problem}")
            elif relay.refused:  # TLS 1.3 lets a peer say so only after our side of the handshake was done
                self._log.err(
                    f"connection failed: {_shown(instance)} broke it off before it said a word "
                    f"(its log says why): {explain(problem)}"
                )
            else:
                self._log.debug(f"connection to {self.upstream.name} reset: {explain(problem)}")

        relay = Relay(
            task.loop,
            plain=sock,
            tls=tls,
            on_end=ended,
            on_goodbye=lambda: self._sessions.keep(tls, instance.address),
            bulk=self._bulk,
        )
        connection.carry(relay)
        relay.start()

    def _admit(self, task: Task) -> Connection | None:
        limit = self.upstream.max_connections
        if limit and len(self._open) >= limit:
            self.traffic.count(LIMITED)
            self._log.err(f"{self.upstream}: there are {limit} connections already (limits.max_connections)")
            return None
        connection = self.traffic.admit(task.loop)
        if connection is not None:
            self._open.add(connection)
        return connection

    def _forget(self, connection: Connection) -> None:
        self._open.discard(connection)
        connection.end()

    async def _reach(self, task: Task) -> tuple[Tls, Instance]:
        """A verified connection to one of the instances, within the upstream's connect time-out.

        Every instance gets an equal share of the time that is left, so that a dead one does not use it up.
        Raises what the last attempt raised.
        """
        ends = time.monotonic() + self.upstream.connect_timeout
        task.deadline(self.upstream.connect_timeout)
        try:
            awaited = "who we are"
            identity = await self._identity.get(task.loop)
            awaited = f"where {self.upstream.name} is"
            candidates = await self._resolver.candidates(task.loop)
        except TimeoutError:
            raise AgentError(
                f"the agent has not said {awaited} within {self.upstream.connect_timeout:g} s"
            ) from None
        identity.check()
        problem: Exception = AgentError("no healthy instances found")
        while candidates:
            instance = candidates.pop(0)
            task.deadline(max(0.0, ends - time.monotonic()) / (len(candidates) + 1))
            try:
                return await self._connect(task, identity, instance), instance
            except (OSError, IdentityError) as failure:
                reason = f"{_describe(failure)} ({_shown(instance)})"
                self._log.debug(f"instance passed over: {reason}")
                problem = AgentError(reason)
        raise problem

    async def _connect(self, task: Task, identity: Identity, instance: Instance) -> Tls:
        wanted = _expected(identity.trust_domain, instance)
        if self._log.debugs:
            self._log.debug(f"resolved service instance: {instance.address} ({_nameless(wanted)})")
        sock = await dial(task.loop, self._workers, instance.address)
        try:
            session = self._sessions.find(identity.client, instance.address)
            tls = Tls(identity.client, sock, server=False, session=session)
            got = uri_of(await handshake(tls))
            if not parse(got).matches(wanted):
                raise IdentityError(f"peer certificate mismatch got {got}, want {_nameless(wanted)}")
        except BaseException:
            task.loop.forget(sock.fileno())
            sock.close()
            raise
        if self._log.debugs:
            self._log.debug(f"successfully connected to {instance.address} ({_nameless(wanted)})")
        return tls


@lru_cache(maxsize=256)  # the same few instances, again and again
def _expected(trust_domain: str, instance: Instance) -> ServiceId:
    return ServiceId(trust_domain=trust_domain, datacenter=instance.datacenter, service=instance.service)


def _nameless(identity: ServiceId) -> str:
    """An identity as the original's log has it, without trust domain."""
    return str(replace(identity, trust_domain=""))


def _describe(problem: Exception) -> str:
    return explain(problem) if isinstance(problem, ssl.SSLError) else str(problem)


def _shown(instance: Instance) -> str:
    return f"instance {instance.address} of {instance.service}"
