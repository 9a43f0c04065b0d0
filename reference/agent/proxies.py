"""What a managed proxy is, worked out from its definition, its service and the agent's defaults. Pure.

Rules: sections CFG, PORT, CAT and INT of the requirements.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from reference.catalog.model import Service
from reference.config.managed import MAX_PORT, managed_bind_port
from reference.config.model import (
    CONNECT_PROXY,
    MANAGED_PROXY_SUFFIX,
    Destination,
    ExecMode,
    ManagedProxy,
    Opaque,
    ProxyDefaults,
)
from reference.secretive import Secretive

_DIALABLE_NOT = ("", "0.0.0.0", "[::]", "::")  # noqa: S104 (compared, not bound)


class ProxyError(Exception):
    """A managed proxy cannot be set up as defined; the text is for the user."""


class Managed(Secretive, frozen=True, kw_only=True):
    """A managed proxy as the agent keeps it.

    ``proxy`` is complete: mode, command and upstream types are filled in. ``own_command`` tells whether the
    command was given; otherwise it follows the agent, also over an upgrade that moves its executable.
    """

    UNSHOWN = frozenset({"token"})

    proxy: ManagedProxy
    service: Service
    target_id: str
    token: str
    from_file: bool
    own_command: bool


def proxy_id(service_id: str) -> str:
    """The id of the managed proxy of a service (MP-CAT-001)."""
    return service_id + MANAGED_PROXY_SUFFIX


def complete(proxy: ManagedProxy, *, defaults: ProxyDefaults, command: tuple[str, ...]) -> ManagedProxy:
    """Fill in what the definition leaves open; ``command`` is the built-in proxy's (MP-CFG-017, MP-CFG-022)."""
    return replace(
        proxy,
        exec_mode=proxy.exec_mode or defaults.exec_mode or str(ExecMode.DAEMON),
        command=proxy.command or defaults.daemon_command or command,
        upstreams=tuple(
            replace(upstream, destination_type=upstream.destination_type or "service")
            for upstream in proxy.upstreams
        ),
    )


def configured_port(config: Opaque) -> int:
    """``bind_port`` of a proxy's config, 0 when the agent is to choose (MP-PORT-002).

    Raises :class:`ProxyError` for what is no port, with the original's text (MP-PORT-003).
    """
    try:
        port = managed_bind_port(config) or 0
    except ValueError as error:
        raise ProxyError(str(error)) from error
    if not 0 <= port <= MAX_PORT:
        raise ProxyError(f"bind_port: invalid port: {port}")
    return port


def _text(config: Opaque, key: str) -> str:
    value = config.get(key)
    return value if isinstance(value, str) else ""


def proxy_service(target: Service, proxy: ManagedProxy, *, port: int) -> Service:
    """The record under which the proxy is found (MP-CAT-001 to MP-CAT-003), with its upstreams, as the document says.

    Its config is the proxy's own: defaults of the agent do not reach the record (MP-PORT-011). The port of the
    application is the one in ``local_service_address`` where that names one.
    """
    config = proxy.config
    host, _, local_port = _text(config, "local_service_address").rpartition(":")
    if not local_port.isdecimal():
        host, local_port = _text(config, "local_service_address"), ""
    return Service(
        kind=CONNECT_PROXY,
        id=proxy_id(target.id),
        name=target.name + MANAGED_PROXY_SUFFIX,
        address=_text(config, "bind_address"),
        port=port,
        destination=Destination(
            service_name=target.name,
            local_address=host,
            local_port=int(local_port or 0) or target.port,
            upstreams=proxy.upstreams,
        ),
    )


def effective_config(
    managed: Managed, *, target: Service, defaults: Opaque, bind_addr: str
) -> dict[str, Any]:
    """What the proxy is told: its config over the agent's defaults over what follows from the agent itself.

    ``bind_port`` is always a number (MP-INT-001, MP-CFG-019, MP-PORT-010).
    """
    return {
        "bind_address": bind_addr,
        "local_service_address": f"127.0.0.1:{target.port}",
        **defaults,
        **managed.proxy.config,
        "bind_port": managed.service.port,
    }


#: Booleans of a proxy's config may be text, as HCL writes them; the proxy reads its own so as well.
_SWITCHED_ON: tuple[object, ...] = (True, "1", "t", "T", "true", "TRUE", "True")


def check_target(config: Mapping[str, Any]) -> tuple[str, int] | None:
    """Where the listening check of a proxy connects, or None when it is switched off (MP-CAT-008, MP-CAT-009).

    ``config`` is the effective one.
    """
    if config.get("disable_tcp_check") in _SWITCHED_ON:
        return None
    address = _text(config, "tcp_check_address") or _text(config, "bind_address")
    if address in _DIALABLE_NOT:
        address = "::1" if ":" in address else "127.0.0.1"
    return address.strip("[]"), config["bind_port"]


def content_hash(managed: Managed) -> str:
    """The hash of what the proxy was told, as lower-case hex of up to 16 digits (MP-INT-003, MP-INT-007)."""
    return digest((managed.proxy, managed.target_id))


def digest(value: object) -> str:
    """A hash of any value made of dataclasses, mappings and scalars; the same in every process."""
    canonical = msgspec.json.encode(value, order="deterministic")
    return hashlib.blake2b(canonical, digest_size=8).hexdigest().lstrip("0") or "0"
