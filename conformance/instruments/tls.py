"""TLS peers, honest and rogue, that tell what happened: :func:`dial` is a client, :class:`TlsServer` a server.

A rogue is an honest peer with one thing wrong: an expired leaf, another authority, another service, two URIs, no
certificate at all. Their identities come from :mod:`conformance.instruments.identities`.
"""

from __future__ import annotations

import os
import socket
import ssl
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from cryptography import x509

from conformance.instruments.identities import Identity, uri_names
from conformance.instruments.server import LocalServer

_CHUNK = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """How a client fared: whether the handshake succeeded, why not, and what came back.

    With TLS 1.3 a server may refuse a client only after that client's handshake is done; then ``handshake`` is
    false all the same, as soon as the refusal was read. ``ended`` tells that the peer closed its direction.
    """

    handshake: bool
    reason: str = ""
    received: bytes = b""
    ended: bool = False
    peer: tuple[str, ...] = ()
    version: str = ""
    protocol: str = ""


def dial(
    port: int,
    *,
    identity: Identity | None = None,
    roots: Sequence[str] | None = None,
    send: bytes = b"",
    expect: int | None = None,
    half_close: bool = True,
    newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
    offering: Sequence[str] = (),
    suites: str = "",
    timeout: float = 10.0,
    host: str = "127.0.0.1",
) -> Exchange:
    """Connect, shake hands, ``send``, end our direction, and read to the peer's end (or ``expect`` bytes).

    Without ``roots`` the server may be anybody; its URI names are reported in ``peer``. ``newest`` caps the protocol
    version; ``offering`` are application protocols to choose from (ALPN), and ``protocol`` is the chosen one;
    ``suites`` are the only ones offered for TLS 1.2, as OpenSSL writes them. Never raises for what a peer does: the
    :class:`Exchange` says it. ``timeout`` holds for each step.
    """
    context = _context(ssl.PROTOCOL_TLS_CLIENT, identity, roots, newest)
    if offering:
        context.set_alpn_protocols(list(offering))
    if suites:
        context.set_ciphers(suites)
    received = bytearray()
    try:
        raw = socket.create_connection((host, port), timeout=timeout)
    except OSError as error:
        return Exchange(handshake=False, reason=f"no connection: {error}")
    with raw:
        stream = _TlsStream(raw, context, server_side=False)
        try:
            stream.handshake()
        except (OSError, EOFError) as error:
            return Exchange(handshake=False, reason=_reason(error))
        peer, version, protocol = stream.peer_uri_names(), stream.version(), stream.protocol()
        try:
            # Both directions at once: an echo would otherwise fill the buffers of everybody in between.
            sender = threading.Thread(target=stream.send_quietly, args=(send, half_close), daemon=True)
            sender.start()
            while expect is None or len(received) < expect:
                chunk = stream.receive()
                if not chunk:
                    return Exchange(
                        handshake=True,
                        received=bytes(received),
                        ended=True,
                        peer=peer,
                        version=version,
                        protocol=protocol,
                    )
                received += chunk
        except (OSError, EOFError) as error:
            refused = isinstance(error, ssl.SSLError) and not received
            return Exchange(
                handshake=not refused,
                reason=_reason(error),
                received=bytes(received),
                ended=isinstance(error, EOFError),
                peer=peer,
                version=version,
                protocol=protocol,
            )
        finally:
            with suppress(OSError):
                raw.shutdown(socket.SHUT_RDWR)
            sender.join()
        return Exchange(
            handshake=True, received=bytes(received), peer=peer, version=version, protocol=protocol
        )


def connected(plain: socket.socket, identity: Identity) -> ssl.SSLSocket:
    """The client's end of a handshake over a connected socket, which it takes over, with whoever is there."""
    try:
        return _context(ssl.PROTOCOL_TLS_CLIENT, identity, None).wrap_socket(plain)
    except BaseException:
        plain.close()
        raise


class Returning:
    """A client that comes back with the TLS session of its last visit, if the server gave it one."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self._context = _context(ssl.PROTOCOL_TLS_CLIENT, identity, None)
        self._session: ssl.SSLSession | None = None
        #: Whether the server went on with the session at the last visit.
        self.resumed = False

    def visit(self, port: int, data: bytes, *, timeout: float = 10.0) -> bytes:
        """Connect, send, and read as much as was sent; what came back until the server or a failure ended it."""
        received = bytearray()
        with (
            suppress(OSError),
            socket.create_connection(("127.0.0.1", port), timeout=timeout) as plain,
            self._context.wrap_socket(plain, session=self._session) as stream,
        ):
            self.resumed = bool(stream.session_reused)
            stream.sendall(data)
            while len(received) < len(data) and (chunk := stream.recv(_CHUNK)):
                received += chunk
            self._session = stream.session
        return bytes(received)


class TlsServer(LocalServer):
    """A service instance that speaks TLS: it echoes, and notes who came. Rogue or honest, as ``identity`` is.

    ``roots`` are those that a client's certificate must chain to; ``None`` asks for no certificate. ``newest`` caps the
    version of the protocol.
    """

    def __init__(
        self,
        identity: Identity,
        *,
        roots: Sequence[str] | None = None,
        port: int = 0,
        host: str = "127.0.0.1",
        timeout: float = 10.0,
        newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
    ) -> None:
        super().__init__(port, host=host)
        self._context = _context(ssl.PROTOCOL_TLS_SERVER, identity, roots, newest)
        self._timeout = timeout
        self._peers: list[tuple[str, ...]] = []
        self._failures: list[str] = []
        self._received = bytearray()

    @property
    def peers(self) -> list[tuple[str, ...]]:
        """The URI names of each client whose handshake succeeded, in order."""
        with self.lock:
            return list(self._peers)

    @property
    def failures(self) -> list[str]:
        """Why connections failed."""
        with self.lock:
            return list(self._failures)

    @property
    def received(self) -> bytes:
        """Every byte of application data so far."""
        with self.lock:
            return bytes(self._received)

    def serve(self, connection: socket.socket) -> None:
        connection.settimeout(self._timeout)
        stream = _TlsStream(connection, self._context, server_side=True)
        try:
            stream.handshake()
            with self.lock:
                self._peers.append(stream.peer_uri_names())
            while data := stream.receive():
                with self.lock:
                    self._received += data
                stream.send(data)
            stream.end_sending()
        except (OSError, EOFError) as error:
            with self.lock:
                self._failures.append(_reason(error))


class _TlsStream:
    """TLS over a socket with half-close, which :class:`ssl.SSLSocket` lacks: its ``unwrap`` reads no more data.

    One thread may send while another receives.
    """

    def __init__(self, raw: socket.socket, context: ssl.SSLContext, *, server_side: bool) -> None:
        self._raw = raw
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_side=server_side)
        self._early = bytearray()  # received while we ended our direction, not yet asked for
        self._lock = threading.Lock()  # the TLS state
        self._sending = threading.Lock()  # the order of records on the wire; taken before the other

    def handshake(self) -> None:
        """Raises :class:`OSError` (TLS or transport) or :class:`EOFError` when it fails."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                self._feed(self._raw.recv(_CHUNK))
            except ssl.SSLError:
                with suppress(OSError):
                    self._flush()  # the alert that tells the peer why
                raise
            else:
                self._flush()
                return

    def receive(self) -> bytes:
        """Some application data; empty when the peer said that there is no more.

        Raises :class:`EOFError` when it hung up without saying so.
        """
        while True:
            with self._lock:
                if self._early:
                    early, self._early = bytes(self._early), bytearray()
                    return early
                try:
                    return self._tls.read(_CHUNK)
                except ssl.SSLZeroReturnError:
                    return b""
                except ssl.SSLWantReadError:
                    to_answer = self._out.pending > 0  # a key update, say
            if to_answer:
                self._flush()
            data = self._raw.recv(_CHUNK)
            with self._lock:
                self._feed(data)

    def send(self, data: bytes) -> None:
        """Send all of ``data``."""
        for start in range(0, len(data), _CHUNK):
            with self._sending:
                with self._lock:
                    self._tls.write(data[start : start + _CHUNK])
                    ready = self._out.read()
                self._raw.sendall(ready)

    def end_sending(self) -> None:
        """Say that there is no more to come (close_notify), and end the TCP direction too."""
        with self._sending:
            with self._lock:
                # ``unwrap`` looks for the peer's close_notify after writing ours, and takes application data
                # for a breach of protocol: leave it none. What it wants to read then is of no interest.
                with suppress(ssl.SSLError):
                    while data := self._tls.read(_CHUNK):
                        self._early += data
                with suppress(ssl.SSLError):
                    self._tls.unwrap()
                ready = self._out.read()
            self._raw.sendall(ready)
            self._raw.shutdown(socket.SHUT_WR)

    def send_quietly(self, data: bytes, end: bool) -> None:
        """Send, and end our direction if asked; whoever reads learns of what goes wrong."""
        with suppress(OSError):
            self.send(data)
            if end:
                self.end_sending()

    def peer_uri_names(self) -> tuple[str, ...]:
        """The URI names of the peer's certificate, verified or not; empty without one."""
        der = self._tls.getpeercert(binary_form=True)
        return uri_names(x509.load_der_x509_certificate(der)) if der else ()

    def version(self) -> str:
        """The negotiated protocol, such as ``TLSv1.3``."""
        return self._tls.version() or ""

    def protocol(self) -> str:
        """The application protocol that both ends agreed on; empty for none."""
        return self._tls.selected_alpn_protocol() or ""

    def _feed(self, data: bytes) -> None:
        if not data:
            raise EOFError("the peer hung up")
        self._in.write(data)

    def _flush(self) -> None:
        with self._sending:
            with self._lock:
                ready = self._out.read()
            self._raw.sendall(ready)


def _context(
    purpose: int,
    identity: Identity | None,
    roots: Sequence[str] | None,
    newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
) -> ssl.SSLContext:
    context = ssl.SSLContext(purpose)
    if newest < ssl.TLSVersion.TLSv1_2:
        context.minimum_version = newest
        context.set_ciphers("ALL:@SECLEVEL=0")
    context.maximum_version = newest
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED if roots is not None else ssl.CERT_NONE
    if roots:
        context.load_verify_locations(cadata="\n".join(roots))
    if identity is not None:
        # The standard library loads a key from a file only; this one has no name and never touches a disk.
        descriptor = os.memfd_create("identity")
        try:
            os.write(descriptor, f"{identity.cert_pem}\n{identity.key_pem}\n".encode())
            context.load_cert_chain(f"/proc/self/fd/{descriptor}")
        finally:
            os.close(descriptor)
    return context


def _reason(error: BaseException) -> str:
    return str(getattr(error, "reason", None) or str(error) or type(error).__name__)
