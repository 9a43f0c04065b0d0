"""What nobody thought of: definitions, streams and garbage that are drawn, the same ones in each run."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

from hypothesis import strategies as st

from conformance.checks._situations import Mesh, mesh, payload, proxy_config
from conformance.checks.proxy_listener import MESSAGE, listener_of
from conformance.instruments.echo import EchoServer
from conformance.instruments.identities import agent_identity
from conformance.plugin.examples import for_all
from conformance.plugin.lab import Lab
from conformance.plugin.marks import requirement

#: Any text that a person may write; the name of a file is nobody's text, and control characters are no words.
_WORDS = st.text(st.characters(exclude_categories=["Cc", "Cs", "Cn", "Co"]), min_size=1, max_size=12)
_META = st.dictionaries(st.from_regex(r"[A-Za-z0-9_-]{1,16}", fullmatch=True), _WORDS, max_size=4)
#: Names as DNS has them: what the original takes without a warning.
_NAMES = st.from_regex(r"[a-z]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
_UPSTREAMS = st.dictionaries(
    st.integers(1024, 65535), st.tuples(_NAMES, st.sampled_from(["127.0.0.1", "127.0.0.2"])), max_size=4
)


@st.composite
def _service(draw: st.DrawFn, name: str) -> Mapping[str, Any]:
    """A service with a custom managed proxy, as a file defines it."""
    upstreams = [
        {"destination_name": destination, "local_bind_port": port, "local_bind_address": address}
        for port, (destination, address) in draw(_UPSTREAMS).items()
    ]
    proxy = {"command": ["/bin/sleep", "600"], "upstreams": upstreams}
    service = {
        "name": name,
        "port": draw(st.integers(1, 65535)),
        "tags": draw(st.lists(_WORDS, max_size=4)),
        "meta": draw(_META),
        "connect": {"proxy": proxy},
    }
    if draw(st.booleans()):
        service["id"] = f"{name}-{draw(st.integers(1, 9))}"
    return service


_SERVICES = st.lists(_NAMES, min_size=1, max_size=4, unique=True).flatmap(
    lambda names: st.tuples(*map(_service, names))
)


@requirement("configuration/any/01")
def check_any_definition_is_shown_as_written(lab: Lab) -> None:
    """Draw sets of service definitions with managed proxies: names, ids, ports, tags and metadata in any script,
    upstreams. Have an agent reload each set.

    The drawn services are there, each with its name, port, tags and metadata; each has a proxy that runs, and
    whose configuration names its upstreams. Source: hardening.
    """
    agent = lab.agent()

    def prove(services: Sequence[Mapping[str, Any]]) -> None:
        agent.reload(definitions=[{"service": service} for service in services])
        drawn = {service.get("id", service["name"]): service for service in services}
        ids = {*drawn, *(f"{identifier}-proxy" for identifier in drawn)}
        lab.until(
            "agent_reload", lambda: ids <= agent.services().keys(), what=f"the services are {sorted(ids)}"
        )
        shown = agent.services()
        for identifier, service in drawn.items():
            _same(shown[identifier], service)
            proxy_id = f"{identifier}-proxy"
            assert _configured(proxy_config(agent, proxy_id)) == _upstreams(service), proxy_id
            agent.proxy(proxy_id)

    for_all(lab, _SERVICES, prove, examples=4, tell=str)


def _same(shown: Mapping[str, Any], service: Mapping[str, Any]) -> None:
    found = {key: shown.get(key) or None for key in ("Service", "Port", "Tags", "Meta")}
    written = {key: service[key.lower() if key != "Service" else "name"] or None for key in found}
    assert found == written, f"written as {written}, shown as {found}"


def _upstreams(service: Mapping[str, Any]) -> set[tuple[str, int, str]]:
    return {
        (each["destination_name"], each["local_bind_port"], each["local_bind_address"])
        for each in service["connect"]["proxy"]["upstreams"]
    }


def _configured(config: Mapping[str, Any]) -> set[tuple[str, int, str]]:
    return {
        (each["DestinationName"], each["LocalBindPort"], each["LocalBindAddress"])
        for each in config.get("Upstreams") or ()
    }


#: Around what TLS records, buffers and segments hold.
_EDGES = st.sampled_from([1, 1_023, 1_024, 16_383, 16_384, 16_385, 32_768, 65_537, 262_144])


@dataclass(frozen=True)
class _Stream:
    """How bytes are divided: into writes of these sizes, each echoed before the next if ``awaited``, and into reads."""

    writes: tuple[int, ...]
    awaited: bool
    reads: int


_STREAMS = st.builds(
    _Stream,
    writes=st.lists(st.one_of(st.integers(1, 100), _EDGES), min_size=1, max_size=12).map(tuple),
    awaited=st.booleans(),
    reads=st.sampled_from([1 << 16, 1 << 10, 1 << 20]),
)


@requirement("proxy/traffic/04")
def check_any_division_of_a_stream(lab: Lab) -> None:
    """Draw ways to divide a stream into writes and reads, with and without waiting for each echo, and send bytes so
    to an upstream port, on a connection for each.

    The echo is what was sent. Source: document, Upstream Configuration.
    """
    pair = mesh(lab, lab.use(EchoServer()))

    def prove(stream: _Stream) -> None:
        sent = payload(sum(stream.writes))

        def carried() -> bytes:
            return _carried(pair, stream, sent)

        # Whether the next connection is served at once is another requirement's business.
        received = lab.until("data_path", carried, what="something comes back")
        assert received == sent, (
            f"{len(received)} of {len(sent)} bytes came back, the first {_alike(received, sent)} as sent"
        )

    for_all(lab, _STREAMS, prove, examples=30, tell=str)


def _carried(pair: Mesh, stream: _Stream, sent: bytes) -> bytes:
    """What comes back of ``sent`` on a connection of its own."""
    received = bytearray()
    pieces = [sent[start:end] for start, end in pairwise(accumulate((0, *stream.writes)))]
    with pair.connect() as connection, ThreadPoolExecutor(1) as pool:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces if stream.awaited else [sent]:
            writing = pool.submit(_send, connection, [piece] if stream.awaited else pieces)
            received += _exactly(connection, len(piece), stream.reads)
            if not received:
                break
            writing.result()
    return bytes(received)


def _send(connection: socket.socket, pieces: Sequence[bytes]) -> None:
    with suppress(OSError):  # whoever reads learns of what goes wrong
        for piece in pieces:
            connection.sendall(piece)


def _exactly(connection: socket.socket, count: int, reads: int) -> bytes:
    received = bytearray()
    with suppress(OSError):  # also a timeout: what came until then is told
        while len(received) < count and (piece := connection.recv(min(reads, count - len(received)))):
            received += piece
    return bytes(received)


def _alike(some: bytes, others: bytes) -> int:
    return next(
        (place for place, pair in enumerate(zip(some, others, strict=False)) if pair[0] != pair[1]), len(some)
    )


#: Nothing, or what begins as a TLS record, a request, or the PROXY protocol does.
_BEGINNINGS = st.sampled_from(
    [b"", b"\x16\x03\x01\x02\x00\x01", b"\x17\x03\x03", b"GET / HTTP/1.1\r\n", b"PROXY TCP4 "]
)
_GARBAGE = st.builds(bytes.__add__, _BEGINNINGS, st.binary(max_size=2_000))


@requirement("proxy/listener/08")
def check_any_garbage_is_survived(lab: Lab) -> None:
    """Draw bytes, some that begin as TLS or other protocols do, and send them to the public listener of ``redis``.

    None comes to the application, they do not come back, the proxy goes on as the same process, and an honest peer
    is served after all. Source: hardening.
    """
    listener = listener_of(lab, handshake_timeout_ms=1000)
    proxy = listener.agent.proxy("redis-proxy")

    def prove(garbage: bytes) -> None:
        address, patience, came_back = ("127.0.0.1", listener.port), lab.budget("observation"), b""
        with socket.create_connection(address, patience) as rude, suppress(OSError):
            rude.sendall(garbage)
            rude.shutdown(socket.SHUT_WR)
            came_back = _exactly(rude, len(garbage) + 1, 1 << 16)
        # An alert may well hold a byte of it.
        assert not garbage or came_back != garbage, "it came back"
        assert listener.agent.proxies("redis-proxy") == [proxy], "the proxy did not survive"
        assert listener.application.received == 0, "bytes came to the application"

    for_all(lab, _GARBAGE, prove, examples=30, tell=repr)
    assert listener.greet(agent_identity(listener.agent.api, "web")).received == MESSAGE
