"""``connect.proxy`` of a service definition: from checked data to :class:`~reference.config.model.ManagedProxy`.

Legacy upstreams inside ``config`` are moved to where they belong (MP-CFG-013 to MP-CFG-015).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from reference.config.decode import Decoder
from reference.config.errors import ConfigError
from reference.config.model import ExecMode, ManagedProxy, Opaque, ServiceDefinition, Upstream
from reference.config.service_tables import LEGACY_UPSTREAM

MAX_PORT = 65535
PREPARED_QUERY = "prepared_query"
_WHERE = "connect.proxy"


def managed_bind_port(config: Opaque) -> int | None:
    """The port that ``config.bind_port`` of a managed proxy fixes, ``None`` when it leaves the choice (MP-PORT-002).

    Raises :class:`ValueError` with the original's text when it is neither a number nor numeric text (MP-PORT-003).
    """
    raw = config.get("bind_port")
    if raw is None:
        return None
    if isinstance(raw, str):
        if not re.fullmatch(r"[+-]?[0-9]{1,18}", raw):
            quoted = raw.replace('"', '\\"')
            raise ValueError(
                f"cannot parse 'bind_port' as int: strconv.ParseInt: parsing \"{quoted}\": invalid syntax"
            )
        return int(raw)
    if isinstance(raw, bool) or not (isinstance(raw, int) or (isinstance(raw, float) and raw.is_integer())):
        raise ValueError("cannot parse 'bind_port' as int: it is not a whole number")
    return int(raw)


def exec_mode_problem(raw: str) -> str:
    """What is wrong with ``exec_mode``, or nothing: empty, ``daemon`` and ``script`` are right (MP-CFG-007)."""
    return "" if raw in ("", *ExecMode) else f"invalid exec mode: {raw}"


def managed_proxy(decoded: Mapping[str, Any], where: str) -> ManagedProxy:
    """The managed proxy that ``connect.proxy`` defines. Raises :class:`ConfigError`."""
    problem = exec_mode_problem(decoded.get("exec_mode", ""))
    if problem:
        raise ConfigError(where, problem, 'Use "daemon"')
    config = dict(decoded.get("config", {}))
    legacy = config.pop("upstreams", None)
    upstreams = tuple(upstream(each) for each in decoded.get("upstreams", ()))
    return ManagedProxy(
        exec_mode=decoded.get("exec_mode", ""),
        command=tuple(decoded.get("command", ())),
        config=config,
        upstreams=upstreams or _legacy_upstreams(legacy),
    )


def upstream(decoded: Mapping[str, Any]) -> Upstream:
    """A first-class upstream; nothing in it is judged (MP-CFG-012), only the type is filled in (MP-CFG-011)."""
    given = Upstream(**decoded)
    return given if given.destination_type else replace(given, destination_type="service")


def _legacy_upstreams(raw: Any) -> tuple[Upstream, ...]:
    """The upstreams of ``config.upstreams``; one that cannot be decoded is skipped (MP-CFG-015)."""
    # A single block of HCL has become an object.
    entries = [raw] if isinstance(raw, dict) else raw if isinstance(raw, list) else []
    entries = [entry for entry in entries if isinstance(entry, dict)]
    upstreams = []
    decoder = Decoder(_WHERE, str.lower, strict=False)
    for entry in entries:
        try:
            known = decoder.decode(LEGACY_UPSTREAM, entry)
        except ConfigError:
            continue
        datacenter = known.pop("destination_datacenter", "")
        prepared = known.pop("destination_type", "") == PREPARED_QUERY
        rest = {key: value for key, value in entry.items() if key.lower() not in LEGACY_UPSTREAM.keys}
        upstreams.append(
            Upstream(
                **known,
                destination_type=PREPARED_QUERY if prepared else "service",
                datacenter=datacenter,
                config=rest,
            )
        )
    return tuple(upstreams)


def check_managed(service: ServiceDefinition, proxy: ManagedProxy, where: str) -> None:
    """What a file must get right beyond its types, so that its managed proxy can run."""
    if service.native:
        raise ConfigError(
            where,
            "Services that are Connect native may not have a proxy configuration",
            "Remove connect.native or connect.proxy",
        )
    if service.port == 0:
        raise ConfigError(
            where,
            "Services with a Connect managed proxy must have a port set",
            "Set port to where the application listens",
        )
    try:
        port = managed_bind_port(proxy.config)
    except ValueError as error:
        raise ConfigError(
            where, f"connect.proxy.config: {error}", "Give a port number or remove it"
        ) from None
    if port is not None and not 0 <= port <= MAX_PORT:
        raise ConfigError(
            where,
            f"connect.proxy.config.bind_port: invalid port: {port}",
            f"Give a port from 1 to {MAX_PORT}",
        )
