"""From sources to :class:`~reference.config.model.AgentConfig`: read, merge, settle.

The order is the original's: defaults, ``-dev``, files and directories as the command line names them, flags,
``-hcl`` fragments; later sources win, lists are appended, maps are overlaid (MP-CFG-025). Services are not merged:
each is judged where it stands, and one with the same id as an earlier one replaces it; so it is with checks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from reference.config import access
from reference.config.checks import CheckDefinition, CheckKind
from reference.config.definition import check_from_file, definition_from_file
from reference.config.errors import ConfigError
from reference.config.kinds import Kind, ListOf, MapOf, Opaque, Section
from reference.config.model import AgentConfig, ServiceDefinition
from reference.config.schema import AGENT, EFFECTIVE
from reference.config.settings import Settings
from reference.config.settle import DEFAULTS, DEV, settle
from reference.config.sources import Source, Sources, read
from reference.secretive import Secretive


class LoadResult(Secretive, frozen=True, kw_only=True):
    """A configuration that can be used, and the names of the options in it that have no effect on this agent.

    ``options`` are all that are set, by their dotted names, so that two configurations can be compared.
    """

    UNSHOWN = frozenset({"options"})

    config: AgentConfig
    ignored: tuple[str, ...] = ()
    options: Mapping[str, Any] = msgspec.field(default_factory=dict)


def load(sources: Sources) -> LoadResult:
    """Read, merge and judge ``sources``; nothing is started or written. Raises :class:`ConfigError`."""
    given = tuple(read(sources))
    services: dict[str, ServiceDefinition] = {}
    checks: dict[str, CheckDefinition] = {}
    #: Where the services and checks are from, by what errors call them.
    origins: dict[str, str] = {}
    for source in given:
        for definition in source.services:
            service = definition_from_file(definition, where=source.name)
            services[service.id] = service
            origins[f'service "{service.id}"'] = source.name
        for definition in source.checks:
            check = check_from_file(definition, where=source.name)
            checks[check.id or check.name] = check
            origins[f'check "{check.id or check.name}"'] = source.name
    defaults = (
        Source("the default configuration", DEFAULTS),
        *((Source("-dev", DEV),) if sources.dev_mode else ()),
    )
    settings = _merge_all((*defaults, *given))
    config = settle(
        settings,
        dev_mode=sources.dev_mode,
        services=tuple(services.values()),
        checks=tuple(checks.values()),
        sources=tuple(source.name for source in given),
    )
    _check_scripts(config, origins)
    used = {leaf for source in given for leaf in leaves(AGENT, source.options)}
    ignored = used - EFFECTIVE - access.EFFECTIVE
    if not config.access.enabled:
        ignored |= access.without_effect(used)
    options = {name: settings.get(name) for name in leaves(AGENT, settings.options)}
    return LoadResult(config=config, ignored=tuple(sorted(ignored)), options=options)


def merge(kind: Kind, earlier: Any, later: Any) -> Any:
    """Two values of one type as one: sections key by key, maps overlaid, lists appended, else the later."""
    match kind:
        case Section(keys):
            both = {key: merge(keys[key], earlier[key], later[key]) for key in earlier.keys() & later.keys()}
            return {**earlier, **later, **both}
        case MapOf() | Opaque():
            return {**earlier, **later}
        case ListOf():
            return [*earlier, *later]
        case _:
            return later


def leaves(section: Section, options: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """The dotted names of all options that are set, such as ``ports.http``; maps and lists count as one."""
    for key, value in options.items():
        kind = section.keys[key]
        if isinstance(kind, Section):
            yield from leaves(kind, value, f"{prefix}{key}.")
        else:
            yield prefix + key


def _merge_all(sources: tuple[Source, ...]) -> Settings:
    merged: Mapping[str, Any] = {}
    origins: dict[str, str] = {}
    for source in sources:
        merged = merge(AGENT, merged, source.options)
        origins |= dict.fromkeys(leaves(AGENT, source.options), source.name)
    return Settings(merged, origins)


def _check_scripts(config: AgentConfig, origins: Mapping[str, str]) -> None:
    """Programs run only where somebody said so."""
    if config.enable_local_script_checks:
        return
    owners: dict[str, tuple[CheckDefinition, ...]] = {
        f'check "{check.id or check.name}"': (check,) for check in config.checks
    }
    for service in config.services:
        sidecar = () if service.sidecar is None else service.sidecar.checks
        owners[f'service "{service.id}"'] = (*service.checks, *sidecar)
    for owner, checks in owners.items():
        if any(check.kind is CheckKind.SCRIPT for check in checks):
            raise ConfigError(
                f"{origins[owner]}: {owner}",
                "Scripts are disabled on this agent",
                "To enable, configure 'enable_script_checks' or 'enable_local_script_checks' to true",
            )
