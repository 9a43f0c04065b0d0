"""Starting, crashing, reloading: what a supervisor is for."""

from __future__ import annotations

import asyncio
import os
import uuid
from typing import Any

from msgspec.structs import replace

from reference.agent.observers import ProcessFeed
from reference.agent.proxies import Managed, digest
from reference.agent.reload import Reloader, ReloadFailed
from reference.agent.services import LocalState, Registration
from reference.config import sources
from reference.config.errors import ConfigError
from reference.config.model import ServiceDefinition
from reference.http import agent_services
from reference.supervisor import events as ev
from reference.supervisor.core import Supervisor
from reference.supervisor.linux import Linux
from reference.supervisor.real import RealWorld
from reference.supervisor.runner import ManagedProxies
from reference.supervisor.spec import ProxyState
from reference.supervisor.steps import Managed as Supervised
from tests.faulty import fault
from tests.faulty._seams import handles, timed


@fault("lifecycle/start/01", disturbs=("ports/listener/01",))
def tries_commands_out() -> None:
    """Runs the first command of each proxy twice: once to see whether it works, and once in earnest."""
    honest = Linux.launch
    tried: set[str] = set()

    def twice(self: Linux, launch: Any) -> Any:
        proxy_id = launch.environment["CONNECT_PROXY_ID"]
        if proxy_id not in tried:
            tried.add(proxy_id)
            honest(self, launch).abandon()
        return honest(self, launch)

    Linux.launch = twice  # type: ignore[method-assign]


@fault("lifecycle/start/02")
def starts_nothing_on_demand() -> None:
    """Starts the proxy of a service that a reload has added with its own next start."""
    honest = LocalState.reconcile

    def later(self: LocalState, definitions: Any, *rest: Any) -> None:
        def known(definition: ServiceDefinition) -> ServiceDefinition:
            there = self.registration(definition.id) is not None
            return definition if there else replace(definition, proxy=None)

        honest(self, [known(definition) for definition in definitions], *rest)

    LocalState.reconcile = later  # type: ignore[method-assign]


@fault("lifecycle/idle/01")
def never_rests() -> None:
    """Does nothing, and does that again and again."""
    honest = ManagedProxies.start

    def never_resting(self: ManagedProxies, *arguments: Any, **rest: Any) -> Any:
        loop = asyncio.get_running_loop()

        def turn() -> None:
            loop.call_soon(turn)

        turn()
        return honest(self, *arguments, **rest)

    ManagedProxies.start = never_resting  # type: ignore[method-assign]


@fault("lifecycle/start/04")
def tries_commands_once() -> None:
    """Does not try a command again that it could not execute."""

    def failed(self: Supervisor, proxy: Supervised, event: ev.StartFailed) -> None:
        self._enter(proxy, ProxyState.BACKOFF, event.reason)

    handles(ProxyState.STARTING, ev.StartFailed, failed)


@fault("lifecycle/reload/08")
def waits_with_what_was_mended() -> None:
    """Starts another command of a proxy that crashed again and again when the wait for the old one is over."""
    handles(ProxyState.BACKOFF, ev.Defined, Supervisor._redefine)


@fault("lifecycle/start/03")
def dies_of_a_bad_command() -> None:
    """Ends over the command of a proxy that it cannot execute, as soon as somebody asks for its services."""
    spawn, services = RealWorld._spawn, agent_services.services
    failed: list[str] = []

    def noting(self: RealWorld, command: Any) -> None:
        if not command.spec.launcher and not os.access(command.spec.command[0], os.X_OK):
            failed.append(command.spec.proxy_id)
        spawn(self, command)

    async def ending(call: Any) -> Any:
        if failed:
            os._exit(1)
        return await services(call)

    RealWorld._spawn = noting  # type: ignore[method-assign]
    agent_services.services = ending


@fault(
    "dev/supervise/01",
    "lifecycle/adopt/02",
    "lifecycle/adopt/04",
    "lifecycle/adopt/07",
    "lifecycle/crash/01",
    "token/stable/01",
)
def gives_successors_other_tokens() -> None:
    """Starts a proxy again with a token that nobody knows."""
    honest = RealWorld._spawn
    seen: set[str] = set()

    def spawn(self: RealWorld, command: Any) -> None:
        spec = command.spec
        if spec.proxy_id in seen:
            command = replace(command, spec=replace(spec, token=str(uuid.uuid4())))
        seen.add(spec.proxy_id)
        honest(self, command)

    remember = RealWorld.remember

    def remembering(self: RealWorld) -> Any:
        memories = remember(self)
        seen.update(memory.proxy_id for memory in memories)
        return memories

    RealWorld.remember = remembering  # type: ignore[method-assign]
    RealWorld._spawn = spawn  # type: ignore[method-assign]


@fault("lifecycle/crash/02")
def takes_success_for_the_end() -> None:
    """Starts a proxy that has ended with exit code 0 no more."""
    honest = Supervisor._crashed

    def crashed(self: Supervisor, proxy: Supervised, event: ev.Exited) -> None:
        if event.reason.endswith("code 0"):
            proxy.held = "it has done its work"
        honest(self, proxy, event)

    handles(ProxyState.RUNNING, ev.Exited, crashed)


@fault("lifecycle/crash/03")
def restarts_all_for_one() -> None:
    """Restarts every proxy when one of them crashes."""
    honest = Supervisor._crashed

    def crashed(self: Supervisor, proxy: Supervised, event: ev.Exited) -> None:
        honest(self, proxy, event)
        for other in self._proxies.values():
            if other.state is ProxyState.RUNNING:
                self._stop(other, "another one crashed")

    handles(ProxyState.RUNNING, ev.Exited, crashed)


@fault("lifecycle/backoff/01", "lifecycle/backoff/03")
def waits_the_same_each_time() -> None:
    """Waits two seconds before each start of a proxy that crashes, and never longer."""
    timed(backoff_limit=2.0)


@fault("lifecycle/reload/01", "lifecycle/reload/03", "lifecycle/reload/05")
def restarts_on_reload() -> None:
    """Restarts every proxy when it is reloaded, whether anything has changed or not."""
    honest, put = LocalState.reconcile, ProcessFeed.proxy_put
    count = [0]

    def counting(self: LocalState, *arguments: Any) -> None:
        count[0] += 1
        honest(self, *arguments)

    def numbered(self: ProcessFeed, managed: Managed) -> None:
        self._environment = (
            *(pair for pair in self._environment if pair[0] != "RELOADS"),
            ("RELOADS", str(count[0])),
        )
        put(self, managed)

    LocalState.reconcile = counting  # type: ignore[method-assign]
    ProcessFeed.proxy_put = numbered  # type: ignore[method-assign]


@fault("lifecycle/reload/03", "lifecycle/reload/04", "removal/complete/02", "removal/complete/03")
def keeps_processes_over_a_reload() -> None:
    """Lets the process of a proxy run on whose service a reload has removed."""
    honest, gone = LocalState.reconcile, ProcessFeed.proxy_gone
    reloading = [False]

    def reconcile(self: LocalState, *arguments: Any) -> None:
        reloading[0] = True
        try:
            honest(self, *arguments)
        finally:
            reloading[0] = False

    def unless_reloading(self: ProcessFeed, managed: Managed) -> None:
        if not reloading[0]:
            gone(self, managed)

    LocalState.reconcile = reconcile  # type: ignore[method-assign]
    ProcessFeed.proxy_gone = unless_reloading  # type: ignore[method-assign]


@fault("lifecycle/reload/05")
def restarts_for_other_config() -> None:
    """Restarts a proxy whose config has changed, as if that could not be told to it."""
    honest = ProcessFeed.proxy_put

    def proxy_put(self: ProcessFeed, managed: Managed) -> None:
        environment = self._environment
        self._environment = (*environment, ("CONFIG", digest(managed.proxy.config)))
        honest(self, managed)
        self._environment = environment

    ProcessFeed.proxy_put = proxy_put  # type: ignore[method-assign]


@fault("lifecycle/reload/06")
def drops_everything_that_it_cannot_read() -> None:
    """Takes a configuration that it cannot read for an empty one when it is reloaded."""
    honest = Reloader.reload

    def reload(self: Reloader) -> None:
        try:
            honest(self)
        except ReloadFailed:
            self._state.reconcile(())
            raise

    Reloader.reload = reload  # type: ignore[method-assign]


@fault("security/registration/06")
def refuses_plain_services() -> None:
    """Registers no service over HTTP unless managed proxies may be registered there, too."""
    from reference.http import agent_services
    from reference.http.exchange import ApiError, Call

    honest = agent_services._require_service

    def require(call: Call, definition: ServiceDefinition) -> None:
        if not call.backend.config.allow_managed_api_registration:
            raise ApiError(400, "Bad request: registration via the API is disallowed.")
        honest(call, definition)

    agent_services._require_service = require


@fault("security/root/02", "security/root/03", "security/root/04", "security/root/06")
def registers_nothing_as_root() -> None:
    """Leaves managed proxies out of the catalog where it may not start them."""
    honest = LocalState._define_proxy

    def define(self: LocalState, proxy: Any, registration: Registration) -> None:
        if os.geteuid() != 0:
            honest(self, proxy, registration)

    LocalState._define_proxy = define  # type: ignore[method-assign]


@fault("security/root/03", "security/root/04")
def never_starts_as_root() -> None:
    """Starts no managed proxies as root, also when it was told to."""
    from reference.agent import agent

    honest = agent.Agent._refusal

    def refusal(self: Any) -> str | None:
        return agent.ROOT_REFUSAL if os.geteuid() == 0 else honest(self)

    agent.Agent._refusal = refusal  # type: ignore[method-assign]


@fault("lifecycle/reload/06")
def applies_half_a_configuration() -> None:
    """Leaves out a definition that it cannot read when it is reloaded, and applies the others."""
    honest, read = Reloader.reload, sources._source

    def reload(self: Reloader) -> None:
        sources._source = or_nothing
        honest(self)

    def or_nothing(name: str, raw: Any) -> sources.Source:
        try:
            return read(name, raw)
        except ConfigError:
            return sources.Source(name, {})

    Reloader.reload = reload  # type: ignore[method-assign]


@fault("lifecycle/backoff/05")
def gives_up() -> None:
    """Does not start a proxy any more that has crashed seven times in a row."""
    honest = Supervisor._start_after_delay

    def start(self: Supervisor, proxy: Supervised) -> None:
        if proxy.starts >= 7:
            proxy.held = "it has crashed too often"
        honest(self, proxy)

    Supervisor._start_after_delay = start  # type: ignore[method-assign]
