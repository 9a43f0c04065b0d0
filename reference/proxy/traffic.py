"""What goes through the listeners of one name: live connections, and what has been counted of those before.

Nothing here is touched while bytes move: a relay counts for itself (:attr:`~reference.proxy.relay.Direction.moved`),
and is asked when somebody wants to know. Usable from every loop.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from reference.proxy.loop import Loop
from reference.proxy.relay import Relay

#: What can become of a connection, for the counters.
ACCEPTED, REFUSED, LIMITED, UNREACHED, CUT = "accepted", "refused", "limited", "unreached", "cut"
#: What can happen at which kind of listener.
EVENTS = {
    "inbound": (ACCEPTED, REFUSED, LIMITED, UNREACHED, CUT),
    "upstream": (ACCEPTED, LIMITED, UNREACHED),
}


class Severed(ConnectionAbortedError):
    """We end a connection that both sides would have kept; the message says why."""


class Connection:
    """A connection from its admission to its end. ``uri`` and ``serial`` are the peer's where it is a known one."""

    __slots__ = ("_loop", "_relay", "_severed", "_traffic", "serial", "uri")

    def __init__(self, traffic: Traffic, loop: Loop, *, uri: str, serial: str) -> None:
        self._traffic = traffic
        self._loop = loop
        self._relay: Relay | None = None
        self._severed: Severed | None = None
        self.uri = uri
        self.serial = serial

    def carry(self, relay: Relay) -> None:
        """From now on ``relay`` moves its bytes. On the connection's loop."""
        self._relay = relay
        if self._severed is not None:
            relay.cut(self._severed)

    def end(self) -> None:
        """It is over; to be called once."""
        self._traffic.forget(self, self._relay)

    def sever(self, reason: str) -> None:
        """Reset both sides soon, also when bytes do not move yet. From any thread."""
        self._loop.post(lambda: self._cut(Severed(reason)))

    def moved(self) -> tuple[int, int]:
        """Bytes that came from and went to whoever connected to the listener."""
        return self._traffic.sides(self._relay)

    def _cut(self, severed: Severed) -> None:
        self._severed = severed
        if self._relay is not None:
            self._relay.cut(severed)


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Numbers of one listener at one moment. Bytes are since the start, of ended and live connections."""

    connections: int
    received: int
    sent: int
    events: Mapping[str, int]


class Traffic:
    """``kind`` is ``inbound`` or ``upstream``; ``labels`` say which, in the original's order (MP-BIP-021).

    ``on_end`` is called, on the loop of the connection, whenever one has ended or a handshake is over.
    """

    def __init__(self, kind: str, labels: Mapping[str, str], *, on_end: Callable[[], None]) -> None:
        self.kind = kind
        self.labels = labels
        self._on_end = on_end
        self._lock = threading.Lock()
        self._live: dict[Connection, None] = {}
        self._handshakes = 0
        self._received = self._sent = 0
        self._events: Counter[str] = Counter()

    def admit(self, loop: Loop, *, limit: int = 0, uri: str = "", serial: str = "") -> Connection | None:
        """A connection that may go on; None when there are ``limit`` already (0: no limit)."""
        with self._lock:
            if limit and len(self._live) >= limit:
                self._events[LIMITED] += 1
                return None
            connection = Connection(self, loop, uri=uri, serial=serial)
            self._live[connection] = None
            self._events[ACCEPTED] += 1
            return connection

    def count(self, event: str) -> None:
        with self._lock:
            self._events[event] += 1

    @contextmanager
    def handshake(self) -> Iterator[None]:
        """While somebody asks to come in."""
        with self._lock:
            self._handshakes += 1
        try:
            yield
        finally:
            with self._lock:
                self._handshakes -= 1
            self._on_end()

    @property
    def busy(self) -> bool:
        """Whether somebody is in, or asks to come in."""
        with self._lock:
            return bool(self._live or self._handshakes)

    def live(self) -> list[Connection]:
        with self._lock:
            return list(self._live)

    def snapshot(self) -> Snapshot:
        with self._lock:
            moved = [connection.moved() for connection in self._live]
            return Snapshot(
                connections=len(moved),
                received=self._received + sum(received for received, _ in moved),
                sent=self._sent + sum(sent for _, sent in moved),
                events=dict(self._events),
            )

    def forget(self, connection: Connection, relay: Relay | None) -> None:
        """For the connection itself."""
        received, sent = self.sides(relay)
        with self._lock:
            self._live.pop(connection, None)
            self._received += received
            self._sent += sent
        self._on_end()

    def sides(self, relay: Relay | None) -> tuple[int, int]:
        """Bytes received and sent by the listener: from the mesh inbound, from the client at an upstream."""
        if relay is None:
            return 0, 0
        inward, outward = relay.inward.moved, relay.outward.moved
        return (inward, outward) if self.kind == "inbound" else (outward, inward)
