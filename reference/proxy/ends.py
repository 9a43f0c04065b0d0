"""The two ends that a relay joins: a plain socket and a TLS one, with the same methods. What they obey are the rules of
:mod:`~reference.proxy.relay`.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable

from reference.proxy.buffers import PIECE, RECORD, Buffers
from reference.proxy.tls import Tls, reset

#: What comes from a TLS socket and is shorter is taken for one side of a conversation, not for a piece of a stream.
SMALL = 1_024


class PlainEnd:
    """The side of the application, or of the client of an upstream."""

    __slots__ = ("ended", "sock")

    #: Whether the socket has not taken all that was drained.
    unsent = False

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.ended = False

    def fill(self, buffers: Buffers) -> int:
        """Read into the current buffer; 0 when there is nothing now, or (see ``ended``) ever again. Raises OSError."""
        try:
            filled = self.sock.recv_into(buffers.current)
        except BlockingIOError:
            return 0
        if not filled:
            self.ended = True
        return filled

    def drain(self, view: memoryview) -> int:
        """Write from ``view``, when nothing is unsent; how much was taken. Raises OSError."""
        try:
            return self.sock.send(view)
        except BlockingIOError:
            return 0

    def flush(self) -> bool:
        """Send what was taken but not sent; False when the socket is full. Raises OSError."""
        return True

    def finish(self) -> bool:
        """Pass an EOF on; False when it must be tried again once the socket is writable. Raises OSError."""
        self.sock.shutdown(socket.SHUT_WR)
        return True

    def close(self) -> None:
        self.sock.close()

    def reset(self) -> None:
        reset(self.sock)


class TlsEnd:
    """The side of the mesh. The methods are those of :class:`PlainEnd`.

    ``piece``: so much is read, or encrypted, at once. ``broken``: it is here that the connection broke, whether a read,
    a write or the goodbye found that out first.
    """

    __slots__ = ("_goodbye_said", "_on_goodbye", "_tls", "broken", "ended", "piece", "sock")

    def __init__(self, tls: Tls, on_goodbye: Callable[[], None]) -> None:
        self.sock = tls.sock
        self._tls = tls
        self._on_goodbye = on_goodbye
        self._goodbye_said = False
        self.ended = False
        self.broken = False
        self.piece = PIECE

    @property
    def unsent(self) -> bool:
        return bool(self._tls.unsent)

    def fill(self, buffers: Buffers, heard: int | None = None) -> int:
        """Read into the current buffer, all that is there; so much was ``heard``, into the raw one, already."""
        tls, view, raw, filled = self._tls, buffers.current, buffers.raw, 0
        while True:
            if heard is None:
                # A record may have begun before: there must be room for as much as one carries besides.
                most = min(self.piece, len(view) - filled - RECORD)
                if most < RECORD:
                    break
                try:
                    heard = tls.receive(raw, most)
                except BlockingIOError:
                    break
                except OSError:
                    self.broken = True
                    raise
            tls.hear(raw[:heard])
            filled += self.decrypt(view[filled:])
            if heard < SMALL or self.ended:
                break
            heard = None
        return filled

    def decrypt(self, view: memoryview, first: int | None = None) -> int:
        """Read all complete records that were heard; ``first`` is what a read has brought already. Raises OSError."""
        tls, filled = self._tls, 0
        read, incoming = tls.read, tls.incoming
        try:
            while True:
                count = read(RECORD, view[filled:]) if first is None else first
                first = None
                filled += count
                if not count or not incoming.pending:
                    self.ended = not count
                    break
        except OSError as problem:
            self.heed(problem)
        if tls.outgoing.pending:  # the peer wants new keys, and this is our consent
            self.flush()
        return filled

    def heed(self, problem: OSError) -> int:
        """Draw the consequence of a read that brought nothing: 0 bytes. Raises ``problem`` when it is one."""
        if isinstance(problem, ssl.SSLZeroReturnError):
            self.ended = True
        elif not isinstance(problem, ssl.SSLWantReadError):
            self.broken = True
            raise problem
        return 0

    def drain(self, view: memoryview) -> int:
        taken, piece = 0, self.piece
        try:
            while taken < len(view):
                taken += self._tls.write(view[taken : taken + piece])
                if not self._tls.flush():
                    break
        except OSError:
            self.broken = True
            raise
        return taken

    def flush(self) -> bool:
        try:
            return self._tls.flush()
        except OSError:
            self.broken = True
            raise

    def finish(self) -> bool:
        try:
            if not self._goodbye_said:
                self._goodbye_said = True
                self._on_goodbye()
                self._tls.goodbye()
            if not self._tls.flush():
                return False
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.broken = True
            raise
        return True

    def close(self) -> None:
        self._tls.close()

    def reset(self) -> None:
        self._tls.reset()


End = PlainEnd | TlsEnd
