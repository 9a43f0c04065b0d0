"""Bytes both ways between a plain and a TLS socket: the hot path.

Rules:

1. One turn of a direction is one gathering read and one write, tried at once.
   The buffer is the loop's, unless the sink is full: then the direction keeps it until the sink took it all.
   As long as nothing rests and nothing has ended, a turn changes nothing that epoll must be told of: such turns, one
   small record each way, are most of a conversation, and are written out in :class:`Relay` without a call more.
2. A sink that is full stops its source: back-pressure is the lack of a READ interest (and silence on a socket that
   is wanted for nothing).
3. What was read from a TLS socket is decrypted as far as its records are complete, for nothing would tell of it
   again. More is read until there is none or the buffer is full; a little ends the gathering, since whoever sent it
   waits for an answer.
4. What was encrypted counts as taken. As long as the socket has not taken it, its source rests (rule 2).
5. EOF is passed on as EOF: a plain one as close_notify and FIN, close_notify as a plain FIN. The other direction
   goes on, until it is idle for ``half_closed_idle`` seconds.
6. Anything else that ends a direction (reset, FIN without close_notify, a broken record, a write that fails) resets
   both sockets: the other end must not take a part for the whole.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial

from reference.proxy.buffers import RECORD, Buffers
from reference.proxy.bulk import Bulk
from reference.proxy.ends import SMALL, End, PlainEnd, TlsEnd
from reference.proxy.loop import READ, WRITE, Loop, Timer
from reference.proxy.tls import Tls

HALF_CLOSED_IDLE = 120.0

#: A turn that moves more than this is one of a stream; so many of them make one of a connection.
STREAM_TURN = 1 << 15
STREAM_TURNS = 32


class Direction:
    """From one end to the other. ``steady``: it waits for its source to be readable, and for nothing else."""

    __slots__ = ("_buffers", "_kept", "_rest", "done", "moved", "sink", "source", "steady")

    def __init__(self, source: End, sink: End, buffers: Buffers) -> None:
        self.source = source
        self.sink = sink
        self.done = False
        self.moved = 0
        self.steady = True
        self._buffers = buffers
        self._kept: memoryview | None = None
        self._rest: memoryview | None = None

    def use(self, buffers: Buffers) -> None:
        """Take buffers from there from now on; nothing may rest."""
        self._buffers = buffers

    @property
    def reads(self) -> int:
        """The events of the source that this direction waits for."""
        return 0 if self._rest is not None or self.sink.unsent or self.source.ended else READ

    @property
    def writes(self) -> int:
        """The events of the sink that this direction waits for."""
        waits = self._rest is not None or self.sink.unsent or (self.source.ended and not self.done)
        return WRITE if waits else 0

    def turn(self) -> None:
        """Move what can be moved now, at most one buffer. Raises :class:`OSError` when the direction is broken."""
        source, rest = self.source, self._rest
        if not self.sink.flush():
            return
        if rest is not None:
            self._pass_on(rest)
        elif not source.ended:
            self.pass_on(source.fill(self._buffers))
        else:
            self._end()

    def pass_on(self, filled: int) -> None:
        """The second half of a turn: so much has been read into the current buffer."""
        if filled:
            self._pass_on(self._buffers.current[:filled])
        else:
            self._end()

    def hold(self, rest: memoryview) -> None:
        """The sink is full: keep what it has not taken, and the buffer with it."""
        if self._kept is None:
            self._kept = self._buffers.keep()
        self._rest = rest
        self.steady = False

    def _pass_on(self, rest: memoryview) -> None:
        taken = self.sink.drain(rest)
        self.moved += taken
        if taken < len(rest):
            self.hold(rest[taken:] if taken else rest)
            return
        if self._kept is not None:
            self.release()
        self._end()

    def _end(self) -> None:
        source = self.source
        if source.ended and not self.done:
            self.done = self.sink.finish()
        self.steady = not source.ended

    def release(self) -> None:
        """Give the buffer back, if there is one."""
        if self._kept is not None:
            self._buffers.give(self._kept)
            self._kept = self._rest = None


def _nothing() -> None:
    """To leave a loop that counts nobody."""


def _forgotten(_problem: OSError | None) -> None:
    """What a relay tells after its end: nothing. Its callback goes, and with it a cycle of references."""


class Relay:
    """Two sockets joined on a loop, from :meth:`start` on; it owns and closes both. One that turns out to carry a
    stream moves to a loop of ``bulk``, where there are any.

    ``on_end`` is told, just before they are closed, None or the reason why they will be reset. ``on_goodbye`` is called
    before our close_notify is made: afterwards ``tls`` may not know its session any more.
    """

    __slots__ = (
        "_buffers",
        "_bulk",
        "_channel",
        "_decrypt",
        "_encrypt",
        "_encrypted",
        "_feed",
        "_hear",
        "_idle",
        "_idle_seconds",
        "_incoming",
        "_leave",
        "_loop",
        "_moved",
        "_on_end",
        "_outgoing",
        "_over",
        "_plain",
        "_receive",
        "_say",
        "_send",
        "_stream_turns",
        "_tls",
        "inward",
        "outward",
    )

    def __init__(
        self,
        loop: Loop,
        *,
        plain: socket.socket,
        tls: Tls,
        on_end: Callable[[OSError | None], None],
        on_goodbye: Callable[[], None] = lambda: None,
        bulk: Bulk | None = None,
        half_closed_idle: float = HALF_CLOSED_IDLE,
    ) -> None:
        self._loop = loop
        self._bulk = bulk
        self._stream_turns = 0
        self._leave: Callable[[], None] = _nothing
        self._plain = PlainEnd(plain)
        self._tls = TlsEnd(tls, on_goodbye)
        self._on_end = on_end
        self._idle: Timer | None = None
        self._idle_seconds = half_closed_idle
        self._moved = 0
        self._over = False
        self.outward = Direction(self._plain, self._tls, loop.buffers)
        self.inward = Direction(self._tls, self._plain, loop.buffers)
        # The calls of a turn, at hand.
        self._buffers = loop.buffers
        self._receive, self._send = plain.recv_into, plain.send
        self._hear, self._say = tls.receive, tls.send
        self._encrypt, self._encrypted = tls.write, tls.outgoing.read
        self._feed, self._decrypt = tls.feed, tls.read
        self._channel, self._incoming, self._outgoing = tls, tls.incoming, tls.outgoing

    def start(self) -> None:
        """Begin, with what was said on either side during the handshake."""
        try:
            if self._incoming.pending:
                self.inward.pass_on(self._tls.decrypt(self._buffers.current))
            if self._outgoing.pending:  # what ends the handshake takes the first words along
                self.outward.pass_on(self._plain.fill(self._buffers))
                self._tls.flush()
        except OSError as problem:
            self._close(problem)
            return
        self._settle()

    def _on_plain(self, events: int) -> None:
        outward = self.outward
        if events != READ or not (outward.steady and self.inward.steady) or self._channel.unsent:
            self._turn(outward, self.inward, events)
            return
        buffer = self._buffers.current
        try:
            filled = self._receive(buffer)
        except BlockingIOError:
            return
        except OSError as problem:
            self._close(problem)
            return
        if not 0 < filled <= RECORD:
            self._plain.ended = not filled
            self._proceed(outward, lambda: filled)
            return
        try:
            self._encrypt(buffer[:filled])
            outward.moved += filled
            data = self._encrypted()
            sent = self._say(data)
        except BlockingIOError:
            sent = 0
        except OSError as problem:
            self._tls.broken = True
            self._close(problem)
            return
        if sent < len(data):
            self._channel.unsent = memoryview(data)[sent:]
            self._settle()

    def _on_tls(self, events: int) -> None:
        inward = self.inward
        if events != READ or not (inward.steady and self.outward.steady) or self._channel.unsent:
            self._turn(inward, self.outward, events)
            return
        buffers = self._buffers
        buffer, raw, taken = buffers.current, buffers.raw, 0
        try:
            heard = self._hear(raw, self._tls.piece)
        except BlockingIOError:
            return
        except OSError as problem:
            self._tls.broken = True
            self._close(problem)
            return
        if not 0 < heard < SMALL:
            self._proceed(inward, partial(self._tls.fill, buffers, heard))
            return
        self._feed(raw[:heard])
        try:
            filled = self._decrypt(RECORD, buffer)
        except OSError as problem:
            self._proceed(inward, partial(self._tls.heed, problem))
            return
        if not filled or self._incoming.pending or self._outgoing.pending:
            self._proceed(inward, partial(self._tls.decrypt, buffer, filled))
            return
        try:
            taken = self._send(buffer[:filled])
        except BlockingIOError:
            taken = 0
        except OSError as problem:
            self._close(problem)
            return
        inward.moved += taken
        if taken < filled:
            inward.hold(buffer[taken:filled])
            self._settle()

    def _proceed(self, direction: Direction, more: Callable[[], int]) -> None:
        """End a turn that began in a steady state, and turned out to be no usual one."""
        before = direction.moved
        try:
            direction.pass_on(more())
        except OSError as problem:
            self._close(problem)
            return
        if direction.moved - before > STREAM_TURN:
            self._stream_turns += 1
        if not direction.steady or self._channel.unsent or self._stream_turns >= STREAM_TURNS:
            self._settle()

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
        self._settle()

    def _settle(self) -> None:
        """Draw the consequences of a turn: ends, and what to wait for."""
        outward, inward = self.outward, self.inward
        if outward.done or inward.done:
            if outward.done and inward.done:
                self._close(None)
                return
            if self._idle is None:
                self._check_idle()
        elif (
            self._stream_turns >= STREAM_TURNS
            and outward.steady
            and inward.steady
            and not self._channel.unsent
        ):
            self._stream_turns = 0
            if self._bulk is not None and (other := self._bulk.take()) is not None:
                self._move(self._bulk, other)
                return
        self._rearm()

    def _move(self, bulk: Bulk, other: Loop) -> None:
        """Go on, soon, on another loop: nothing rests here, and until then nobody touches the sockets."""
        for sock in (self._plain.sock, self._tls.sock):
            self._loop.forget(sock.fileno())
        self._bulk = None
        self._leave = partial(bulk.leave, other)
        self._loop, self._buffers = other, other.buffers
        for direction in (self.outward, self.inward):
            direction.use(other.buffers)
        self._tls.piece = bulk.piece(other)
        other.post(self._arrive)

    def _arrive(self) -> None:
        if not self._over:
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
        """Whether the peer broke the connection off before it said a word: so does one that does not let us in."""
        return self._tls.broken and not self.inward.moved

    def cut(self, problem: OSError) -> None:
        """Reset both sides soon; nothing happens when it has ended by then. From any thread."""
        loop = self._loop
        loop.post(lambda: self._cut(problem, loop))

    def _cut(self, problem: OSError, here: Loop) -> None:
        if here is not self._loop:  # it moved in the meantime
            self.cut(problem)
        elif not self._over:
            self._close(problem)

    def _close(self, problem: OSError | None) -> None:
        self._over = True
        self._leave()
        if self._idle is not None:
            self._idle.cancel()
        for direction in (self.outward, self.inward):
            direction.release()
        self._on_end(problem)
        self._on_end = _forgotten  # it may know this relay
        for end in (self._plain, self._tls):
            self._loop.forget(end.sock.fileno())
            if problem is None:
                end.close()
            else:
                end.reset()
