"""What merged options mean: the rules that hold for the agent as a whole, with the original's words.

Each error names the source that set the value; :mod:`~reference.config.settings` remembers where each is from. The
addresses are settled in :mod:`~reference.config.listen`, HTTP, TLS and telemetry in :mod:`~reference.config.transport`,
DNS in :mod:`~reference.config.naming`, and :mod:`~reference.config.rules` has what means nothing here.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reference.config import listen, naming, rules, transport
from reference.config.access import access_options
from reference.config.authority import authority
from reference.config.checks import CheckDefinition
from reference.config.definition import metadata_problem
from reference.config.managed import exec_mode_problem
from reference.config.model import AgentConfig, LogLevel, LogOptions, ProxyDefaults, ServiceDefinition
from reference.config.network import TcpAddress
from reference.config.settings import Settings
from reference.config.supervision import supervision

DEFAULTS: Mapping[str, Any] = {
    "check_deregister_interval_min": "1m",
    "check_reap_interval": "30s",
    "check_update_interval": "5m",
    "bind_addr": "0.0.0.0",  # noqa: S104 - the original's default
    "client_addr": "127.0.0.1",
    "datacenter": "dc1",
    "dns_config": {"node_ttl": "0s", "a_record_limit": 0, "udp_answer_limit": 3},
    "telemetry": {"filter_default": True, "metrics_prefix": "consul"},
    "domain": "consul.",
    "log_level": "INFO",
    "ports": {
        "dns": 8600,
        "http": 8500,
        "proxy_min_port": 20000,
        "proxy_max_port": 20255,
        "sidecar_min_port": 21000,
        "sidecar_max_port": 21255,
    },
    "connect": {"ca_provider": "consul", "ca_config": {"leaf_cert_ttl": "72h", "rotation_period": "2160h"}},
}
DEV: Mapping[str, Any] = {
    "bind_addr": "127.0.0.1",
    "connect": {"enabled": True},
    "log_level": "DEBUG",
    "server": True,
}


def settle(
    settings: Settings,
    *,
    dev_mode: bool,
    services: tuple[ServiceDefinition, ...],
    checks: tuple[CheckDefinition, ...],
    sources: tuple[str, ...],
) -> AgentConfig:
    """The configuration that these settings amount to. Raises :class:`ConfigError` when they cannot all hold."""
    rules.check(settings)
    data_dir = _data_dir(settings, dev_mode=dev_mode)
    low, high = listen.port_range(settings, "proxy")
    sidecar_low, sidecar_high = listen.port_range(settings, "sidecar")
    bind_addr = listen.one_address(settings, "bind_addr")
    advertise_addr = listen.advertised(settings, "advertise_addr", bind_addr)
    clients = listen.client_addresses(settings)
    dns_addrs = listen.dns_listeners(settings, clients)
    http_addrs, https_addrs = (listen.listeners(settings, name, clients) for name in ("http", "https"))
    listen.check_unique(settings, dns=dns_addrs, http=http_addrs, https=https_addrs)
    datacenter = _datacenter(settings)
    return AgentConfig(
        node_name=_node_name(settings),
        node_id=settings.get("node_id", "").lower(),
        node_meta=_node_meta(settings),
        datacenter=datacenter,
        dev_mode=dev_mode,
        data_dir=data_dir,
        bind_addr=bind_addr,
        advertise_addr=advertise_addr,
        advertise_addr_wan=listen.advertised(settings, "advertise_addr_wan", advertise_addr),
        client_addrs=clients,
        http_addrs=http_addrs,
        https_addrs=https_addrs,
        dns_addrs=dns_addrs,
        http=transport.http(settings),
        tls=transport.tls(settings, https=any(isinstance(each, TcpAddress) for each in https_addrs)),
        unix_sockets=listen.unix_sockets(settings),
        dns=naming.dns(settings),
        access=access_options(settings, datacenter=datacenter),
        log_level=_log_level(settings),
        log=_log(settings),
        telemetry=transport.telemetry(settings),
        pid_file=_file(settings, "pid_file"),
        proxy_min_port=low,
        proxy_max_port=high,
        sidecar_min_port=sidecar_low,
        sidecar_max_port=sidecar_high,
        connect_enabled=settings.get("connect.enabled", False),
        authority=authority(settings),
        allow_managed_root=settings.get("connect.proxy.allow_managed_root", False),
        allow_managed_api_registration=settings.get("connect.proxy.allow_managed_api_registration", False),
        proxy_defaults=_proxy_defaults(settings),
        supervision=supervision(settings),
        services=services,
        checks=checks,
        enable_script_checks=settings.get("enable_script_checks", False),
        enable_local_script_checks=settings.get("enable_script_checks", False)
        or settings.get("enable_local_script_checks", False),
        discard_check_output=settings.get("discard_check_output", False),
        check_reap_interval=settings.seconds("check_reap_interval"),
        check_update_interval=settings.seconds("check_update_interval"),
        check_deregister_interval_min=settings.seconds("check_deregister_interval_min"),
        sources=sources,
    )


def _data_dir(settings: Settings, *, dev_mode: bool) -> Path | None:
    raw = settings.get("data_dir", "")
    if not raw:
        if dev_mode:
            return None
        raise settings.error("data_dir", "data_dir cannot be empty", "Set data_dir or -data-dir, or use -dev")
    path = Path(raw).absolute()
    try:
        if path.exists() and not path.is_dir():
            raise settings.error("data_dir", f'data_dir "{path}" is not a directory', "Choose another path")
    except OSError as error:
        problem = f"data_dir {path} cannot be used: {error.strerror}"
        raise settings.error("data_dir", problem, "Correct its permissions or choose another path") from None
    return path


def _node_name(settings: Settings) -> str:
    name: str = settings.get("node_name", "").strip() or socket.gethostname().strip()
    if not name:
        raise settings.error("node_name", "node_name cannot be empty", "Set node_name or -node")
    return name


def _node_meta(settings: Settings) -> Mapping[str, str]:
    meta: Mapping[str, str] = settings.get("node_meta", {})
    problem = metadata_problem(meta)
    if problem:
        raise settings.error("node_meta", f"node_meta invalid: {problem}", "Correct the key")
    return meta


def _datacenter(settings: Settings) -> str:
    name: str = settings.get("datacenter").lower()
    if not name:
        raise settings.error("datacenter", "datacenter cannot be empty", "Give it a name")
    if not re.fullmatch("[a-z0-9_-]+", name):
        raise settings.error("datacenter", f'datacenter cannot be "{name}"', "Please use only [a-z0-9-_]")
    return name


def _log_level(settings: Settings) -> LogLevel:
    raw: str = settings.get("log_level").upper()
    if raw not in [*LogLevel]:
        remedy = f"Valid log levels are: [{' '.join(LogLevel)}]"
        raise settings.error("log_level", f"Invalid log level: {raw}", remedy)
    return LogLevel(raw)


def _log(settings: Settings) -> LogOptions:
    rotate = settings.seconds("log_rotate_duration", default="24h")
    if rotate <= 0:
        problem = "log_rotate_duration must be positive"
        raise settings.error("log_rotate_duration", problem, 'Write it as in "24h"')
    facility: str = settings.get("syslog_facility", "LOCAL0").lower()
    return LogOptions(
        file=_file(settings, "log_file"),
        rotate_seconds=rotate,
        rotate_bytes=settings.get("log_rotate_bytes", 0),
        syslog_facility=facility if settings.get("enable_syslog", False) else "",
    )


def _file(settings: Settings, name: str) -> Path | None:
    told: str = settings.get(name, "")
    return Path(told).absolute() if told else None


def _proxy_defaults(settings: Settings) -> ProxyDefaults:
    prefix = "connect.proxy_defaults."
    exec_mode = settings.get(prefix + "exec_mode", "")
    problem = exec_mode_problem(exec_mode)
    if problem:
        raise settings.error(prefix + "exec_mode", f"{prefix}exec_mode: {problem}", 'Use "daemon"')
    return ProxyDefaults(
        exec_mode=exec_mode,
        daemon_command=tuple(settings.get(prefix + "daemon_command", ())),
        config=settings.get(prefix + "config", {}),
    )
