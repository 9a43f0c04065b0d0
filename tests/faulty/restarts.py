"""Starting proxies, again and again."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from reference.agent import agent, environment
from reference.agent.reload import Reloader
from reference.config.model import AgentConfig, TcpAddress
from reference.config.network import Address
from reference.supervisor import snapshot
from reference.supervisor.core import Supervisor
from reference.supervisor.snapshot import Snapshot
from reference.supervisor.spec import Timings
from tests.faulty import fault


@fault("lifecycle/backoff/03")
def forgets_back_offs() -> None:
    """Stores which proxies run, but not how often they crashed and when they may be started again."""
    honest = snapshot.encode

    def forgetful(found: Snapshot) -> str:
        memories = tuple(replace(memory, starts=0, retry_at=None) for memory in found.memories)
        return honest(replace(found, memories=memories))

    snapshot.encode = forgetful


@fault("lifecycle/backoff/02")
def never_forgives() -> None:
    """Counts a proxy's crashes for ever, however long it ran since the last one."""
    honest = Supervisor.__init__

    def unforgiving(self: Supervisor, *, timings: Timings | None = None, **rest: Any) -> None:
        honest(self, timings=replace(timings or Timings(), healthy_run=float("inf")), **rest)

    Supervisor.__init__ = unforgiving  # type: ignore[method-assign,assignment]


@fault(
    "operations/list/03",
    "security/independence/01",
    "security/root/01",
    "security/root/04",
    "security/root/06",
)
def starts_proxies_as_root() -> None:
    """Runs managed proxies as root without having been allowed to."""
    honest = Supervisor.__init__

    def without_refusal(self: Supervisor, *, refusal: str | None = None, **rest: Any) -> None:
        honest(self, refusal=None, **rest)

    Supervisor.__init__ = without_refusal  # type: ignore[method-assign,assignment]


@fault("configuration/disabled/01")
def starts_proxies_that_cannot_ask() -> None:
    """Starts managed proxies although it has no HTTP API that they could use."""

    def somewhere(config: AgentConfig) -> TcpAddress:
        return TcpAddress("127.0.0.1", 1)

    agent.api_address = somewhere


@fault("environment/address/02", "environment/address/03", "environment/address/05")
def sends_proxies_to_the_plain_port() -> None:
    """Leads its proxies to the plain port also where it speaks HTTPS."""
    honest = environment.api_address

    def plain(config: AgentConfig) -> Address | None:
        return honest(replace(config, https_addrs=()))

    environment.api_address = plain


@fault("environment/address/04")
def thinks_of_tcp_alone() -> None:
    """Names a TCP address to its proxies also where it listens on a unix socket."""
    honest = environment.api_address

    def tcp(config: AgentConfig) -> Address | None:
        found = honest(config)
        return found if found is None or isinstance(found, TcpAddress) else TcpAddress("127.0.0.1", 8500)

    environment.api_address = tcp


@fault("security/root/01")
def forgets_about_root_when_it_reloads() -> None:
    """Starts managed proxies as root, without having been allowed to, as soon as it was reloaded."""
    honest, reload = Supervisor.__init__, Reloader.reload
    made: list[Supervisor] = []

    def noted(self: Supervisor, **rest: Any) -> None:
        honest(self, **rest)
        made.append(self)

    def careless(self: Reloader) -> None:
        for supervisor in made:
            supervisor._refusal = None
        reload(self)

    Supervisor.__init__ = noted  # type: ignore[method-assign,assignment]
    Reloader.reload = careless  # type: ignore[method-assign]
