"""The public side: a peer is known, authorized and only then brought to the application."""

from __future__ import annotations

import socket
import ssl

from reference.proxy.authorize import Authorizer
from reference.proxy.bulk import Bulk
from reference.proxy.config import Public
from reference.proxy.dial import dial
from reference.proxy.identity import Identity
from reference.proxy.log import Log
from reference.proxy.loop import Known, Loop, Task
from reference.proxy.proxy_protocol import header
from reference.proxy.relay import Relay
from reference.proxy.spiffe import IdentityError, parse, serial_of, uri_of
from reference.proxy.tls import Certificate, Tls, accept, farewell, handshake, hear, reset
from reference.proxy.traffic import CUT, REFUSED, UNREACHED, Connection, Severed, Traffic
from reference.proxy.workers import Workers

#: How long a refused peer may take to read why.
FAREWELL_SECONDS = 1.0


class Inbound:
    """Serves the connections of the public listener. ``public`` may be replaced at any time: the next one sees it."""

    def __init__(
        self,
        *,
        service: str,
        public: Public,
        identity: Known[Identity],
        authorizer: Authorizer,
        traffic: Traffic,
        workers: Workers,
        bulk: Bulk,
        log: Log,
    ) -> None:
        self.public = public
        self.traffic = traffic
        self._service = service
        self._identity = identity
        self._authorizer = authorizer
        self._workers = workers
        self._bulk = bulk
        self._log = log

    async def serve(self, task: Task, sock: socket.socket, peer: str) -> None:
        """One connection, from accept to relay. Owns ``sock``."""
        admitted = await self._admit(task, sock, peer)
        if admitted is None:
            return
        tls, connection = admitted
        task.deadline(self.public.local_connect_timeout)
        try:
            application = await dial(task.loop, self._workers, self.public.application)
            if self.public.proxy_protocol:
                self._introduce(application, tls, connection)
        except OSError as problem:
            what = (
                f"dial tcp {self.public.application}: {problem}"
                if isinstance(problem, TimeoutError)
                else problem
            )
            self._log.err(f"failed to dial: {what}")
            self.traffic.count(UNREACHED)
            task.loop.forget(tls.sock.fileno())
            tls.reset()
            connection.end()
            return
        task.deadline(None)

        def ended(problem: OSError | None) -> None:
            if isinstance(problem, Severed):
                self._log.info(f"connection from {peer} cut: {problem}")
            elif problem is not None:
                self._log.debug(f"connection from {peer} reset: {explain(problem)}")
            connection.end()

        relay = Relay(task.loop, plain=application, tls=tls, on_end=ended, bulk=self._bulk)
        connection.carry(relay)
        relay.start()

    async def reauthorize(self, task: Task) -> None:
        """Ask again about everybody who is in; who may no longer come in is cut."""
        inside: dict[str, list[Connection]] = {}
        for connection in self.traffic.live():
            inside.setdefault(connection.uri, []).append(connection)
        for uri, connections in inside.items():
            verdict = await self._authorizer.check(
                task.loop, service=self._service, uri=uri, serial=connections[0].serial
            )
            if not verdict.authorized:
                for connection in connections:
                    self.traffic.count(CUT)
                    connection.sever(f"{uri} is no longer authorized: {verdict.reason}")

    async def _admit(self, task: Task, sock: socket.socket, peer: str) -> tuple[Tls, Connection] | None:
        """The TLS connection of a peer that may come in; None when it may not, and has been told so."""
        loop, spoke, awaited = task.loop, False, "TLS handshake"
        tls: Tls | None = None
        task.deadline(self.public.handshake_timeout)
        try:
            identity = await self._identity.get(loop)
            hello = await hear(sock)
            spoke = bool(hello)
            if spoke:  # a probe that only opens and closes costs no TLS state, and makes no noise
                with self.traffic.handshake():
                    identity.check()
                    tls = accept(identity.server, sock, hello=hello)
                    certificate = await handshake(tls)
                    awaited = "verdict of the agent"
                    return tls, await self._authorize(loop, identity, certificate)
            reason = "it ended without a word"
        except IdentityError as refusal:
            reason = str(refusal)
        except TimeoutError:
            reason = f"no {awaited} within {self.public.handshake_timeout:g} s"
        except OSError as problem:
            reason = f"TLS handshake failed: {explain(problem)}"
            if isinstance(problem, ssl.SSLError) and tls is not None:
                await _farewell(task, tls)
        if spoke:
            self.traffic.count(REFUSED)
        (self._log.err if spoke else self._log.debug)(f"connection from {peer} refused: {reason}")
        loop.forget(sock.fileno())
        if tls is None:
            reset(sock)
        else:
            tls.reset()
        return None

    async def _authorize(self, loop: Loop, identity: Identity, certificate: Certificate) -> Connection:
        """Raises :class:`IdentityError` unless the peer is of our trust domain and an intention lets it in."""
        uri, serial = uri_of(certificate), serial_of(certificate)
        if parse(uri).trust_domain.lower() != identity.trust_domain.lower():
            raise IdentityError(f"{uri} is of another trust domain than {identity.trust_domain}")
        verdict = await self._authorizer.check(loop, service=self._service, uri=uri, serial=serial)
        if not verdict.authorized:
            raise IdentityError(f"{uri} is not authorized: {verdict.reason}")
        limit = self.public.max_connections
        connection = self.traffic.admit(loop, limit=limit, uri=uri, serial=serial)
        if connection is None:
            raise IdentityError(f"there are {limit} connections already (max_inbound_connections)")
        return connection

    @staticmethod
    def _introduce(application: socket.socket, tls: Tls, connection: Connection) -> None:
        """Tell the application who comes; a fresh connection has room for that."""
        application.send(
            header(
                source=tls.sock.getpeername(),
                destination=tls.sock.getsockname(),
                uri=connection.uri,
                tls_version=tls.ssl.version() or "",
            )
        )


async def _farewell(task: Task, tls: Tls) -> None:
    task.deadline(FAREWELL_SECONDS)
    try:
        await farewell(tls)
    except OSError:
        return  # whoever does not listen is cut off


def explain(problem: OSError) -> str:
    """What went wrong, without the file names and brackets of :mod:`ssl`."""
    if isinstance(problem, ssl.SSLCertVerificationError):
        return problem.verify_message
    if isinstance(problem, ssl.SSLEOFError):
        return "the peer ended the connection without a close_notify"
    if isinstance(problem, ssl.SSLError) and problem.reason:
        return problem.reason.replace("_", " ").lower()
    return problem.strerror or str(problem)
