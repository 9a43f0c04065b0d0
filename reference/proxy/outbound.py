"""An upstream: a local client is brought to a healthy instance whose certificate names the expected service."""

from __future__ import annotations

import socket
import ssl
import time
from dataclasses import replace

from reference.proxy.api import AgentError
from reference.proxy.catalog import Instance
from reference.proxy.config import Address, Upstream
from reference.proxy.dial import dial
from reference.proxy.identity import Identity
from reference.proxy.inbound import explain
from reference.proxy.log import Log
from reference.proxy.loop import Known, Task
from reference.proxy.relay import Relay
from reference.proxy.resolver import Resolver
from reference.proxy.spiffe import IdentityError, ServiceId, parse, uri_of
from reference.proxy.tls import Sessions, handshake, wrap
from reference.proxy.workers import Workers


class Outbound:
    """Serves the connections of one upstream listener."""

    def __init__(
        self, upstream: Upstream, *, resolver: Resolver, identity: Known[Identity], workers: Workers, log: Log
    ) -> None:
        self.upstream = upstream
        self._resolver = resolver
        self._identity = identity
        self._workers = workers
        self._log = log
        self._sessions = Sessions()

    def stop(self) -> None:
        """Ask the agent no more; connections go on."""
        self._resolver.stop()

    async def serve(self, task: Task, sock: socket.socket, peer: str) -> None:
        """One connection, from accept to relay. Owns ``sock``."""
        try:
            tls, address = await self._reach(task)
        except (OSError, AgentError, IdentityError) as problem:
            self._log.err(f"failed to dial: {_describe(problem)}")
            sock.close()
            return
        task.deadline(None)

        def ended(problem: OSError | None) -> None:
            self._sessions.keep(tls, address)
            if problem is None:
                return
            if relay.refused:  # TLS 1.3 lets a peer say so only after our side of the handshake was done
                self._log.err(f"connection failed: {explain(problem)}")
            else:
                self._log.debug(f"connection to {self.upstream.name} reset: {explain(problem)}")

        relay = Relay(task.loop, plain=sock, tls=tls, on_end=ended)

    async def _reach(self, task: Task) -> tuple[ssl.SSLSocket, Address]:
        """A verified connection to one of the instances and its address, within the upstream's connect time-out.

        Every instance gets an equal share of the time that is left, so that a dead one does not use it up.
        Raises what the last attempt raised.
        """
        ends = time.monotonic() + self.upstream.connect_timeout
        task.deadline(self.upstream.connect_timeout)
        identity = await self._identity.get(task.loop)
        candidates = await self._resolver.candidates(task.loop)
        problem: Exception = AgentError("no healthy instances found")
        while candidates:
            instance = candidates.pop(0)
            task.deadline(max(0.0, ends - time.monotonic()) / (len(candidates) + 1))
            try:
                return await self._connect(task, identity, instance), instance.address
            except (OSError, IdentityError) as failure:
                self._log.debug(f"instance {instance.address} of {self.upstream.name}: {_describe(failure)}")
                problem = failure
        raise problem

    async def _connect(self, task: Task, identity: Identity, instance: Instance) -> ssl.SSLSocket:
        wanted = ServiceId(
            trust_domain=identity.trust_domain, datacenter=instance.datacenter, service=instance.service
        )
        shown = replace(wanted, trust_domain="")
        self._log.debug(f"resolved service instance: {instance.address} ({shown})")
        sock = await dial(task.loop, self._workers, instance.address)
        fd = sock.fileno()
        try:
            session = self._sessions.find(identity.client, instance.address)
            sock = tls = wrap(identity.client, sock, server=False, session=session)
            got = uri_of(await handshake(tls))
            if not parse(got).matches(wanted):
                raise IdentityError(f"peer certificate mismatch got {got}, want {shown}")
        except BaseException:
            task.loop.forget(fd)
            sock.close()
            raise
        self._log.debug(f"successfully connected to {instance.address} ({shown})")
        return tls


def _describe(problem: Exception) -> str:
    return explain(problem) if isinstance(problem, ssl.SSLError) else str(problem)
