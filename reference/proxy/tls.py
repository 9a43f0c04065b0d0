"""The corners of TLS that :mod:`ssl` leaves to its user: which contexts, a handshake in a task, a half-close.

A connection is a :class:`Tls`: OpenSSL is given memory to speak to, and the socket is ours. So many records take one
system call, and OpenSSL never meets a full socket.
"""

from __future__ import annotations

import os
import socket
import ssl
import struct
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from reference.proxy.endpoints import Address
from reference.proxy.loop import READ, WRITE, ready

Certificate = Mapping[str, Any]

#: TLS 1.2 suites: forward-secret, authenticated, AES-128-GCM first (MP-BIP-001). TLS 1.3 has no others.
SUITES = "ECDHE+AES128+AESGCM:ECDHE+AESGCM:ECDHE+CHACHA20"

#: The type of the last extension of a ClientHello that offers a session.
PRE_SHARED_KEY = (41).to_bytes(2, "big")
#: As much of a handshake as is read at once: more than a ClientHello or a server's answer commonly has.
HELLO = 4096

#: ``struct linger``: on, for 0 seconds.
LINGER_NOT = struct.pack("ii", 1, 0)


def context(*, server: bool, certificate: str, key: str, roots: str) -> ssl.SSLContext:
    """A context for one leaf: presents it, demands and verifies the peer's, offers ALPN ``h2`` (MP-BIP-002, 003).

    Host names mean nothing here: who the peer is says its SPIFFE URI, which the caller checks. Arguments are PEM.
    Raises :class:`ssl.SSLError` for material that does not fit together.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.set_ciphers(SUITES)
    made.set_alpn_protocols(["h2"])
    made.check_hostname = False
    made.verify_mode = ssl.CERT_REQUIRED
    made.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    made.options &= (
        ~ssl.OP_IGNORE_UNEXPECTED_EOF
    )  # Python sets it; a cut stream must not look like a whole one
    if server:
        # A ticket names a session that the context keeps, instead of carrying it: nothing has to be decoded, a peer's
        # certificate least of all, and no key opens what was said in the past.
        made.options |= ssl.OP_NO_TICKET
    made.load_verify_locations(cadata=roots)
    # The key never touches a disk: OpenSSL wants a path, and gets that of an anonymous file in memory.
    with open(os.memfd_create("leaf", os.MFD_CLOEXEC), "wb", buffering=0) as memory:
        memory.write(f"{certificate}\n{key}\n".encode())
        made.load_cert_chain(f"/proc/self/fd/{memory.fileno()}")
    return made


class Tls:
    """TLS on a non-blocking socket, which it owns. What ``ssl`` reads and writes is memory: :meth:`hear` and
    :meth:`flush` bring it from and to the socket.

    A FIN without close_notify raises :class:`ssl.SSLEOFError` when it is read: data may have been cut off.
    """

    __slots__ = ("feed", "incoming", "outgoing", "read", "receive", "send", "sock", "ssl", "unsent", "write")

    def __init__(
        self,
        context: ssl.SSLContext,
        sock: socket.socket,
        *,
        server: bool,
        session: ssl.SSLSession | None = None,
    ) -> None:
        self.sock = sock
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.ssl = context.wrap_bio(self.incoming, self.outgoing, server_side=server, session=session)
        #: Encrypted, and more than the socket would take.
        self.unsent: bytes | memoryview = b""
        # The calls of the hot path, at hand. Those of the object only pass a call on to an inner one.
        inner: Any = getattr(self.ssl, "_sslobj", None) or self.ssl
        self.read: Callable[[int, memoryview], int] = inner.read
        self.write: Callable[[memoryview], int] = inner.write
        self.receive: Callable[[memoryview, int], int] = sock.recv_into
        self.send: Callable[[bytes | memoryview], int] = sock.send
        self.feed: Callable[[bytes | memoryview], int] = self.incoming.write

    def flush(self) -> bool:
        """Send what is encrypted; False when the socket is full. Raises :class:`OSError`."""
        while data := self.unsent or self.outgoing.read():
            try:
                sent = self.send(data)
            except BlockingIOError:
                sent = 0
            if sent < len(data):
                self.unsent = memoryview(data)[sent:]
                return False
            self.unsent = b""
        return True

    def hear(self, received: bytes | memoryview) -> None:
        """Take what came from the socket, nothing being its end."""
        if received:
            self.feed(received)
        else:
            self.incoming.write_eof()

    def goodbye(self) -> None:
        """Encrypt the record that ends our direction; reading may go on afterwards.

        :meth:`ssl.SSLObject.unwrap` also looks for the peer's goodbye, and breaks the connection when it finds data
        instead: all that was heard must have been read.
        """
        with suppress(ssl.SSLWantReadError):  # the peer has not said goodbye yet
            self.ssl.unwrap()

    def close(self) -> None:
        """Without a word."""
        self.sock.close()

    def reset(self) -> None:
        """See :func:`reset`."""
        if self.ssl.server_side:
            # OpenSSL forgets the session of a connection that ends without goodbye, and all others that were resumed
            # from it would lose theirs. So it is said, and nobody hears it.
            with suppress(
                OSError, ValueError
            ):  # a failed handshake or a broken record has no session to save
                self.goodbye()
        reset(self.sock)


def accept(context: ssl.SSLContext, sock: socket.socket, *, hello: bytes) -> Tls:
    """Take over the socket of a peer; ``hello`` is what it has said so far.

    Who comes with a session gets no ticket for another one: it keeps its own, and each ticket would be one more session
    to remember.
    """
    context.num_tickets = 0 if offers_session(hello) else 1
    made = Tls(context, sock, server=True)
    made.hear(hello)
    return made


class Sessions:
    """TLS sessions by server address: resuming one spares both sides signatures and chains of a full handshake.

    A session belongs to its context, hence to one leaf and one set of roots: when either changes, nothing is
    resumed, by us or by a server of ours (its ticket keys are its context's). What a resumption leaves out, the
    peer's dates, :func:`handshake` looks at.
    """

    def __init__(self, limit: int = 256) -> None:
        self._limit = limit
        self._known: dict[Address, tuple[ssl.SSLContext, ssl.SSLSession]] = {}

    def find(self, context: ssl.SSLContext, address: Address) -> ssl.SSLSession | None:
        """A session to try; a server that has forgotten it makes a full handshake."""
        known = self._known.get(address)
        return known[1] if known is not None and known[0] is context else None

    def keep(self, tls: Tls, address: Address) -> None:
        """Remember the session of a connection that is about to say goodbye, unless it was a resumed one.

        A full handshake without a new ticket says that the session which was offered is worth nothing any more.
        """
        if tls.ssl.session_reused:
            return
        session = tls.ssl.session
        if session is None:
            return
        if session.has_ticket:
            if len(self._known) >= self._limit:
                self._known.clear()
            self._known[address] = (tls.ssl.context, session)
        else:
            self._known.pop(address, None)


def offers_session(hello: bytes) -> bool:
    """Whether a TLS 1.3 ClientHello asks to resume a session: it has ``pre_shared_key`` then (RFC 8446, 4.2.11).

    What cannot be read as a whole one does not, whatever it is.
    """
    if len(hello) < 44 or hello[0] != 22 or hello[5] != 1:
        return False
    at = 43  # record and message headers, version, random
    at += 1 + hello[at]  # the session id
    at += 2 + int.from_bytes(hello[at : at + 2], "big")  # suites
    at += 1 + int.from_bytes(hello[at : at + 1], "big")  # compression
    at += 2
    while at + 4 <= len(hello):
        if hello[at : at + 2] == PRE_SHARED_KEY:
            return True
        at += 4 + int.from_bytes(hello[at + 2 : at + 4], "big")
    return False


async def handshake(tls: Tls) -> Certificate:
    """Complete the handshake in a task; the peer's certificate as :meth:`ssl.SSLObject.getpeercert` gives it.

    Our last words in it wait to be flushed: what the application says next may go with them. Raises :class:`OSError`
    (:class:`ssl.SSLError` is one), also for a resumed peer whose certificate has expired.
    """
    done = False
    while not done:
        try:
            tls.ssl.do_handshake()
            done = True
        except ssl.SSLWantReadError:
            await _sent(tls)
            tls.hear(await hear(tls.sock))
        except ssl.SSLError:
            with suppress(OSError):  # who has gone need not be told why
                tls.flush()
            raise
    certificate, ends = _certificates.read(tls.ssl)
    if tls.ssl.session_reused and ends < time.time():
        raise ssl.SSLError("certificate has expired since the session began")
    return certificate


async def hear(sock: socket.socket) -> bytes:
    """What the peer says next; nothing when it ends."""
    while True:
        try:
            return sock.recv(HELLO)
        except BlockingIOError:
            await ready(sock.fileno(), READ)


async def _sent(tls: Tls) -> None:
    while not tls.flush():
        await ready(tls.sock.fileno(), WRITE)


class _Certificates:
    """Peers' certificates as they were read before: the same few come again and again."""

    def __init__(self, limit: int = 256) -> None:
        self._limit = limit
        self._known: dict[bytes | None, tuple[Certificate, float]] = {}

    def read(self, tls: ssl.SSLObject) -> tuple[Certificate, float]:
        """The certificate of the peer of ``tls``, and when it ends in seconds since the epoch."""
        der = tls.getpeercert(binary_form=True)
        known = self._known.get(der)
        if known is None:
            certificate = tls.getpeercert() or {}
            known = certificate, float(ssl.cert_time_to_seconds(str(certificate["notAfter"])))
            if len(self._known) >= self._limit:
                self._known.clear()
            self._known[der] = known
        return known


_certificates = _Certificates()


async def farewell(tls: Tls) -> None:
    """Let the peer read our last words (an alert): end our direction, then wait for the end of its own.

    A plain close with unread data would reset the connection and take the alert with it. Bounded by the deadline
    of the task; raises :class:`OSError`.
    """
    await _sent(tls)
    tls.sock.shutdown(socket.SHUT_WR)
    while await hear(tls.sock):
        pass


def reset(sock: socket.socket) -> None:
    """Close so that the peer sees a reset, not an end: it must not take what it has for the whole."""
    with suppress(OSError):  # gone already
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
    sock.close()
