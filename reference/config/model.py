"""The data model of the configuration: what an agent and its services were told to be.

Everything here is frozen and free of I/O. The keys of files are the snake_case field names; the keys of the
HTTP API are the original's CamelCase spellings and are translated where the API is served.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

#: An opaque JSON object, passed through to a proxy unchanged.
Opaque = Mapping[str, Any]

#: ID suffix that turns a service into its managed proxy (``redis`` -> ``redis-proxy``).
MANAGED_PROXY_SUFFIX = "-proxy"


class LogLevel(StrEnum):
    """Severities of the original's log, least severe first."""

    TRACE = "TRACE"
    DEBUG = "DEBUG"
    INFO = "INFO"
    WARN = "WARN"
    ERR = "ERR"


class ExecMode(StrEnum):
    """How a managed proxy is executed; the document supports ``daemon`` only (MP-CFG-007, MP-CFG-008)."""

    DAEMON = "daemon"
    SCRIPT = "script"


@dataclass(frozen=True, kw_only=True)
class Upstream:
    """A dependency that the proxy offers on a local port."""

    destination_name: str = ""
    destination_type: str = "service"
    destination_namespace: str = ""
    datacenter: str = ""
    local_bind_address: str = ""
    local_bind_port: int = 0
    config: Opaque = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ManagedProxy:
    """The ``connect.proxy`` object of a service definition. Empty means: the default proxy, all defaults."""

    exec_mode: str = ""
    command: tuple[str, ...] = ()
    config: Opaque = field(default_factory=dict)
    upstreams: tuple[Upstream, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ServiceDefinition:
    """One service as a file or an API call defines it. ``id`` is never empty: it defaults to ``name``."""

    id: str
    name: str
    port: int = 0
    address: str = ""
    tags: tuple[str, ...] = ()
    meta: Mapping[str, str] = field(default_factory=dict)
    token: str = field(default="", repr=False)
    enable_tag_override: bool = False
    native: bool = False
    proxy: ManagedProxy | None = None


@dataclass(frozen=True, kw_only=True)
class ProxyDefaults:
    """``connect.proxy_defaults``: what a managed proxy gets where its service says nothing."""

    exec_mode: str = ""
    daemon_command: tuple[str, ...] = ()
    config: Opaque = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class DnsOptions:
    """What the DNS interface says and how: ``domain`` and ``dns_config``.

    TTLs are in seconds; the keys of ``service_ttl`` are names of services, or prefixes that end in ``*``.
    ``udp_answer_limit`` holds for clients without EDNS; ``a_record_limit`` of 0 means no limit.
    """

    domain: str = "consul."
    only_passing: bool = False
    enable_truncate: bool = False
    node_ttl: int = 0
    service_ttl: Mapping[str, int] = field(default_factory=dict)
    a_record_limit: int = 0
    udp_answer_limit: int = 3


@dataclass(frozen=True, kw_only=True)
class AgentConfig:
    """Everything that one agent was told, after files, directories, ``-hcl`` and flags were merged.

    ``data_dir`` is ``None`` only in ``-dev`` mode without ``-data-dir``: then nothing is stored, proxies
    write no log and end with the agent. ``http_port`` of -1 turns the API off, and managed proxies with it;
    ``proxy_min_port`` and ``proxy_max_port`` of -1 leave every proxy to its ``bind_port`` (MP-PORT-006).
    ``advertise_addr`` is never a wildcard: it is where others reach this node when ``bind_addr`` is one.
    """

    node_name: str
    datacenter: str = "dc1"
    dev_mode: bool = False
    data_dir: Path | None = None
    bind_addr: str = "127.0.0.1"
    advertise_addr: str = "127.0.0.1"
    #: Where the HTTP API listens: ``addresses.http``, else ``client_addr``.
    client_addr: str = "127.0.0.1"
    http_port: int = 8500
    #: Where DNS listens: ``addresses.dns``, else ``client_addr``.
    dns_addr: str = "127.0.0.1"
    dns_port: int = 8600
    dns: DnsOptions = field(default_factory=DnsOptions)
    log_level: LogLevel = LogLevel.INFO
    proxy_min_port: int = 20000
    proxy_max_port: int = 20255
    connect_enabled: bool = False
    leaf_cert_ttl_seconds: float = 72 * 3600.0
    allow_managed_root: bool = False
    allow_managed_api_registration: bool = False
    proxy_defaults: ProxyDefaults = field(default_factory=ProxyDefaults)
    services: tuple[ServiceDefinition, ...] = ()
    #: The sources, in merge order, so that a reload can read them again.
    sources: tuple[str, ...] = ()
