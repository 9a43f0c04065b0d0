"""The public side: a peer is known, authorized and only then brought to the application."""

from __future__ import annotations

import socket
import ssl

from reference.proxy.authorize import Authorizer
from reference.proxy.config import Public
from reference.proxy.dial import dial
from reference.proxy.identity import Identity
from reference.proxy.log import Log
from reference.proxy.loop import READ, Known, Loop, Task, ready
from reference.proxy.relay import Relay
from reference.proxy.spiffe import IdentityError, parse, serial_of, uri_of
from reference.proxy.tls import Certificate, farewell, handshake, reset, wrap
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
        workers: Workers,
        log: Log,
    ) -> None:
        self.public = public
        self._service = service
        self._identity = identity
        self._authorizer = authorizer
        self._workers = workers
        self._log = log

    async def serve(self, task: Task, sock: socket.socket, peer: str) -> None:
        """One connection, from accept to relay. Owns ``sock``."""
        tls = await self._admit(task, sock, peer)
        if tls is None:
            return
        task.deadline(self.public.local_connect_timeout)
        try:
            application = await dial(task.loop, self._workers, self.public.application)
        except OSError as problem:
            what = (
                f"dial tcp {self.public.application}: {problem}"
                if isinstance(problem, TimeoutError)
                else problem
            )
            self._log.err(f"failed to dial: {what}")
            task.loop.forget(tls.fileno())
            reset(tls)
            return
        task.deadline(None)
        Relay(task.loop, plain=application, tls=tls, on_end=lambda problem: self._ended(peer, problem))

    async def _admit(self, task: Task, sock: socket.socket, peer: str) -> ssl.SSLSocket | None:
        """The TLS connection of a peer that may come in; None when it may not, and has been told so."""
        loop, fd, held, spoke, awaited = task.loop, sock.fileno(), sock, False, "TLS handshake"
        task.deadline(self.public.handshake_timeout)
        try:
            identity = await self._identity.get(loop)
            await ready(fd, READ)
            spoke = bool(sock.recv(1, socket.MSG_PEEK))
            if spoke:  # a probe that only opens and closes costs no TLS state, and makes no noise
                held = tls = wrap(identity.server, sock, server=True)
                certificate = await handshake(tls)
                awaited = "verdict of the agent"
                await self._authorize(loop, identity, certificate)
                return tls
            reason = "it ended without a word"
        except IdentityError as refusal:
            reason = str(refusal)
        except TimeoutError:
            reason = f"no {awaited} within {self.public.handshake_timeout:g} s"
        except OSError as problem:
            reason = f"TLS handshake failed: {explain(problem)}"
            if isinstance(problem, ssl.SSLError):
                await _farewell(task, held)
        (self._log.err if spoke else self._log.debug)(f"connection from {peer} refused: {reason}")
        loop.forget(fd)
        reset(held)
        return None

    async def _authorize(self, loop: Loop, identity: Identity, certificate: Certificate) -> None:
        """Raises :class:`IdentityError` unless the peer is of our trust domain and an intention lets it in."""
        uri = uri_of(certificate)
        if parse(uri).trust_domain.lower() != identity.trust_domain.lower():
            raise IdentityError(f"{uri} is of another trust domain than {identity.trust_domain}")
        verdict = await self._authorizer.check(
            loop, service=self._service, uri=uri, serial=serial_of(certificate)
        )
        if not verdict.authorized:
            raise IdentityError(f"{uri} is not authorized: {verdict.reason}")

    def _ended(self, peer: str, problem: OSError | None) -> None:
        if problem is not None:
            self._log.debug(f"connection from {peer} reset: {explain(problem)}")


async def _farewell(task: Task, tls: socket.socket) -> None:
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
