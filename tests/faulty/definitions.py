"""What definitions come to: modes, permissions, and what happens when they come back."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

import reference.agent.agent as agent
import reference.agent.services as services
import reference.config.definition as definition
import reference.config.settle as settle
import reference.http.agent as endpoints
from reference.agent.folder import PersistenceError, RecordFiles
from reference.agent.services import LocalState
from reference.config.load import LoadResult
from reference.config.managed import exec_mode_problem
from reference.config.model import ManagedProxy, ServiceDefinition
from reference.supervisor.linux import _LinuxChild
from reference.supervisor.real import RealWorld
from tests.faulty import fault


@fault("custom/mode/02", "custom/mode/04")
def takes_unknown_modes_for_scripts() -> None:
    """Registers proxies with an exec_mode that it does not know, and starts none of them."""
    honest = definition.managed_proxy

    def lenient(decoded: Mapping[str, Any], where: str) -> ManagedProxy:
        unknown = exec_mode_problem(decoded.get("exec_mode", ""))
        return honest({**decoded, "exec_mode": "script"} if unknown else decoded, where)

    definition.managed_proxy = lenient


@fault("custom/mode/05")
def takes_any_default_mode() -> None:
    """Takes an unknown exec_mode in connect.proxy_defaults for daemon."""
    honest = settle.ProxyDefaults

    def lenient(*, exec_mode: str, **rest: Any) -> Any:
        return honest(exec_mode="daemon" if exec_mode_problem(exec_mode) else exec_mode, **rest)

    settle.exec_mode_problem = lambda raw: ""
    settle.ProxyDefaults = lenient  # type: ignore[assignment,misc]


@fault("stopping/deregister/09")
def drops_proxies_that_are_not_named_again() -> None:
    """Ends the managed proxy of a service that is registered again without naming it."""
    honest = LocalState.register

    def forgetful(self: LocalState, wanted: ServiceDefinition, **rest: Any) -> None:
        existing = self._proxies.get(f"{wanted.id}-proxy")
        if existing is not None and wanted.proxy is None:
            self._drop_proxy(existing)
        honest(self, wanted, **rest)

    LocalState.register = forgetful  # type: ignore[method-assign]


@fault("lifecycle/reload/07", "token/stable/02")
def derives_tokens_from_names() -> None:
    """Gives a proxy that comes back the token that it had before its service was deregistered."""
    honest, given = LocalState._define_proxy, dict[str, str]()

    def remembered(self: LocalState, proxy: ManagedProxy, registration: Any) -> None:
        made = services.new_token
        services.new_token = lambda: given.setdefault(registration.service.id, made())
        try:
            honest(self, proxy, registration)
        finally:
            services.new_token = made

    LocalState._define_proxy = remembered  # type: ignore[method-assign]


@fault("persistence/damage/01")
def stumbles_over_one_bad_file() -> None:
    """Refuses to start when one of its files cannot be understood."""

    def refuse(self: RecordFiles, path: Any, error: Exception) -> None:
        raise PersistenceError(f"{path} cannot be understood: {error}")

    RecordFiles.set_aside = refuse  # type: ignore[method-assign]


@fault("removal/version/01")
def says_that_it_is_newer() -> None:
    """Manages proxies, and says that it is a version that knows none."""
    endpoints.API_VERSION = "1.6.0"  # type: ignore[misc]


@fault("authority/disabled/01")
def makes_an_authority_uninvited() -> None:
    """Has a certificate authority though connect.enabled is false."""
    honest = agent.run

    def enabled(loaded: LoadResult, **rest: Any) -> int:
        return honest(replace(loaded, config=replace(loaded.config, connect_enabled=True)), **rest)

    agent.run = enabled


@fault("security/root/05", "security/root/06", "operations/list/03")
def refuses_root_without_a_hint() -> None:
    """Says that it starts no proxies as root, and not what would change that."""
    agent.ROOT_REFUSAL = "running as root, will not start managed proxies"  # type: ignore[misc]


_KEPT: list[subprocess.Popen[bytes]] = []


@fault("lifecycle/crash/04")
def leaves_zombies() -> None:
    """Learns how a proxy ended without collecting it."""

    def look(self: _LinuxChild) -> int:
        _KEPT.append(self._popen)  # or the next start would collect it
        found = os.waitid(os.P_PID, self._popen.pid, os.WEXITED | os.WNOWAIT)
        assert found is not None
        return -found.si_status

    _LinuxChild.wait = look  # type: ignore[method-assign]


@fault("lifecycle/crash/01", "lifecycle/crash/05")
def leads_restarted_proxies_astray() -> None:
    """Tells a proxy that it starts again to ask an agent that is not there."""
    honest, started = RealWorld._spawn, set[str]()

    def astray(self: RealWorld, command: Any) -> None:
        spec = command.spec
        if spec.proxy_id in started:
            elsewhere = {**dict(spec.environment), "CONSUL_HTTP_ADDR": "127.0.0.1:1"}
            command = replace(command, spec=replace(spec, environment=tuple(elsewhere.items())))
        started.add(spec.proxy_id)
        honest(self, command)

    RealWorld._spawn = astray  # type: ignore[method-assign]
