"""Numbers of a proxy: what is counted, and how they are written for statsd and its kin, and for Prometheus.

The names are the original's (MP-BIP-021): ``inbound`` (label ``dst``) and ``upstream`` (labels ``src``, ``dst_type``,
``dst``), each with the gauge ``conns`` and the counters ``rx_bytes`` and ``tx_bytes``, from and to whoever connected
to the listener. Counters of ours beside them say what became of connections (:mod:`~reference.proxy.traffic`).
"""

from __future__ import annotations

import os
import resource
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from reference.proxy.telemetry import Telemetry
from reference.proxy.traffic import EVENTS, Traffic

GAUGE, COUNTER = "gauge", "counter"

#: What is said about each number, for those who look at them. Keyed by its last part.
HELP = {
    "conns": "Open connections.",
    "rx_bytes": "Bytes received from whoever connected to the listener.",
    "tx_bytes": "Bytes sent to whoever connected to the listener.",
    "accepted": "Connections that were let in.",
    "refused": "Peers that were not let in: no TLS, no valid identity, or no permission.",
    "limited": "Connections refused because there were as many as there may be.",
    "unreached": "Connections ended because nobody answered at the other side.",
    "cut": "Connections cut because their peer is no longer authorized.",
}


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One number at one moment. Counters are since the start of the process."""

    kind: str
    name: tuple[str, ...]
    value: int
    labels: Mapping[str, str] = field(default_factory=dict)


class Ledger:
    """All traffic of a proxy. What a listener carried stays in the books when it is closed or opened anew."""

    def __init__(self, *, on_end: Callable[[], None]) -> None:
        self._on_end = on_end
        self._lock = threading.Lock()
        self._traffics: dict[tuple[str, ...], Traffic] = {}

    def traffic(self, kind: str, labels: Mapping[str, str]) -> Traffic:
        """The traffic of this name, from the beginning."""
        key = (kind, *labels.values())
        with self._lock:
            if key not in self._traffics:
                self._traffics[key] = Traffic(kind, labels, on_end=self._on_end)
            return self._traffics[key]

    def all(self) -> list[Traffic]:
        with self._lock:
            return list(self._traffics.values())

    def samples(self) -> list[Sample]:
        """The numbers of now. From any thread."""
        found = []
        for traffic in self.all():
            now = traffic.snapshot()
            numbers = {"rx_bytes": now.received, "tx_bytes": now.sent}
            numbers |= {event: now.events.get(event, 0) for event in EVENTS[traffic.kind]}
            found.append(
                Sample(
                    kind=GAUGE,
                    name=(traffic.kind, "conns"),
                    value=now.connections,
                    labels=traffic.labels,
                )
            )
            found += [
                Sample(kind=COUNTER, name=(traffic.kind, name), value=value, labels=traffic.labels)
                for name, value in numbers.items()
            ]
        return found


def statsd_lines(samples: Iterable[Sample], telemetry: Telemetry, *, host: str) -> list[str]:
    """Lines of the statsd protocol; labels become parts of the name. Counters must be increments."""
    lines = []
    for sample in samples:
        name = _dotted(sample, telemetry, host)
        if telemetry.allows(name):
            whole = ".".join([name, *sample.labels.values()])
            lines.append(f"{_plain(whole)}:{sample.value:.6f}|{'g' if sample.kind == GAUGE else 'c'}\n")
    return lines


def dogstatsd_lines(samples: Iterable[Sample], telemetry: Telemetry) -> list[str]:
    """Lines of Datadog's protocol, where labels are tags, and the host is what the receiver knows best."""
    lines = []
    for sample in samples:
        name = _dotted(sample, telemetry, "")
        if telemetry.allows(name):
            tags = [f"{_plain(label)}:{_plain(value)}" for label, value in sample.labels.items()]
            shown = ",".join([*telemetry.dogstatsd_tags, *tags])
            value = f"{sample.value:.6f}|g" if sample.kind == GAUGE else f"{sample.value}|c"
            lines.append(f"{_plain(name)}:{value}|#{shown}\n")
    return lines


def exposition(samples: Iterable[Sample], *, leaf_expires: float | None) -> str:
    """The text format of Prometheus, version 0.0.4, with the customary numbers of the process.

    ``leaf_expires`` is a Unix time, None while there is no leaf.
    """
    families: dict[str, list[str]] = {}
    for sample in samples:
        counts = sample.kind == COUNTER
        name = f"consul_proxy_{'_'.join(sample.name)}{'_total' if counts else ''}"
        labels = ",".join(f'{label}="{_quoted(value)}"' for label, value in sample.labels.items())
        family = families.setdefault(
            name, [f"# HELP {name} {HELP[sample.name[-1]]}", f"# TYPE {name} {sample.kind}"]
        )
        family.append(f"{name}{{{labels}}} {sample.value}")
    lines = [line for family in families.values() for line in family]
    if leaf_expires is not None:
        lines += _single(
            "consul_proxy_leaf_expiry_seconds", GAUGE, "When the leaf ends, as a Unix time.", leaf_expires
        )
    usage = resource.getrusage(resource.RUSAGE_SELF)
    lines += _single(
        "process_cpu_seconds_total",
        COUNTER,
        "User and system time spent.",
        usage.ru_utime + usage.ru_stime,
    )
    lines += _single("process_resident_memory_bytes", GAUGE, "Resident memory.", _resident_bytes())
    lines += _single("process_open_fds", GAUGE, "Open descriptors.", len(os.listdir("/proc/self/fd")))
    lines += _single("process_start_time_seconds", GAUGE, "The start, as a Unix time.", STARTED)
    return "\n".join(lines) + "\n"


STARTED = time.time()


def _single(name: str, kind: str, said: str, value: float) -> list[str]:
    return [f"# HELP {name} {said}", f"# TYPE {name} {kind}", f"{name} {value:.15g}"]


def _resident_bytes() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()


def _dotted(sample: Sample, telemetry: Telemetry, host: str) -> str:
    """The name as the original builds it: the host stands in the names of gauges, not of counters."""
    middle = [host] if host and telemetry.hostname and sample.kind == GAUGE else []
    return ".".join([telemetry.prefix, *middle, *sample.name])


def _plain(name: str) -> str:
    return name.translate({ord(":"): "_", ord(" "): "_", ord("|"): "_", ord("\n"): "_"})


def _quoted(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
