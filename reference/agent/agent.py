"""The agent: puts the parts together, runs them, and takes them apart again.

The order of a start, so that whatever is wrong is known before anything is touched::

    ports of API and DNS, data directory, stored state, definitions, ports     may end the start (exit code 1)
    certificate authority, catalog, checks                                may end the start (exit code 1)
    supervisor, processes, API                                            from here on the agent runs

It ends by SIGINT, SIGTERM or ``PUT /v1/agent/leave`` with exit code 0. Managed proxies stay, unless they could
not be found again: in ``-dev`` mode without a data directory they end with the agent (MP-LIFE-007, MP-LIFE-015).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import uvloop

import proxyproof
from reference.agent import log
from reference.agent.api import listen, serve_until
from reference.agent.checks import ProxyChecks
from reference.agent.environment import builtin_proxy_command, proxy_environment
from reference.agent.observers import CatalogFeed, ProcessFeed
from reference.agent.persistence import DataDirectory, Memory
from reference.agent.ports import PortsExhausted
from reference.agent.proxies import ProxyError
from reference.agent.services import KeeperError, LocalState, NotAllowed, ProxySettings
from reference.agent.sockets import StartError
from reference.catalog.index import IndexClock
from reference.catalog.model import Node, Service
from reference.catalog.store import Catalog
from reference.catalog.watch import Watch
from reference.config.errors import ConfigError
from reference.config.load import LoadResult
from reference.config.model import AgentConfig
from reference.dns import server as dns_server
from reference.dns.message import Responder
from reference.dns.zone import Zone
from reference.http.app import create_app
from reference.http.backend import Backend, Mesh, ReloadFailed
from reference.mesh.authority import Authority
from reference.mesh.intentions_register import IntentionRegister
from reference.mesh.intentions_storage import IntentionStorage, NoIntentionStorage, SqliteIntentions
from reference.mesh.leaf import LeafCache
from reference.mesh.storage import ForgetfulStorage, SqliteStorage, StorageError
from reference.supervisor.runner import ManagedProxies
from reference.supervisor.spec import ProxyState, ProxyStatus

_log = logging.getLogger("agent")
_proxy_log = logging.getLogger("agent/proxy")

ROOT_REFUSAL = (
    "running as root, will not start managed proxies: run the agent as another user, "
    "or set connect.proxy.allow_managed_root = true"
)
NO_API_REFUSAL = "the HTTP API is off, and managed proxies cannot do without it: set ports.http"

Reload = Callable[[], LoadResult]


def run(config: AgentConfig, *, ignored: tuple[str, ...] = (), reload: Reload | None = None) -> int:
    """Run an agent until it is told to end; returns its exit code.

    ``ignored`` are options of the configuration without effect here, ``reload`` reads the configuration again and
    raises :class:`ConfigError`. What keeps the agent from starting is one sentence on stderr, and exit code 1.
    """
    log.set_up(config.log_level)
    agent = Agent(config, reload=reload or (lambda: LoadResult(config=config)))
    print("==> Starting proxyproof agent...", flush=True)
    try:
        with agent.prepared():
            print(agent.banner(), flush=True)
            for option in ignored:
                _log.warning("option %s has no effect on this agent", option)
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(agent.serve())
    except (StartError, KeeperError, StorageError) as error:
        print(f"==> Error starting agent: {error}", file=sys.stderr, flush=True)
        return 1
    return 0


@dataclass(frozen=True, kw_only=True)
class _Prepared:
    """What is there before anything runs."""

    listener: socket.socket | None
    dns: dns_server.Sockets | None
    directory: DataDirectory | None
    state: LocalState
    node: Node
    mesh: Mesh | None
    intentions: IntentionRegister


class Agent:
    """One agent: ``with agent.prepared(): await agent.serve()``."""

    def __init__(self, config: AgentConfig, *, reload: Reload) -> None:
        self._config = config
        self._read_config = reload
        self._index = IndexClock()
        self._watch = Watch()
        self._stopping = asyncio.Event()
        self._prepared: _Prepared

    @contextlib.contextmanager
    def prepared(self) -> Iterator[None]:
        """Claim the ports and the data directory and work out the local state, without starting anything.

        Raises :class:`StartError`, :class:`KeeperError` and :class:`StorageError`.
        """
        config = self._config
        with contextlib.ExitStack() as claims:
            listener = listen(config)
            if listener is not None:
                claims.enter_context(listener)
            dns = dns_server.listen(config, claims)
            directory = None
            if config.data_dir is not None:
                directory = DataDirectory(config.data_dir)
                directory.open()
                claims.callback(directory.close)
            self._prepared = _Prepared(
                listener=listener,
                dns=dns,
                directory=directory,
                state=self._local_state(Memory() if directory is None else directory.load()),
                node=Node(
                    id=str(uuid.uuid4()) if directory is None else directory.node_id(),
                    name=config.node_name,
                    address=config.advertise_addr,
                    datacenter=config.datacenter,
                ),
                mesh=self._mesh() if config.connect_enabled else None,
                intentions=self._intentions(claims),
            )
            yield

    def banner(self) -> str:
        """What is in effect, for whoever started the agent."""
        config, node = self._config, self._prepared.node
        lines = {
            "Version": f"'{proxyproof.__version__}'",
            "Node ID": f"'{node.id}'",
            "Node name": f"'{node.name}'",
            "Datacenter": f"'{node.datacenter}'",
            "Client Addr": f"{config.client_addr} (HTTP: {config.http_port}, DNS: {config.dns_port})",
            "Node Addr": f"{node.address} (proxies bind to {config.bind_addr})",
            "Data dir": str(config.data_dir or "none: nothing is stored, proxies end with the agent"),
            "Proxy ports": f"{config.proxy_min_port} to {config.proxy_max_port}",
            "Connect": "enabled, access is allowed by default" if config.connect_enabled else "disabled",
        }
        shown = "\n".join(f"{name:>18}: {value}" for name, value in lines.items())
        return f"==> proxyproof agent running!\n{shown}\n\n==> Log data will now stream in as it occurs:\n"

    async def serve(self) -> None:
        """Run until told to end. Raises :class:`KeeperError` when the state cannot be stored at the start."""
        config, prepared = self._config, self._prepared
        state, directory = prepared.state, prepared.directory
        with self._signals():
            catalog = Catalog(prepared.node, clock=self._index, watch=self._watch)
            # The original's servers register themselves; clients look for them under this name.
            catalog.put_service(Service(id="consul", name="consul", port=8300))
            refusal = self._refusal()
            checks = ProxyChecks(state, board=catalog, notes=refusal or "")

            def started(proxy_id: str, status: ProxyStatus | None) -> None:
                if status is not None and status.state is ProxyState.RUNNING:
                    checks.look_now(proxy_id)

            proxies = ManagedProxies(
                data_dir=config.data_dir, agent_id=prepared.node.id, refusal=refusal, on_change=started
            )
            if directory is not None:
                directory.sweep(
                    services={service.id for service in state.services()},
                    proxies={service.id for service in state.services() if state.proxy(service.id)},
                )
                state.attach(directory, keeper=True)
            state.attach(CatalogFeed(catalog))
            state.attach(checks)
            backend = Backend(
                config=config,
                node=prepared.node,
                state=state,
                checks=checks,
                catalog=catalog,
                index=self._index,
                watch=self._watch,
                mesh=prepared.mesh,
                intentions=prepared.intentions,
                reload=self._reload,
                leave=self._stopping.set,
            )
            await proxies.start()
            state.attach(ProcessFeed(proxies, environment=proxy_environment(config, os.environ)))
            proxies.settle()
            try:
                app = create_app(backend)
                async with dns_server.serving(self._responder(catalog), prepared.dns):
                    await serve_until(self._stopping, app, prepared.listener, ending=self._watch.close)
            finally:
                await checks.close()
                take_along = config.data_dir is None
                if take_along:
                    _log.warning(
                        "dev mode disabled persistence, killing all proxies since we can't recover them"
                    )
                await proxies.shut_down(stop=take_along)
        _log.info("agent ended")

    def _local_state(self, memory: Memory) -> LocalState:
        """Everything that is defined, with what an earlier run remembers of it."""
        config = self._config
        state = LocalState(
            ProxySettings(
                bind_addr=config.bind_addr,
                min_port=config.proxy_min_port,
                max_port=config.proxy_max_port,
                defaults=config.proxy_defaults,
                command=builtin_proxy_command(config.log_level),
            ),
            watch=self._watch,
            remembered=memory.remembered,
        )
        in_files = {definition.id for definition in config.services}
        for definition in config.services:
            try:
                state.register(definition, from_file=True)
            except (ProxyError, PortsExhausted) as error:
                raise StartError(f"failed adding proxy: {error}") from error
            except NotAllowed as error:
                raise StartError(f"failed adding service: {error}") from error
        for definition in memory.definitions:
            if definition.id in in_files:
                continue
            # What came in over HTTP must not keep the agent from starting.
            try:
                state.register(definition, from_file=False)
            except (ProxyError, PortsExhausted, NotAllowed) as error:
                _log.error("service %s cannot be restored: %s", definition.id, error)
        state.settle()
        return state

    def _mesh(self) -> Mesh:
        config, directory = self._config, self._mesh_dir()
        authority = Authority.open(
            ForgetfulStorage() if directory is None else SqliteStorage(directory / "authority.sqlite3"),
            datacenter=config.datacenter,
            index=self._index.advance(),
        )
        life = timedelta(seconds=config.leaf_cert_ttl_seconds)
        return Mesh(
            authority=authority,
            leaves=LeafCache(authority, life=life, index=self._index, watch=self._watch),
        )

    def _intentions(self, claims: contextlib.ExitStack) -> IntentionRegister:
        directory = self._mesh_dir()
        storage: IntentionStorage = NoIntentionStorage()
        if directory is not None:
            storage = claims.enter_context(
                contextlib.closing(SqliteIntentions(directory / "intentions.sqlite3"))
            )
        return IntentionRegister(storage, index=self._index, watch=self._watch)

    def _mesh_dir(self) -> Path | None:
        """Where authority and intentions are kept; None with ``-dev``, which forgets them (MP-CA-013)."""
        return None if self._config.dev_mode else self._config.data_dir

    def _responder(self, catalog: Catalog) -> Responder:
        options = self._config.dns
        return Responder(Zone(catalog, options, datacenter=self._config.datacenter), options)

    def _refusal(self) -> str | None:
        """Why no managed proxy may be started, if so (MP-ROOT-001, MP-ENV-005)."""
        if self._config.http_port < 0:
            _log.info("Connect managed proxies are disabled due to providing an invalid HTTP configuration")
            return NO_API_REFUSAL
        if os.geteuid() == 0 and not self._config.allow_managed_root:
            _proxy_log.warning(ROOT_REFUSAL)
            return ROOT_REFUSAL
        return None

    def _reload(self) -> None:
        """Apply the definitions of the configuration as it is now. Raises :class:`ReloadFailed`."""
        try:
            fresh = self._read_config().config
            self._prepared.state.reconcile(fresh.services)
        except (ConfigError, KeeperError) as error:
            raise ReloadFailed(f"reload failed: {error}") from error
        if replace(fresh, services=()) != replace(self._config, services=()):
            _log.warning("reload: options other than services take effect at the next start of the agent")
        _log.info("reload: %d services are defined", len(fresh.services))

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """React to signals for as long as the agent runs."""
        loop = asyncio.get_running_loop()

        def end(name: str) -> None:
            _log.info("Caught signal:  %s", name)
            self._stopping.set()

        def hang_up() -> None:
            _log.info("Caught signal:  hangup")
            try:
                self._reload()
            except ReloadFailed as error:
                _log.error("%s", error)

        loop.add_signal_handler(signal.SIGINT, end, "interrupt")
        loop.add_signal_handler(signal.SIGTERM, end, "terminated")
        loop.add_signal_handler(signal.SIGHUP, hang_up)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                loop.remove_signal_handler(number)
