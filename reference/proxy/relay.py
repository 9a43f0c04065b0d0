"""Bytes both ways between a plain and a TLS socket: the hot path.

Rules:

1. One turn of a direction is one gathering read and one write, tried at once; nothing is allocated per chunk.
   The buffer is borrowed from the loop's pool and goes back in the same turn, unless the sink is full.
2. A sink that is full stops its source: back-pressure is the lack of a READ interest (and silence on a socket that
   is wanted for nothing).
3. TLS is read record by record until there is none or the buffer is full; a small record ends the gathering,
   since whoever sent it waits for an answer.
4. A TLS write that found the socket full must be repeated with the same bytes, so the direction keeps its buffer.
5. EOF is passed on as EOF: a plain one as close_notify and FIN, close_notify as a plain FIN. The other direction
   goes on, until it is idle for ``half_closed_idle`` seconds.
6. Anything else that ends a direction (reset, FIN without close_notify, a broken record, a write that fails) resets
   both sockets: the other end must not take a part for the whole.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable

from reference.proxy.buffers import Buffers
from reference.proxy.loop import READ, WRITE, Loop, Timer
from reference.proxy.tls import close_notify, reset

#: The most that one TLS record carries.
RECORD = 16_384
#: A record below this is taken for one side of a conversation, not for a piece of a stream.
SMALL = 1_024

HALF_CLOSED_IDLE = 120.0


class PlainEnd:
    """The side of the application, or of the client of an upstream."""

    __slots__ = ("ended", "sock")

    #: The events that a read waits for.
    reads_on = READ

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.ended = False

    def fill(self, view: memoryview) -> int:
        """Read into ``view``; 0 when there is nothing now, or (see ``ended``) ever again. Raises OSError."""
        try:
            filled = self.sock.recv_into(view)
        except BlockingIOError:
            return 0
        if not filled:
            self.ended = True
        return filled

    def drain(self, view: memoryview) -> int:
        """Write from ``view``; how much was taken, 0 when the socket is full. Raises OSError."""
        try:
            return self.sock.send(view)
        except BlockingIOError:
            return 0

    def finish(self) -> bool:
        """Pass an EOF on; False when it must be tried again once the socket is writable. Raises OSError."""
        self.sock.shutdown(socket.SHUT_WR)
        return True


class TlsEnd:
    """The side of the mesh. The methods are those of :class:`PlainEnd`."""

    __slots__ = ("_goodbye", "broken", "ended", "reads_on", "sock")

    def __init__(self, sock: ssl.SSLSocket) -> None:
        self.sock = sock
        self.ended = False
        self.broken = False
        self.reads_on = READ
        self._goodbye: bytes | None = None

    def fill(self, view: memoryview) -> int:
        read, filled, most = self.sock.read, 0, len(view) - RECORD
        self.reads_on = READ
        try:
            while filled <= most:
                count: int = read(RECORD, view[filled:])  # type: ignore[assignment]  # typeshed knows only bytes
                filled += count
                if count < SMALL:
                    self.ended = not count
                    break
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLWantWriteError:
            self.reads_on = WRITE  # the peer wants new keys, and our consent found the socket full
        except ssl.SSLZeroReturnError:
            self.ended = True
        except OSError:
            self.broken = True
            raise
        return filled

    def drain(self, view: memoryview) -> int:
        try:
            return self.sock.write(view)
        except ssl.SSLWantWriteError:
            return 0

    def finish(self) -> bool:
        if self._goodbye is None:
            self._goodbye = close_notify(self.sock)
        try:
            # A record of a few dozen bytes: a socket that takes one byte of it has room for all.
            socket.socket.send(self.sock, self._goodbye)
        except BlockingIOError:
            return False
        socket.socket.shutdown(self.sock, socket.SHUT_WR)
        return True


End = PlainEnd | TlsEnd


class Direction:
    """From one end to the other."""

    __slots__ = ("_buffer", "_buffers", "_rest", "done", "moved", "sink", "source")

    def __init__(self, source: End, sink: End, buffers: Buffers) -> None:
        self.source = source
        self.sink = sink
        self.done = False
        self.moved = 0
        self._buffers = buffers
        self._buffer: memoryview | None = None
        self._rest: memoryview | None = None

    @property
    def reads(self) -> int:
        """The events of the source that this direction waits for."""
        return 0 if self._rest is not None or self.source.ended else self.source.reads_on

    @property
    def writes(self) -> int:
        """The events of the sink that this direction waits for."""
        return WRITE if self._rest is not None or (self.source.ended and not self.done) else 0

    def turn(self) -> None:
        """Move what can be moved now, at most one buffer. Raises :class:`OSError` when the direction is broken."""
        rest = self._rest
        if rest is None and not self.source.ended:
            buffer = self._buffers.take()
            self._buffer = buffer
            filled = self.source.fill(buffer)
            if filled:
                rest = buffer[:filled]
            else:
                self.release()
        if rest is not None:
            taken = self.sink.drain(rest)
            self.moved += taken
            if taken < len(rest):
                self._rest = rest[taken:] if taken else rest
                return
            self._rest = None
            self.release()
        if self.source.ended and not self.done:
            self.done = self.sink.finish()

    def release(self) -> None:
        """Give the buffer back, if there is one."""
        if self._buffer is not None:
            self._buffers.give(self._buffer)
            self._buffer = self._rest = None


class Relay:
    """Two sockets joined on a loop; it owns and closes both.

    ``on_end`` is told, just before they are closed, None or the reason why they will be reset.
    """

    __slots__ = (
        "_idle",
        "_idle_seconds",
        "_loop",
        "_moved",
        "_on_end",
        "_plain",
        "_tls",
        "inward",
        "outward",
    )

    def __init__(
        self,
        loop: Loop,
        *,
        plain: socket.socket,
        tls: ssl.SSLSocket,
        on_end: Callable[[OSError | None], None],
        half_closed_idle: float = HALF_CLOSED_IDLE,
    ) -> None:
        self._loop = loop
        self._plain = PlainEnd(plain)
        self._tls = TlsEnd(tls)
        self._on_end = on_end
        self._idle: Timer | None = None
        self._idle_seconds = half_closed_idle
        self._moved = 0
        self.outward = Direction(self._plain, self._tls, loop.buffers)
        self.inward = Direction(self._tls, self._plain, loop.buffers)
        self._rearm()

    def _on_plain(self, events: int) -> None:
        self._turn(self.outward, self.inward, events)

    def _on_tls(self, events: int) -> None:
        self._turn(self.inward, self.outward, events)

    def _turn(self, from_here: Direction, to_here: Direction, events: int) -> None:
        try:
            # An error or a hang-up comes without READ or WRITE: whichever direction waits here will run into it.
            if to_here.writes & events or (to_here.writes and not events & (READ | WRITE)):
                to_here.turn()
            if from_here.reads & events or (from_here.reads and not events & (READ | WRITE)):
                from_here.turn()
        except OSError as problem:
            self._close(problem)
            return
        outward, inward = self.outward, self.inward
        if outward.done or inward.done:
            if outward.done and inward.done:
                self._close(None)
                return
            if self._idle is None:
                self._check_idle()
        self._rearm()

    def _rearm(self) -> None:
        watch, outward, inward = self._loop.watch, self.outward, self.inward
        watch(self._plain.sock.fileno(), outward.reads | inward.writes, self._on_plain)
        watch(self._tls.sock.fileno(), inward.reads | outward.writes, self._on_tls)

    def _check_idle(self) -> None:
        moved = self.outward.moved + self.inward.moved
        if self._idle is not None and moved == self._moved:
            self._close(TimeoutError(f"half-closed and idle for {self._idle_seconds:g} s"))
            return
        self._moved = moved
        self._idle = self._loop.later(self._idle_seconds, self._check_idle)

    @property
    def refused(self) -> bool:
        """Whether the peer broke the connection without a word."""
        return self._tls.broken and not self.inward.moved

    def _close(self, problem: OSError | None) -> None:
        if self._idle is not None:
            self._idle.cancel()
        for direction in (self.outward, self.inward):
            direction.release()
        self._on_end(problem)
        for sock in (self._plain.sock, self._tls.sock):
            self._loop.forget(sock.fileno())
            if problem is None:
                sock.close()
            else:
                reset(sock)
