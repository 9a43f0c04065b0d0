"""What the agent measures, sent away by UDP: to statsd, and to Datadog's kind of it (``telemetry``).

Names and lines are go-metrics' (the original's library): ``consul.http.GET.v1.agent.self:0.250000|ms``; a gauge has
the host's name after the prefix unless ``disable_hostname``, and Datadog's lines have tags. Times go out once a second,
what is and what was counted every ten. What cannot be sent is lost, and complained about once.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from reference.agent.metrics import Metrics
from reference.config.model import Telemetry

_log = logging.getLogger("agent")

#: Seconds between two datagrams of times, and how many of those pass between two reports of everything else.
FLUSH, _REPORT_EVERY = 1.0, 10
#: What fits into one datagram on an Ethernet, and how many times may wait to be sent.
DATAGRAM, _MOST_WAITING = 1400, 100_000

Readings = Callable[[], Mapping[str, float]]


class _Line(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    value: float
    kind: str


class Statsd:
    """Sends from :meth:`start` to :meth:`close`; without an address in ``options`` it does nothing.

    ``gauges`` gives what is and ``counters`` what only grows, by the full name.
    """

    def __init__(self, options: Telemetry, metrics: Metrics, *, gauges: Readings, counters: Readings) -> None:
        self._options = options
        self._gauges = gauges
        self._counters = counters
        self._counted: dict[str, float] = {}
        self._waiting: list[_Line] = []
        self._task: asyncio.Task[None] | None = None
        self._sinks = [
            _Sink(name, address, form)
            for name, address, form in (
                ("statsd", options.statsd, self._plain),
                ("dogstatsd", options.dogstatsd, self._tagged),
            )
            if address is not None
        ]
        if self._sinks:
            metrics.listen(self._heard)

    def start(self) -> None:
        """Begin, on the running event loop."""
        if self._sinks:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="statsd")

    async def close(self) -> None:
        """Send what there is, and end."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._send(everything=True)
        for sink in self._sinks:
            sink.close()

    def _heard(self, name: str, milliseconds: float) -> None:
        if len(self._waiting) < _MOST_WAITING:
            self._waiting.append(_Line(name=name, value=milliseconds, kind="ms"))

    async def _run(self) -> None:
        turn = 0
        while True:
            await asyncio.sleep(FLUSH)
            turn += 1
            await self._send(everything=turn % _REPORT_EVERY == 0)

    async def _send(self, *, everything: bool) -> None:
        lines, self._waiting = self._waiting, []
        if everything:
            lines += self._report()
        for sink in self._sinks:
            await sink.send(lines)

    def _report(self) -> Iterator[_Line]:
        for name, value in self._gauges().items():
            yield _Line(name=name, value=value, kind="g")
        for name, value in self._counters().items():
            increment = value - self._counted.get(name, 0.0)
            self._counted[name] = value
            if increment:
                yield _Line(name=name, value=increment, kind="c")

    def _plain(self, line: _Line) -> str:
        name = line.name
        if line.kind == "g" and self._options.hostname:
            prefix = self._options.metrics_prefix
            rest = name.removeprefix(f"{prefix}.") if prefix else name
            name = ".".join(part for part in (prefix, socket.gethostname(), rest) if part)
        return f"{_clean(name)}:{line.value:.6f}|{line.kind}\n"

    def _tagged(self, line: _Line) -> str:
        tags = ",".join(self._options.dogstatsd_tags)
        return f"{_clean(line.name)}:{line.value:.6f}|{line.kind}" + (f"|#{tags}\n" if tags else "\n")


class _Sink:
    """One receiver. Its name is looked up when there is something to send, and again after a failure."""

    def __init__(self, name: str, address: tuple[str, int], form: Callable[[_Line], str]) -> None:
        self._name = name
        self._address = address
        self._form = form
        self._socket: socket.socket | None = None
        self._problem = ""

    async def send(self, lines: Sequence[_Line]) -> None:
        try:
            for datagram in _packed(self._form(line).encode() for line in lines):
                if self._socket is None:
                    self._socket = await _connected(self._address)
                self._socket.send(datagram)
        except OSError as error:
            self.close()
            problem = error.strerror or str(error)
            if problem != self._problem:
                host, port = self._address
                _log.warning("telemetry: cannot send to %s at %s:%d: %s", self._name, host, port, problem)
                self._problem = problem
        else:
            self._problem = ""

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


async def _connected(address: tuple[str, int]) -> socket.socket:
    found = await asyncio.get_running_loop().getaddrinfo(*address, type=socket.SOCK_DGRAM)
    family, _, _, _, end = found[0]
    opened = socket.socket(family, socket.SOCK_DGRAM)
    opened.setblocking(False)
    opened.connect(end)
    return opened


def _packed(lines: Iterator[bytes]) -> Iterator[bytes]:
    """As many lines as fit into one datagram, again and again."""
    datagram = b""
    for line in lines:
        if datagram and len(datagram) + len(line) > DATAGRAM:
            yield datagram
            datagram = b""
        datagram += line
    if datagram:
        yield datagram


def _clean(name: str) -> str:
    """Without the characters that mean something in a line."""
    return re.sub(r"[:|@#\s]", "_", name)
