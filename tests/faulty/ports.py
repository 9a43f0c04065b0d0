"""The ports of proxies."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

import reference.agent.proxies as proxies
import reference.agent.services as services
import reference.config.managed as managed
from reference.agent.ports import PortsExhausted
from reference.config.model import Opaque
from tests.faulty import fault


@fault(
    "ports/concurrent/01",
    "ports/exhaustion/01",
    "ports/exhaustion/03",
    "ports/range/02",
    "ports/range/03",
    "ports/range/05",
    "ports/taken/01",
)
def hands_out_ports_twice() -> None:
    """Gives each proxy the first port of the range, whoever has it."""

    def first(*, low: int, **rest: Any) -> int:
        return low

    services.choose_port = first


@fault("ports/fixed/02")
def shrugs_at_a_bind_port() -> None:
    """Takes a bind_port that is no number for none at all."""
    honest = managed.managed_bind_port

    def lenient(config: Opaque) -> int | None:
        try:
            return honest(config)
        except ValueError:
            return None

    managed.managed_bind_port = proxies.managed_bind_port = lenient


@fault("ports/range/05")
def never_runs_out() -> None:
    """Gives out ports of the default range where the range was switched off."""
    honest = services.choose_port

    def generous(*, low: int, high: int, **rest: Any) -> int:
        return honest(low=low, high=high, **rest) if low > 0 else honest(low=20000, high=20255, **rest)

    services.choose_port = generous


@fault("ports/exhaustion/01", "ports/exhaustion/03")
def takes_one_port_too_many() -> None:
    """Gives out, last of all, the port that comes after the range."""
    honest = services.choose_port

    def one_more(*, high: int, **rest: Any) -> int:
        try:
            return honest(high=high, **rest)
        except PortsExhausted:
            return honest(**(rest | {"low": high + 1}), high=high + 1)

    services.choose_port = one_more


@fault("ports/range/02")
def leaves_out_the_last_port() -> None:
    """Gives out ports from the first of the range to the one before the last."""
    honest = services.choose_port

    def one_less(*, high: int, **rest: Any) -> int:
        return honest(high=high - 1, **rest)

    services.choose_port = one_less


@fault("ports/range/01")
def has_a_range_of_its_own() -> None:
    """Gives out ports from 20256 on where it was told nothing else."""
    honest = services.choose_port

    def elsewhere(*, low: int, high: int, **rest: Any) -> int:
        if (low, high) == (20000, 20255):
            low, high = 20256, 20511
        return honest(low=low, high=high, **rest)

    services.choose_port = elsewhere


@fault("ports/exhaustion/02")
def never_takes_a_port_back() -> None:
    """Gives out each port once, also when its proxy has gone."""
    honest = services.choose_port
    given: set[int] = set()

    def fresh(*, is_free: Any, **rest: Any) -> int:
        port = honest(is_free=lambda number: number not in given and is_free(number), **rest)
        given.add(port)
        return port

    services.choose_port = fresh


@fault("ports/fixed/01", "ports/fixed/03")
def knows_better_than_bind_port() -> None:
    """Takes a ``bind_port`` outside of its range for none."""
    honest = services.LocalState._define_proxy

    def define(self: Any, proxy: Any, registration: Any) -> None:
        settings = self.settings
        port = proxy.config.get("bind_port", settings.min_port)
        if isinstance(port, int) and not settings.min_port <= port <= settings.max_port:
            config = {key: value for key, value in proxy.config.items() if key != "bind_port"}
            proxy = replace(proxy, config=config)
        honest(self, proxy, registration)

    services.LocalState._define_proxy = define  # type: ignore[method-assign]


@fault("ports/stable/01")
def deals_ports_anew() -> None:
    """Gives a proxy another port each time when its service is registered over HTTP."""
    honest = services.LocalState._define_proxy

    def define(self: Any, proxy: Any, registration: Any) -> None:
        proxy_id = f"{registration.service.id}-proxy"
        before = self._proxies.get(proxy_id)
        if before is not None and not registration.from_file:
            self._proxies[proxy_id] = replace(before, service=replace(before.service, port=0))
        honest(self, proxy, registration)

    services.LocalState._define_proxy = define  # type: ignore[method-assign]
