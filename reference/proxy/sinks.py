"""Metrics that are sent away: to statsd and Datadog by UDP, to statsite by TCP, every :data:`INTERVAL` seconds.

On a thread of its own: names are looked up and connections made where nothing else waits. A sink that fails is
complained about once, and tried again at the next turn; counters that it missed are lost, as with any UDP sink.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace

from reference.proxy.endpoints import Address
from reference.proxy.log import Log
from reference.proxy.metrics import COUNTER, Ledger, Sample, dogstatsd_lines, statsd_lines
from reference.proxy.telemetry import Telemetry

INTERVAL = 5.0
#: What fits into one datagram on an Ethernet.
DATAGRAM = 1400
TCP_TIMEOUT = 5.0


class Reporter:
    """Sends the numbers of ``ledger`` until :meth:`stop`, which sends once more."""

    def __init__(self, ledger: Ledger, telemetry: Telemetry, *, log: Log) -> None:
        self._ledger = ledger
        self._telemetry = telemetry
        self._log = log
        self._before: dict[tuple[str, ...], int] = {}
        self._problems: dict[str, str] = {}
        self._statsite: socket.socket | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._report, name="telemetry", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Begin to end."""
        self._stopped.set()

    def join(self) -> None:
        """Wait for the last report, a little."""
        self._thread.join(1.0)

    def _report(self) -> None:
        while not self._stopped.wait(INTERVAL):
            self._send()
        self._send()
        if self._statsite is not None:
            self._statsite.close()

    def _send(self) -> None:
        telemetry, host = self._telemetry, socket.gethostname()
        samples = self._increments(self._ledger.samples())
        plain = statsd_lines(samples, telemetry, host=host)
        if telemetry.statsd is not None:
            self._try("statsd", telemetry.statsd, plain, _send_datagrams)
        if telemetry.dogstatsd is not None:
            self._try("dogstatsd", telemetry.dogstatsd, dogstatsd_lines(samples, telemetry), _send_datagrams)
        if telemetry.statsite is not None:
            self._try("statsite", telemetry.statsite, plain, self._send_stream)

    def _increments(self, samples: Iterable[Sample]) -> list[Sample]:
        """Counters since the last time, without those that stood still."""
        changed = []
        for sample in samples:
            if sample.kind == COUNTER:
                key = (*sample.name, *sample.labels.values())
                increment = sample.value - self._before.get(key, 0)
                self._before[key] = sample.value
                if not increment:
                    continue
                sample = replace(sample, value=increment)
            changed.append(sample)
        return changed

    def _try(
        self, name: str, address: Address, lines: list[str], send: Callable[[Address, list[str]], None]
    ) -> None:
        try:
            send(address, lines)
        except OSError as problem:
            reason = f"{problem.strerror or problem}"
            if self._problems.get(name) != reason:
                self._problems[name] = reason
                self._log.warn(f"telemetry: cannot send to {name} at {address}: {reason}")
        else:
            self._problems.pop(name, None)

    def _send_stream(self, address: Address, lines: list[str]) -> None:
        if self._statsite is None:
            self._statsite = socket.create_connection((address.host, address.port), TCP_TIMEOUT)
        try:
            self._statsite.sendall("".join(lines).encode())
        except OSError:
            with suppress(OSError):
                self._statsite.close()
            self._statsite = None
            raise


def _send_datagrams(address: Address, lines: list[str]) -> None:
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_DGRAM)
    family, _, _, _, target = found[0]
    with socket.socket(family, socket.SOCK_DGRAM) as sender:
        sender.connect(target)
        datagram = b""
        for line in (line.encode() for line in lines):
            if datagram and len(datagram) + len(line) > DATAGRAM:
                sender.send(datagram)
                datagram = b""
            datagram += line
        if datagram:
            sender.send(datagram)
