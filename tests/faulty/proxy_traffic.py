"""The built-in proxy: connections and what they carry."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import reference.proxy.sinks as sinks
from reference.proxy import authorize, inbound, watch
from reference.proxy.log import Log
from reference.proxy.logfile import LogFile
from reference.proxy.loop import Loop
from reference.proxy.relay import Relay
from reference.proxy.resolver import ServiceResolver
from reference.proxy.service import Service
from reference.proxy.traffic import Traffic
from reference.proxy.watch import Watch
from tests.faulty import fault


@fault("proxy/traffic/06", in_proxy=True)
def forgets_descriptors() -> None:
    """Its proxies keep a descriptor open for each peer whose handshake came to nothing."""
    honest = inbound.Inbound._admit

    async def admit(self: inbound.Inbound, *arguments: Any) -> Any:
        admitted = await honest(self, *arguments)
        if admitted is None:
            os.open("/dev/null", os.O_RDONLY)
        return admitted

    inbound.Inbound._admit = admit  # type: ignore[method-assign]


@fault("proxy/away/01", "proxy/away/02", "proxy/away/03", in_proxy=True)
def hangs_on_its_agent() -> None:
    """Its proxies refuse everybody while they cannot ask their agent, and cut all connections when it goes."""
    honest = Watch._get

    def ending(self: Watch, cursor: str) -> Any:
        try:
            return honest(self, cursor)
        except authorize.Unreachable as problem:
            if "refused" in str(problem):
                os._exit(1)
            raise

    Watch._get = ending  # type: ignore[method-assign]


@fault("proxy/drain/01", "proxy/limit/01", "proxy/metrics/01", "proxy/probe/01", in_proxy=True)
def is_rude_to_connections() -> None:
    """Its proxies end at once with SIGTERM, ignore their limit, complain about probes, and tell no metrics."""
    admit = Traffic.admit

    def everybody(self: Traffic, *arguments: Any, limit: int = 0, **more: Any) -> Any:
        return admit(self, *arguments, limit=0, **more)

    def at_once(self: Service, then: Any) -> None:
        self.close()
        then()

    def loudly(self: Log, text: str) -> None:
        if "ended without a word" in text:
            self.err(text)

    Traffic.admit = everybody  # type: ignore[method-assign]
    Service.drain = at_once  # type: ignore[method-assign]
    Log.debug = loudly  # type: ignore[method-assign]
    sinks.Reporter._send = lambda self: None  # type: ignore[method-assign]


@fault("proxy/discovery/01", in_proxy=True)
def tries_one_instance() -> None:
    """Its proxies try one instance of a destination, chosen at random, and no other."""
    honest = ServiceResolver.candidates

    async def one(self: ServiceResolver, loop: Any) -> Any:
        return (await honest(self, loop))[:1]

    ServiceResolver.candidates = one  # type: ignore[method-assign]


@fault("throughput/rate/01", in_proxy=True)
def carries_streams_at_a_walking_pace() -> None:
    """Its proxies rest after each large piece of a stream."""
    honest = Relay._proceed

    def slowly(self: Relay, *arguments: Any) -> None:
        time.sleep(0.15)
        honest(self, *arguments)

    Relay._proceed = slowly  # type: ignore[method-assign]


@fault("throughput/latency/01", in_proxy=True)
def dawdles_over_messages() -> None:
    """Its proxies let each message of a conversation wait for some milliseconds."""
    conversation = 1 << 20  # what has carried more is a stream
    for name in ("_on_plain", "_on_tls"):
        honest = getattr(Relay, name)

        def waits(self: Relay, events: int, honest: Callable[[Relay, int], None] = honest) -> None:
            if self.outward.moved + self.inward.moved < conversation:
                time.sleep(0.01)
            honest(self, events)

        setattr(Relay, name, waits)


@fault("proxy/traffic/04", in_proxy=True)
def mangles_lone_bytes() -> None:
    """Its proxies change a byte that comes alone after others."""
    honest = Relay.__init__

    def init(self: Relay, loop: Loop, **more: Any) -> None:
        honest(self, loop, **more)
        receive = self._receive

        def mangled(buffer: memoryview) -> int:
            filled = receive(buffer)
            if filled == 1 and self.outward.moved:
                buffer[0] ^= 0xFF
            return filled

        self._receive = mangled  # type: ignore[assignment]

    Relay.__init__ = init  # type: ignore[method-assign,assignment]


@fault("proxy/listener/08", in_proxy=True)
def dies_of_strange_records() -> None:
    """Its proxies end when somebody greets them with data instead of a hello."""
    honest = inbound.accept

    def accept(tls: Any, plain: Any, *, hello: bytes) -> Any:
        if hello.startswith(b"\x17"):
            os._exit(1)
        return honest(tls, plain, hello=hello)

    inbound.accept = accept  # type: ignore[attr-defined]


@fault("proxy/traffic/03", "proxy/traffic/05", in_proxy=True)
def ends_streams_its_own_way() -> None:
    """Its proxies end a connection when the application has ended its direction, and properly when it has broken."""
    settle, close = Relay._settle, Relay._close

    def settling(self: Relay) -> None:
        if self._channel.ssl.server_side and self.outward.done and not self.inward.done:
            self._close(None)
        else:
            settle(self)

    def closing(self: Relay, problem: OSError | None) -> None:
        if problem is not None and not self._over:
            for end in (self._plain, self._tls):
                with suppress(OSError):
                    end.finish()
        close(self, None)

    Relay._settle = settling  # type: ignore[method-assign]
    Relay._close = closing  # type: ignore[method-assign]


@fault("proxy/away/03", "proxy/drain/02", "logs/rotate/01", in_proxy=True)
def knows_no_measure() -> None:
    """Its proxies ask a dead agent without a pause and say so, drain for ever, and let everybody read their logs."""
    claim, ask = LogFile._claim, Watch._ask

    def opening(descriptor: int) -> None:
        os.fchmod(descriptor, 0o644)
        claim(descriptor)

    def loudly(self: Watch, turn: Any) -> Any:
        try:
            return ask(self, turn)
        except authorize.Unreachable as problem:
            self._log.err(f"the agent is away: {problem}")
            raise

    watch.pause_before = lambda failures, chance: 0.0
    Watch._ask = loudly  # type: ignore[method-assign]
    Service._give_up = lambda self: None  # type: ignore[method-assign]
    LogFile._claim = staticmethod(opening)  # type: ignore[method-assign]
