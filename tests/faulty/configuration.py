"""What service definitions and options mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from reference.agent import proxies
from reference.agent.observers import ProcessFeed
from reference.agent.proxies import Managed
from reference.catalog.model import Service
from reference.config import definition, listen, managed, settle, sources
from reference.config.decode import Decoder
from reference.config.kinds import ListOf, Scalar
from reference.config.model import ManagedProxy, ProxyDefaults
from reference.config.settings import Settings
from reference.http import connect, wire
from tests.faulty import fault


@fault("configuration/defaults/01", "configuration/defaults/02")
def ignores_the_default_command() -> None:
    """Takes ``connect.proxy_defaults`` with a command, and starts its built-in proxy all the same."""
    honest = settle._proxy_defaults

    def without_command(settings: Settings) -> ProxyDefaults:
        return replace(honest(settings), daemon_command=())

    settle._proxy_defaults = without_command


@fault("configuration/defaults/03")
def prefers_the_default_command() -> None:
    """Runs the default command of the agent also where the service has one of its own."""
    honest = proxies.complete

    def turned(proxy: ManagedProxy, *, defaults: ProxyDefaults, command: tuple[str, ...]) -> ManagedProxy:
        given = defaults.daemon_command or proxy.command
        return honest(replace(proxy, command=given), defaults=defaults, command=command)

    proxies.complete = turned


@fault("configuration/defaults/04")
def prefers_the_default_config() -> None:
    """Merges the default config of the agent over that of the service."""
    honest = proxies.effective_config

    def turned(known: Managed, *, defaults: Mapping[str, Any], **rest: Any) -> dict[str, Any]:
        config = {**known.proxy.config, **defaults}
        merged = replace(known, proxy=replace(known.proxy, config=config))
        return honest(merged, defaults={}, **rest)

    proxies.effective_config = turned


@fault("configuration/errors/01")
def takes_unknown_keys() -> None:
    """Leaves out what it does not know of a service definition, and says nothing."""
    honest = Decoder._section

    def lenient(self: Decoder, *arguments: Any) -> dict[str, Any]:
        return honest(replace(self, strict=False), *arguments)

    Decoder._section = lenient  # type: ignore[method-assign]


@fault("configuration/errors/02", "configuration/errors/04")
def takes_impossible_proxies() -> None:
    """Takes managed proxies of services that have no port, or are Connect-native."""
    definition.check_managed = lambda *arguments: None


@fault("configuration/errors/03")
def splits_commands() -> None:
    """Takes a command that is one string, and splits it at blanks."""
    honest = Decoder.decode

    def guessing(self: Decoder, kind: Any, value: Any, path: str = "") -> Any:
        if isinstance(kind, ListOf) and kind.item is Scalar.STRING and isinstance(value, str):
            value = value.split()
        return honest(self, kind, value, path)

    Decoder.decode = guessing  # type: ignore[method-assign]


@fault("configuration/format/01")
def reads_one_upstream_of_hcl() -> None:
    """Reads the last of several upstreams in HCL, and none of those before it."""
    honest = sources._PARSERS[".hcl"]

    def shortened(value: Any) -> Any:
        if isinstance(value, dict):
            short = {key: each[-1:] if key == "upstreams" else each for key, each in value.items()}
            return type(value)({key: shortened(each) for key, each in short.items()})
        return type(value)(map(shortened, value)) if isinstance(value, list) else value

    def one(text: str) -> Any:
        return shortened(honest(text))

    sources._PARSERS = {**sources._PARSERS, ".hcl": one}


@fault("configuration/legacy/01", "query/config/01")
def forgets_legacy_upstreams() -> None:
    """Leaves out upstreams that are given in the old place."""
    managed._legacy_upstreams = lambda raw: ()


@fault("configuration/legacy/02")
def merges_legacy_upstreams() -> None:
    """Takes upstreams from the old place and the new one together."""
    honest = definition.managed_proxy

    def both(decoded: Mapping[str, Any], where: str) -> ManagedProxy:
        proxy = honest(decoded, where)
        if not decoded.get("upstreams"):
            return proxy
        legacy = managed._legacy_upstreams(decoded.get("config", {}).get("upstreams"))
        return replace(proxy, upstreams=(*proxy.upstreams, *legacy))

    definition.managed_proxy = both


@fault("configuration/minimal/01", "discovery/agent/01")
def registers_proxies_without_kind() -> None:
    """Registers managed proxies as services of no kind."""
    honest = wire.agent_service

    def kindless(service: Service, known: Managed | None) -> wire.AgentService:
        view = honest(service, known)
        return msgspec.structs.replace(view, kind="")

    wire.agent_service = kindless


@fault("configuration/minimal/02")
def takes_null_for_a_proxy() -> None:
    """Gives a service a managed proxy where ``connect.proxy`` is null."""
    honest = Decoder.decode

    def something(self: Decoder, kind: Any, value: Any, path: str = "") -> Any:
        if isinstance(value, dict) and value.get("proxy", value) is None:
            value = {**value, "proxy": {}}
        return honest(self, kind, value, path)

    Decoder.decode = something  # type: ignore[method-assign]


@fault("configuration/minimal/03")
def hides_its_default_command() -> None:
    """Does not say what its default command is."""
    honest = connect._config_view

    def hiding(call: Any, proxy_id: str) -> tuple[wire.ProxyConfig, str]:
        view, content_hash = honest(call, proxy_id)
        known = call.backend.state.proxy(proxy_id)
        if known is not None and not known.own_command:
            view = msgspec.structs.replace(view, command=("builtin",))
        return view, content_hash

    connect._config_view = hiding


@fault("configuration/service/01")
def runs_one_command_for_all() -> None:
    """Starts the command of the first proxy that was defined for each other one, too."""
    honest = ProcessFeed.proxy_put
    first: list[tuple[str, ...]] = []

    def alike(self: ProcessFeed, known: Managed) -> None:
        first.append(known.proxy.command)
        honest(self, replace(known, proxy=replace(known.proxy, command=first[0]), own_command=True))

    ProcessFeed.proxy_put = alike  # type: ignore[method-assign]


@fault("configuration/upstreams/01", "configuration/legacy/01")
def keeps_datacenters_to_itself() -> None:
    """Does not tell its proxies in which datacenter their upstreams are."""
    honest = wire.upstream

    def anywhere(value: Any) -> wire.UpstreamView:
        return honest(replace(value, datacenter=""))

    wire.upstream = anywhere


@fault("custom/mode/01")
def runs_no_daemon_by_name() -> None:
    """Runs the command of a proxy unless it is told in so many words to do that as a daemon."""
    honest = definition.managed_proxy

    def turned(decoded: Mapping[str, Any], where: str) -> ManagedProxy:
        proxy = honest(decoded, where)
        return replace(proxy, exec_mode="script") if proxy.exec_mode else proxy

    definition.managed_proxy = turned


@fault("custom/mode/02", "custom/mode/04")
def takes_any_mode() -> None:
    """Takes any word that it does not know for the exec_mode script."""
    honest = definition.managed_proxy

    def lenient(decoded: Mapping[str, Any], where: str) -> ManagedProxy:
        mode = decoded.get("exec_mode", "")
        known = "script" if managed.exec_mode_problem(mode) else mode
        return honest({**decoded, "exec_mode": known}, where)

    definition.managed_proxy = lenient


@fault("custom/mode/03")
def runs_scripts_as_daemons() -> None:
    """Runs a proxy of mode script as if that were daemon."""
    honest = ProcessFeed.proxy_put

    def running(self: ProcessFeed, known: Managed) -> None:
        honest(self, replace(known, proxy=replace(known.proxy, exec_mode="daemon")))

    ProcessFeed.proxy_put = running  # type: ignore[method-assign]


@fault("custom/config/01")
def lowers_keys_of_config() -> None:
    """Passes the config of a proxy on with its keys in lower case."""
    honest = proxies.effective_config

    def lowered(known: Managed, **rest: Any) -> dict[str, Any]:
        return {key.lower(): value for key, value in honest(known, **rest).items()}

    proxies.effective_config = lowered


@fault("custom/config/02", "integration/config/01")
def tells_nothing_without_config() -> None:
    """Tells a custom proxy that has no config of its own nothing at all."""
    honest = connect._config_view

    def silent(call: Any, proxy_id: str) -> tuple[wire.ProxyConfig, str]:
        view, content_hash = honest(call, proxy_id)
        known = call.backend.state.proxy(proxy_id)
        if known is not None and known.own_command and not known.proxy.config:
            view = msgspec.structs.replace(view, config={})
        return view, content_hash

    connect._config_view = silent


@fault("ports/range/04")
def takes_a_range_upside_down() -> None:
    """Takes a range of ports that ends before it begins, and turns it round."""

    def turned(settings: Settings, kind: str) -> tuple[int, int]:
        low, high = sorted(listen.port(settings, f"ports.{kind}_{end}_port") for end in ("min", "max"))
        return low, high

    setattr(settle.listen, "port_range", turned)  # noqa: B010
