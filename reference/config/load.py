"""From sources to :class:`~reference.config.model.AgentConfig`: read, merge, settle.

The order is the original's: defaults, ``-dev``, files and directories as the command line names them, flags,
``-hcl`` fragments; later sources win, lists are appended, maps are overlaid (MP-CFG-025). Services are not merged:
each is judged where it stands, and one with the same id as an earlier one replaces it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from reference.config.definition import definition_from_file
from reference.config.errors import ConfigError
from reference.config.model import AgentConfig, ServiceDefinition
from reference.config.schema import AGENT, EFFECTIVE, Kind, ListOf, MapOf, Opaque, Section
from reference.config.settle import DEFAULTS, DEV, Settings, settle
from reference.config.sources import Source, Sources, read


@dataclass(frozen=True, kw_only=True)
class LoadResult:
    """A configuration that can be used, and the names of the options in it that have no effect on this agent."""

    config: AgentConfig
    ignored: tuple[str, ...] = ()


def load(sources: Sources) -> LoadResult:
    """Read, merge and judge ``sources``; nothing is started or written. Raises :class:`ConfigError`."""
    given = tuple(read(sources))
    services: dict[str, ServiceDefinition] = {}
    for source in given:
        _refuse_checks(source)
        for definition in source.services:
            service = definition_from_file(definition, where=source.name)
            services[service.id] = service
    defaults = (
        Source("the default configuration", DEFAULTS),
        *((Source("-dev", DEV),) if sources.dev_mode else ()),
    )
    config = settle(
        _merge_all((*defaults, *given)),
        dev_mode=sources.dev_mode,
        services=tuple(services.values()),
        sources=tuple(source.name for source in given),
    )
    used = {leaf for source in given for leaf in leaves(AGENT, source.options)}
    return LoadResult(config=config, ignored=tuple(sorted(used - EFFECTIVE)))


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


def _refuse_checks(source: Source) -> None:
    if source.options.get("check") or source.options.get("checks"):
        raise ConfigError(
            source.name,
            "health checks in the configuration are not supported by this agent",
            "Remove check and checks",
        )
