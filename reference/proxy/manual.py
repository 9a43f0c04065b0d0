"""A proxy that nobody but its command line describes: ``-service``, ``-listen``, ``-upstream`` and their like. Pure.

Texts and the order of what is checked are the original's (MP-CLI-004 to MP-CLI-006).
"""

from __future__ import annotations

import re

from reference.proxy.config import PREPARED_QUERY, ProxyConfig, Public, Upstream, add
from reference.proxy.endpoints import (
    UNIX,
    Address,
    ConfigError,
    Endpoint,
    SocketPath,
    parse_endpoint,
    socket_path,
)
from reference.proxy.flags import Flags, SettingsError

_KINDS = {"": "service", "service": "service", "query": PREPARED_QUERY}


def config(flags: Flags) -> ProxyConfig:
    """What the flags describe; :class:`SettingsError` when that makes no sense."""
    try:
        named = [upstream(value, datacenter=flags.get("datacenter")) for value in flags.upstreams]
        found: dict[Endpoint, Upstream] = {}
        for one in sorted(named, key=lambda one: one.name):
            add(one, found)
        return ProxyConfig(
            service=flags.get("service"), public=_public(flags), upstreams=tuple(found.values())
        )
    except ValueError as problem:
        raise SettingsError(f"Error preparing configuration: {problem}") from None


def upstream(value: str, *, datacenter: str = "") -> Upstream:
    """Read ``name[.service|.query]:[address:]port`` or ``name:unix:///path``; :class:`ValueError` otherwise."""
    name, colon, where = value.partition(":")
    if not colon:
        raise ValueError(f'Upstream value should be name:addr in "{value}"')
    name, _, kind = name.partition(".")
    if kind not in _KINDS:
        raise ValueError(f"Upstream type must be blank, 'service', or 'query'. Got: \"{kind}\"")
    if not name:
        raise ValueError("the name of the upstream is missing")
    return Upstream(bind=_bind(where), name=name, kind=_KINDS[kind], datacenter=datacenter)


def described(proxy: ProxyConfig) -> str:
    """What it will do, in the lines that the original shows."""
    lines = [("Configuration mode", "Flags"), ("Service", proxy.service)]
    lines += [("Upstream", f"{one.name} => {one.bind}") for one in proxy.upstreams]
    public = proxy.public
    lines.append(
        ("Public listener", "Disabled" if public is None else f"{public.bind} => {public.application}")
    )
    return "\n".join(f"    {name:>18}: {value}" for name, value in lines)


def _bind(where: str) -> Endpoint:
    if where.startswith(UNIX):
        return socket_path(where.removeprefix(UNIX), "-upstream")
    if re.fullmatch(r"\d+", where, re.ASCII):
        where = f"127.0.0.1:{where}"
    return parse_endpoint(where, "-upstream")


def _public(flags: Flags) -> Public | None:
    listen = flags.get("listen")
    if not listen:
        return None
    bind = _listen(listen)
    if not flags.get("service-addr"):
        raise ConfigError(
            "-service-addr must be specified with -listen so the proxy knows the backend service address."
        )
    return Public(bind=bind, application=parse_endpoint(flags.get("service-addr"), "-service-addr"))


def _listen(text: str) -> Endpoint:
    if not text.startswith(UNIX) and ":" not in text:
        raise ConfigError(f"address {text}: missing port in address")
    # Without a host it is every address; the same text after -service-addr means loopback.
    return parse_endpoint(f"0.0.0.0{text}" if text.startswith(":") else text, "-listen")  # noqa: S104


def registered_at(proxy: ProxyConfig) -> Address:
    """The address to register; :class:`SettingsError` when there is none that others could connect to."""
    if proxy.public is None:
        raise SettingsError(
            "Failed initializing registration: -register may only be specified with -service and -listen"
        )
    if isinstance(proxy.public.bind, SocketPath):
        raise SettingsError(
            "Failed initializing registration: a unix socket cannot be registered, others need host:port"
        )
    return proxy.public.bind
