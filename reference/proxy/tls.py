"""The corners of TLS that :mod:`ssl` leaves to its user: which contexts, a handshake in a task, a half-close."""

from __future__ import annotations

import os
import socket
import ssl
import struct
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from reference.proxy.config import Address
from reference.proxy.loop import READ, WRITE, ready

Certificate = Mapping[str, Any]

#: TLS 1.2 suites: forward-secret, authenticated, AES-128-GCM first (MP-BIP-001). TLS 1.3 has no others.
SUITES = "ECDHE+AES128+AESGCM:ECDHE+AESGCM:ECDHE+CHACHA20"

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
        made.num_tickets = 1
    made.load_verify_locations(cadata=roots)
    # The key never touches a disk: OpenSSL wants a path, and gets that of an anonymous file in memory.
    with open(os.memfd_create("leaf", os.MFD_CLOEXEC), "wb", buffering=0) as memory:
        memory.write(f"{certificate}\n{key}\n".encode())
        made.load_cert_chain(f"/proc/self/fd/{memory.fileno()}")
    return made


class Sessions:
    """TLS sessions by server address: resuming one spares both sides the signatures of a full handshake.

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

    def keep(self, tls: ssl.SSLSocket, address: Address) -> None:
        """Remember the session of a connection that is about to be closed, unless it was a resumed one."""
        session = None if tls.session_reused else tls.session
        if session is not None and session.has_ticket:
            if len(self._known) >= self._limit:
                self._known.clear()
            self._known[address] = (tls.context, session)


def wrap(
    tls: ssl.SSLContext, plain: socket.socket, *, server: bool, session: ssl.SSLSession | None = None
) -> ssl.SSLSocket:
    """Take over a non-blocking socket. An EOF without close_notify will raise: data may have been cut off."""
    return tls.wrap_socket(
        plain,
        server_side=server,
        do_handshake_on_connect=False,
        suppress_ragged_eofs=False,
        session=session,
    )


async def handshake(tls: ssl.SSLSocket) -> Certificate:
    """Complete the handshake in a task; the peer's certificate as :meth:`ssl.SSLSocket.getpeercert` gives it.

    Raises :class:`OSError` (:class:`ssl.SSLError` is one), also for a resumed peer whose certificate has expired.
    """
    done = False
    while not done:
        try:
            tls.do_handshake()
            done = True
        except ssl.SSLWantReadError:
            await ready(tls.fileno(), READ)
        except ssl.SSLWantWriteError:
            await ready(tls.fileno(), WRITE)
    certificate = tls.getpeercert() or {}
    if tls.session_reused and ssl.cert_time_to_seconds(str(certificate["notAfter"])) < time.time():
        raise ssl.SSLError("certificate has expired since the session began")
    return certificate


async def farewell(sock: socket.socket) -> None:
    """Let the peer read our last words (an alert): end our direction, then wait for the end of its own.

    A plain close with unread data would reset the connection and take the alert with it. Bounded by the deadline
    of the task; raises :class:`OSError`.
    """
    socket.socket.shutdown(sock, socket.SHUT_WR)
    while True:
        try:
            if not socket.socket.recv(sock, 65_536):
                return
        except BlockingIOError:
            await ready(sock.fileno(), READ)


def close_notify(tls: ssl.SSLSocket) -> bytes:
    """The record that ends our direction of ``tls``, to be sent by the caller; reading may go on afterwards.

    :meth:`ssl.SSLSocket.unwrap` would also look for the peer's close_notify, and break the connection when it finds
    data instead. So it is made to look elsewhere: for the length of the call the descriptor leads to a socket pair,
    where nothing is to be read and where the record is picked up. All that was written before must have been
    accepted by the socket.
    """
    fd = tls.fileno()
    here, there = socket.socketpair()
    with here, there:
        here.setblocking(False)
        there.setblocking(False)
        connection = os.dup(fd)
        try:
            os.dup2(here.fileno(), fd, inheritable=False)
            with suppress(ssl.SSLWantReadError):  # the peer has not said goodbye yet
                tls.unwrap()
        finally:
            os.dup2(connection, fd, inheritable=False)
            os.close(connection)
        return there.recv(1024)


def reset(sock: socket.socket) -> None:
    """Close so that the peer sees a reset, not an end: it must not take what it has for the whole."""
    with suppress(OSError):  # gone already
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
    sock.close()
