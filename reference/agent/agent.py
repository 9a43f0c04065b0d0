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
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import uvloop

import proxyproof
from reference.access.control import AccessControl
from reference.access.visible import VisibleCatalog
from reference.agent import log
from reference.agent.access import access_control, on_access_change, registration_rule, token_store
from reference.agent.agent_tokens import TokenStore
from reference.agent.api import Listeners, listen, serve_until
from reference.agent.check_runs import CheckSettings
from reference.agent.checks import HealthChecks
from reference.agent.environment import api_address, builtin_proxy_command, launcher, proxy_environment
from reference.agent.metrics import Metrics
from reference.agent.observers import SYNC_DELAY, CatalogFeed, ProcessFeed
from reference.agent.operations import CriticalRestarts, Operations
from reference.agent.persistence import DataDirectory, Memory, restore
from reference.agent.ports import PortsExhausted
from reference.agent.proxies import ProxyError
from reference.agent.reload import Reloader, ReloadFailed
from reference.agent.services import KeeperError, LocalState, NotAllowed, ProxySettings
from reference.agent.sockets import StartError
from reference.agent.statsd import Statsd
from reference.agent.supervision import managed_proxies
from reference.catalog.documents import (
    Documents,
    MemoryDocuments,
    SqliteDocuments,
    StorageError,
    open_or_set_aside,
)
from reference.catalog.index import IndexClock
from reference.catalog.model import Node, agent_node
from reference.catalog.register import CatalogRegister
from reference.catalog.store import Catalog
from reference.catalog.watch import Watch
from reference.config.load import LoadResult
from reference.dns import server as dns_server
from reference.http.app import create_app
from reference.http.backend import Backend
from reference.http.metrics import counters, gauges
from reference.mesh.authority_config import ConfigurationRefused
from reference.mesh.intentions_register import IntentionRegister
from reference.mesh.mesh import Mesh
from reference.mesh.storage import ForgetfulStorage, SqliteStorage
from reference.query.execution import Executor
from reference.query.register import QueryRegister

_log = logging.getLogger("agent")
_proxy_log = logging.getLogger("agent/proxy")

ROOT_REFUSAL = (
    "running as root, will not start managed proxies: run the agent as another user, "
    "or set connect.proxy.allow_managed_root = true"
)
NO_API_REFUSAL = "the HTTP API is off, and managed proxies cannot do without it: set ports.http"

Reload = Callable[[], LoadResult]


def run(loaded: LoadResult, *, reload: Reload) -> int:
    """Run an agent until it is told to end; returns its exit code.

    ``reload`` reads the configuration again and raises :class:`~reference.config.errors.ConfigError`. What keeps the
    agent from starting is one sentence on stderr, and exit code 1.
    """
    config = loaded.config
    agent = Agent(loaded, reload=reload)
    try:
        log.set_up(config.log_level, config.log)
        print("==> Starting proxyproof agent...", flush=True)
        with agent.prepared(), _pid_file(config.pid_file):
            print(agent.banner(), flush=True)
            for option in loaded.ignored:
                _log.info("option %s has no effect on this agent", option)
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(agent.serve())
    except (StartError, KeeperError, StorageError) as error:
        print(f"==> Error starting agent: {error}", file=sys.stderr, flush=True)
        return 1
    return 0


@contextlib.contextmanager
def _pid_file(path: Path | None) -> Iterator[None]:
    """Have the pid of the agent in a file for as long as it runs. Raises :class:`StartError`."""
    if path is None:
        yield
        return
    try:
        path.write_text(str(os.getpid()))
    except OSError as error:
        raise StartError(
            f"Could not write pid file {path}: {error.strerror}; correct pid_file or its directory"
        ) from error
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


class Stores(msgspec.Struct, frozen=True, kw_only=True):
    """What outlives the agent besides its own services: see :mod:`reference.catalog.documents`."""

    rules: Documents
    state: Documents


class _Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """What is there before anything runs."""

    listeners: Listeners
    dns: tuple[dns_server.Sockets, ...]
    directory: DataDirectory | None
    state: LocalState
    access: AccessControl
    tokens: TokenStore
    node: Node
    mesh: Mesh | None
    intentions: IntentionRegister
    queries: QueryRegister
    stores: Stores


class Agent:
    """One agent: ``with agent.prepared(): await agent.serve()``."""

    def __init__(self, loaded: LoadResult, *, reload: Reload) -> None:
        self._loaded = loaded
        self._config = loaded.config
        self._read_config = reload
        self._index = IndexClock()
        self._watch = Watch()
        self._stopping = asyncio.Event()
        self._metrics = Metrics(loaded.config.telemetry)
        self._prepared: _Prepared

    @contextlib.contextmanager
    def prepared(self) -> Iterator[None]:
        """Claim the ports and the data directory and work out the local state, without starting anything.

        Raises :class:`StartError`, :class:`KeeperError` and :class:`StorageError`.
        """
        config = self._config
        with contextlib.ExitStack() as claims:
            listeners = listen(config, claims)
            dns = dns_server.listen(config, claims)
            directory = None
            if config.data_dir is not None:
                directory = DataDirectory(config.data_dir, node=config.node_name)
                directory.open()
                claims.callback(directory.close)
            stores = self._stores(claims)
            state = self._local_state(Memory() if directory is None else directory.load())
            tokens = token_store(config.access, directory=config.data_dir)
            access = access_control(
                config, stores.rules, index=self._index, watch=self._watch, tokens=tokens, grant=state.grant
            )
            self._prepared = _Prepared(
                listeners=listeners,
                dns=dns,
                directory=directory,
                state=state,
                access=access,
                tokens=tokens,
                node=agent_node(
                    id=config.node_id or (str(uuid.uuid4()) if directory is None else directory.node_id()),
                    name=config.node_name,
                    address=config.advertise_addr,
                    datacenter=config.datacenter,
                    wan=config.advertise_addr_wan,
                    meta=config.node_meta,
                ),
                mesh=self._mesh() if config.connect_enabled else None,
                intentions=IntentionRegister(stores.rules, index=self._index, watch=self._watch),
                queries=QueryRegister(stores.state, index=self._index, watch=self._watch),
                stores=stores,
            )
            yield

    def banner(self) -> str:
        """What is in effect, for whoever started the agent."""
        config, node = self._config, self._prepared.node
        default = "allowed" if self._prepared.access.allows_by_default else "denied"
        lines = {
            "Version": f"'{proxyproof.__version__}'",
            "Node ID": f"'{node.id}'",
            "Node name": f"'{node.name}'",
            "Datacenter": f"'{node.datacenter}'",
            "Client Addr": (
                f"{' '.join(config.client_addrs)} (HTTP: {config.http_port}, HTTPS: {config.https_port}, "
                f"DNS: {config.dns_port})"
            ),
            "Node Addr": f"{node.address} (proxies bind to {config.bind_addr})",
            "Data dir": str(config.data_dir or "none: nothing is stored, proxies end with the agent"),
            "Proxy ports": f"{config.proxy_min_port} to {config.proxy_max_port}",
            "Connect": f"enabled, access is {default} by default" if config.connect_enabled else "disabled",
            "ACLs": "enabled" if config.access.enabled else "disabled",
        }
        shown = "\n".join(f"{name:>18}: {value}" for name, value in lines.items())
        return f"==> proxyproof agent running!\n{shown}\n\n==> Log data will now stream in as it occurs:\n"

    async def serve(self) -> None:
        """Run until told to end. Raises :class:`KeeperError` when the state cannot be stored at the start."""
        config, prepared = self._config, self._prepared
        state, directory = prepared.state, prepared.directory
        reloader = Reloader(
            read=self._read_config,
            current=self._loaded,
            state=state,
            tokens=prepared.tokens,
            listeners=prepared.listeners,
        )
        with self._signals(reloader):
            catalog = Catalog(prepared.node, clock=self._index, watch=self._watch)
            refusal = self._refusal()
            feed = CatalogFeed(
                catalog,
                prepared.node,
                services=state.services,
                results=lambda: checks.records(),
                may_show=registration_rule(prepared.access, state.token_of),
            )
            on_access_change(prepared.access, prepared.tokens, feed.sync)
            checks = HealthChecks(
                state,
                board=feed,
                settings=self._check_settings(refusal),
                memory=None if directory is None else directory.checks,
                elsewhere=catalog.checks_on,
                changed=lambda seconds: self._watch.wait("checks", seconds=seconds),
            )
            proxies = managed_proxies(
                config,
                agent_id=prepared.node.id,
                refusal=refusal,
                on_change=lambda proxy_id, status: operations.heard(proxy_id, status),
            )
            operations = Operations(proxies, state=state, checks=checks, watch=self._watch, config=config)
            impatience = CriticalRestarts(proxies, checks, after=config.supervision.restart_critical_after)
            if directory is not None:
                directory.keep(state)
            state.attach(feed)
            state.attach(checks)
            state.checks.attach(checks)
            executor = Executor(prepared.queries, catalog, access=prepared.access, agent=prepared.node.name)
            backend = Backend(
                config=config,
                node=prepared.node,
                state=state,
                checks=checks,
                catalog=catalog,
                registered=CatalogRegister(
                    catalog,
                    prepared.stores.state,
                    on_local_change=lambda: _soon(feed.sync, seconds=SYNC_DELAY),
                ),
                index=self._index,
                watch=self._watch,
                mesh=prepared.mesh,
                intentions=prepared.intentions,
                queries=prepared.queries,
                executor=executor,
                access=prepared.access,
                tokens=prepared.tokens,
                operations=operations,
                metrics=self._metrics,
                reload=reloader.reload,
                leave=self._stopping.set,
            )
            statsd = Statsd(
                config.telemetry,
                self._metrics,
                gauges=lambda: gauges(backend),
                counters=lambda: counters(backend),
            )
            await proxies.start()
            environment = proxy_environment(config, os.environ)
            state.attach(ProcessFeed(proxies, environment=environment, launcher=launcher()))
            proxies.settle()
            impatience.start()
            statsd.start()
            try:
                app = create_app(backend)
                responder = dns_server.AtFirstQuery(lambda: self._responder(catalog, executor))
                async with dns_server.serving(responder, prepared.dns):
                    await serve_until(self._stopping, app, prepared.listeners, ending=self._end_readers)
            finally:
                impatience.close()
                await checks.close()
                await statsd.close()
                take_along = config.data_dir is None
                if take_along:
                    _log.warning(
                        "dev mode disabled persistence, killing all proxies since we can't recover them"
                    )
                await proxies.shut_down(stop=take_along)
        _log.info("agent ended")

    def _end_readers(self) -> None:
        """Who waits for a change or follows the log must not hold up the end."""
        self._watch.close()
        log.feed.end()

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
                sidecar_min_port=config.sidecar_min_port,
                sidecar_max_port=config.sidecar_max_port,
                enable_script_checks=config.enable_script_checks,
            ),
            watch=self._watch,
            remembered=memory.remembered,
        )
        for definition in config.services:
            try:
                state.register(definition, from_file=True)
            except (ProxyError, PortsExhausted) as error:
                raise StartError(f"failed adding proxy: {error}") from error
            except NotAllowed as error:
                raise StartError(f"failed adding service: {error}") from error
        for check in config.checks:
            try:
                state.register_check(check, token=check.token, from_file=True)
            except NotAllowed as error:
                raise StartError(f"Failed to register check '{check.name or check.id}': {error}") from error
        for problem in restore(state, memory):
            _log.error("%s", problem)
        state.settle()
        return state

    def _check_settings(self, refusal: str | None) -> CheckSettings:
        config = self._config
        return CheckSettings(
            node=config.node_name,
            proxy_notes=refusal or "",
            output_delay=config.check_update_interval,
            discard_output=config.discard_check_output,
            reap_interval=config.check_reap_interval,
            reap_after_min=config.check_deregister_interval_min,
        )

    def _mesh(self) -> Mesh:
        config, directory = self._config, self._mesh_dir()
        mesh = Mesh(
            ForgetfulStorage() if directory is None else SqliteStorage(directory / "authority.sqlite3"),
            datacenter=config.datacenter,
            index=self._index,
            watch=self._watch,
            wanted=config.authority,
        )
        try:
            mesh.prepare()
        except ConfigurationRefused as error:
            raise StartError(f"connect.ca_config.{error.option}: {error}") from error
        return mesh

    def _stores(self, claims: contextlib.ExitStack) -> Stores:
        directory = self._mesh_dir()
        if directory is None:
            return Stores(rules=MemoryDocuments(), state=MemoryDocuments())
        rules = SqliteDocuments(directory / "rules.sqlite3", holds="the rules")
        claims.callback(rules.close)
        state = open_or_set_aside(directory / "state.sqlite3", holds="the registered state")
        claims.callback(state.close)
        return Stores(rules=rules, state=state)

    def _mesh_dir(self) -> Path | None:
        """Where authority, rules and state are kept; None with ``-dev``, which forgets them (MP-CA-013)."""
        return None if self._config.dev_mode else self._config.data_dir

    def _responder(self, catalog: Catalog, queries: Executor) -> dns_server.Responder:
        from reference.dns.message import Responder  # a tenth of the start, and only for whoever asks
        from reference.dns.zone import Zone

        options = self._config.dns
        access = self._prepared.access
        seen = VisibleCatalog(catalog, lambda: access.of_service(""))
        node = self._prepared.node
        zone = Zone(seen, queries, options, datacenter=node.datacenter, node=node.name)
        return Responder(zone, options)

    def _refusal(self) -> str | None:
        """Why no managed proxy may be started, if so (MP-ROOT-001, MP-ENV-005)."""
        if api_address(self._config) is None:
            _log.info("Connect managed proxies are disabled due to providing an invalid HTTP configuration")
            return NO_API_REFUSAL
        if os.geteuid() == 0 and not self._config.allow_managed_root:
            _proxy_log.warning(ROOT_REFUSAL)
            return ROOT_REFUSAL
        return None

    @contextlib.contextmanager
    def _signals(self, reloader: Reloader) -> Iterator[None]:
        """React to signals for as long as the agent runs."""
        loop = asyncio.get_running_loop()

        def end(name: str) -> None:
            _log.info("Caught signal:  %s", name)
            self._stopping.set()

        def hang_up() -> None:
            _log.info("Caught signal:  hangup")
            try:
                reloader.reload()
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


def _soon(action: Callable[[], None], *, seconds: float) -> None:
    asyncio.get_running_loop().call_later(seconds, action)
