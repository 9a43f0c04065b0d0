"""The data model of the configuration: what an agent and its services were told to be.

Everything here is frozen and free of I/O. The keys of files are the snake_case field names; the keys of the
HTTP API are the original's CamelCase spellings and are translated where the API is served.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec

from reference.config.checks import CheckDefinition
from reference.config.network import Address, HttpOptions, TcpAddress, TlsOptions, UnixSocketOptions
from reference.mesh.authority_config import DEFAULT as DEFAULT_AUTHORITY
from reference.mesh.authority_config import AuthorityConfig
from reference.secretive import Secretive

#: An opaque JSON object, passed through to a proxy unchanged.
Opaque = Mapping[str, Any]

#: The kind of a service that stands for the proxy of another one.
CONNECT_PROXY = "connect-proxy"

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


class Weights(msgspec.Struct, frozen=True, kw_only=True):
    """How much of the traffic an instance gets from DNS, by what its checks say."""

    passing: int = 1
    warning: int = 1


class Upstream(msgspec.Struct, frozen=True, kw_only=True):
    """A dependency that the proxy offers on a local port."""

    destination_name: str = ""
    destination_type: str = "service"
    destination_namespace: str = ""
    datacenter: str = ""
    local_bind_address: str = ""
    local_bind_port: int = 0
    config: Opaque = msgspec.field(default_factory=dict)


class Destination(msgspec.Struct, frozen=True, kw_only=True):
    """What a proxy stands in front of (MP-CAT-002), and what it was told.

    A port of 0 and an empty address or id mean: not said. ``config`` is that of proxies that the agent does not manage;
    managed ones keep theirs for themselves.
    """

    service_name: str
    service_id: str = ""
    local_address: str = ""
    local_port: int = 0
    config: Opaque = msgspec.field(default_factory=dict)
    upstreams: tuple[Upstream, ...] = ()


class ManagedProxy(msgspec.Struct, frozen=True, kw_only=True):
    """The ``connect.proxy`` object of a service definition. Empty means: the default proxy, all defaults."""

    exec_mode: str = ""
    command: tuple[str, ...] = ()
    config: Opaque = msgspec.field(default_factory=dict)
    upstreams: tuple[Upstream, ...] = ()


class ServiceDefinition(Secretive, frozen=True, kw_only=True):
    """One service as a file or an API call defines it. ``id`` is never empty: it defaults to ``name``.

    ``destination`` counts for services of kind ``connect-proxy``. ``sidecar`` is another service that comes and goes
    with this one; it may have no id and no name, which are worked out when it is registered.
    """

    UNSHOWN = frozenset({"token"})

    id: str
    name: str
    kind: str = ""
    port: int = 0
    address: str = ""
    tags: tuple[str, ...] = ()
    meta: Mapping[str, str] = msgspec.field(default_factory=dict)
    token: str = ""
    enable_tag_override: bool = False
    native: bool = False
    weights: Weights = msgspec.field(default_factory=Weights)
    checks: tuple[CheckDefinition, ...] = ()
    destination: Destination | None = None
    proxy: ManagedProxy | None = None
    sidecar: ServiceDefinition | None = None


class ProxyDefaults(msgspec.Struct, frozen=True, kw_only=True):
    """``connect.proxy_defaults``: what a managed proxy gets where its service says nothing."""

    exec_mode: str = ""
    daemon_command: tuple[str, ...] = ()
    config: Opaque = msgspec.field(default_factory=dict)


class SoaOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The times in the SOA record of the domain (s); ``min_ttl`` is how long negative answers may be kept."""

    refresh: int = 3600
    retry: int = 600
    expire: int = 86400
    min_ttl: int = 0


class LogOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Where the log goes beside standard output: ``file`` with its rotation (s, bytes), the system's log."""

    file: Path | None = None
    rotate_seconds: float = 24 * 3600.0
    rotate_bytes: int = 0
    syslog_facility: str = ""


class Telemetry(msgspec.Struct, frozen=True, kw_only=True):
    """``telemetry``: which metrics there are, and what managed proxies are told about theirs.

    A name that begins with a prefix of both lists belongs to the longer one; ``filter_default`` holds for the rest.
    """

    metrics_prefix: str = "consul"
    filter_default: bool = True
    allowed_prefixes: tuple[str, ...] = ()
    blocked_prefixes: tuple[str, ...] = ()
    prometheus_retention_seconds: float = 0.0
    #: Where the agent sends its own metrics: host and port.
    statsd: tuple[str, int] | None = None
    dogstatsd: tuple[str, int] | None = None
    dogstatsd_tags: tuple[str, ...] = ()
    #: Whether gauges have the name of the host in theirs.
    hostname: bool = True
    for_proxies: Opaque = msgspec.field(
        default_factory=lambda: {"filter_default": True, "metrics_prefix": "consul"}
    )


class Supervision(msgspec.Struct, frozen=True, kw_only=True):
    """``connect.proxy.supervision``: how managed proxies are restarted, stopped and logged. Times are in seconds.

    ``quick_starts`` starts follow each other at once, the next waits for ``backoff``, and each further one twice as
    long, up to ``backoff_limit``; a run of ``healthy_run`` resets that. ``stop_signal`` asks a proxy to end, SIGKILL
    makes it after ``stop_grace``, again and again every ``kill_retry``. A proxy whose check has been critical for
    ``restart_critical_after`` is restarted; 0 leaves it alone. A log of more than ``log_rotate_bytes`` (0: of any
    size) is put aside, and ``log_rotate_max_files`` of those are kept.
    """

    quick_starts: int = 3
    backoff: float = 2.0
    backoff_limit: float = 60.0
    healthy_run: float = 10.0
    stop_signal: str = "SIGINT"
    stop_grace: float = 5.0
    kill_retry: float = 1.0
    restart_critical_after: float = 0.0
    log_rotate_bytes: int = 16 * 1024 * 1024
    log_rotate_max_files: int = 3


class DnsOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the DNS interface says and how: ``domain`` and ``dns_config``.

    TTLs are in seconds; the keys of ``service_ttl`` are names of services, or prefixes that end in ``*``.
    ``udp_answer_limit`` holds for clients without EDNS; ``a_record_limit`` of 0 means no limit.
    """

    domain: str = "consul."
    only_passing: bool = False
    enable_truncate: bool = False
    node_ttl: int = 0
    service_ttl: Mapping[str, int] = msgspec.field(default_factory=dict)
    a_record_limit: int = 0
    udp_answer_limit: int = 3
    disable_compression: bool = False
    node_meta_txt: bool = True
    soa: SoaOptions = msgspec.field(default_factory=lambda: SoaOptions())


class AgentTokens(Secretive, frozen=True, kw_only=True):
    """The tokens that an agent can have; an empty one it has not (``acl.tokens``).

    ``default`` stands for requests without a token, ``agent`` for the agent itself; ``agent_master`` opens this
    agent when nothing else does, ``replication`` is for other servers and has no use here.
    """

    UNSHOWN = frozenset({"agent", "agent_master", "default", "replication"})

    default: str = ""
    agent: str = ""
    agent_master: str = ""
    replication: str = ""


class AccessOptions(Secretive, frozen=True, kw_only=True):
    """Access control (``acl``): whether tokens are asked for, and what counts where no rule says anything.

    ``master`` is the secret of a token that may do everything, made at the start.
    """

    UNSHOWN = frozenset({"master"})

    enabled: bool = False
    allows_by_default: bool = True
    master: str = ""
    tokens: AgentTokens = msgspec.field(default_factory=AgentTokens)
    keeps_tokens: bool = False


class AgentConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that one agent was told, after files, directories, ``-hcl`` and flags were merged.

    ``data_dir`` is ``None`` only in ``-dev`` mode without ``-data-dir``: then nothing is stored, proxies
    write no log and end with the agent. An agent without API (no ``http_addrs``, no ``https_addrs``) runs no proxies;
    ``proxy_min_port`` and ``proxy_max_port`` of -1 leave every proxy to its ``bind_port`` (MP-PORT-006).
    ``advertise_addr`` is never a wildcard: it is where others reach this node when ``bind_addr`` is one.
    """

    node_name: str
    datacenter: str = "dc1"
    dev_mode: bool = False
    data_dir: Path | None = None
    bind_addr: str = "127.0.0.1"
    advertise_addr: str = "127.0.0.1"
    advertise_addr_wan: str = "127.0.0.1"
    client_addrs: tuple[str, ...] = ("127.0.0.1",)
    #: Where each interface listens: ``addresses``, else ``client_addr``; nowhere where its port is off.
    http_addrs: tuple[Address, ...] = (TcpAddress("127.0.0.1", 8500),)
    https_addrs: tuple[Address, ...] = ()
    dns_addrs: tuple[TcpAddress, ...] = (TcpAddress("127.0.0.1", 8600),)
    http: HttpOptions = msgspec.field(default_factory=HttpOptions)
    tls: TlsOptions = msgspec.field(default_factory=TlsOptions)
    unix_sockets: UnixSocketOptions = msgspec.field(default_factory=UnixSocketOptions)
    dns: DnsOptions = msgspec.field(default_factory=DnsOptions)
    access: AccessOptions = msgspec.field(default_factory=AccessOptions)
    log_level: LogLevel = LogLevel.INFO
    log: LogOptions = msgspec.field(default_factory=LogOptions)
    telemetry: Telemetry = msgspec.field(default_factory=Telemetry)
    #: Empty: made up at the first start, and kept in the data directory.
    node_id: str = ""
    node_meta: Mapping[str, str] = msgspec.field(default_factory=dict)
    pid_file: Path | None = None
    proxy_min_port: int = 20000
    proxy_max_port: int = 20255
    connect_enabled: bool = False
    authority: AuthorityConfig = DEFAULT_AUTHORITY
    allow_managed_root: bool = False
    allow_managed_api_registration: bool = False
    proxy_defaults: ProxyDefaults = msgspec.field(default_factory=ProxyDefaults)
    supervision: Supervision = msgspec.field(default_factory=Supervision)
    sidecar_min_port: int = 21000
    sidecar_max_port: int = 21255
    #: Whether checks may run programs: those of requests and files, and those of files.
    enable_script_checks: bool = False
    enable_local_script_checks: bool = False
    discard_check_output: bool = False
    #: How often services that stayed critical are looked for, and how long they must at least have been (s).
    check_reap_interval: float = 30.0
    check_deregister_interval_min: float = 60.0
    #: How long the new words of a check with the same status may stay unknown to the mesh (s).
    check_update_interval: float = 300.0
    services: tuple[ServiceDefinition, ...] = ()
    #: Checks that files define by themselves.
    checks: tuple[CheckDefinition, ...] = ()
    #: The sources, in merge order, so that a reload can read them again.
    sources: tuple[str, ...] = ()

    @property
    def http_port(self) -> int:
        """The TCP port of plain HTTP, -1 when there is none."""
        return _port_of(self.http_addrs)

    @property
    def https_port(self) -> int:
        """The TCP port of HTTPS, -1 when there is none."""
        return _port_of(self.https_addrs)

    @property
    def dns_port(self) -> int:
        """The port of DNS, -1 when there is none."""
        return _port_of(self.dns_addrs)


def _port_of(addresses: tuple[Address, ...]) -> int:
    return next((address.port for address in addresses if isinstance(address, TcpAddress)), -1)
