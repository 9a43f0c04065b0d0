"""What merged options mean: the rules that hold for the agent as a whole, with the original's words.

Each error names the source that set the value, which is why :class:`Settings` remembers where each option is from.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reference.config import addresses
from reference.config.definition import MAX_PORT, exec_mode_problem
from reference.config.errors import ConfigError
from reference.config.model import AgentConfig, DnsOptions, LogLevel, ProxyDefaults, ServiceDefinition

DEFAULTS: Mapping[str, Any] = {
    "bind_addr": "0.0.0.0",  # noqa: S104 - the original's default
    "client_addr": "127.0.0.1",
    "datacenter": "dc1",
    "dns_config": {"node_ttl": "0s", "a_record_limit": 0, "udp_answer_limit": 3},
    "domain": "consul.",
    "log_level": "INFO",
    "ports": {"dns": 8600, "http": 8500, "proxy_min_port": 20000, "proxy_max_port": 20255},
    "connect": {"ca_provider": "consul", "ca_config": {"leaf_cert_ttl": "72h"}},
}
DEV: Mapping[str, Any] = {"bind_addr": "127.0.0.1", "connect": {"enabled": True}, "log_level": "DEBUG"}

_HOUR = 3600.0
_LONGEST_LEAF = 365 * 24 * _HOUR
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": _HOUR}
_LABELS = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
#: The names of services stand before the domain, and 255 bytes are all that a name may have.
_LONGEST_DOMAIN = 128
_LONGEST_TTL = 2**31 - 1
_AMOUNT = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|ms|s|m|h)")


@dataclass(frozen=True)
class Settings:
    """The merged options, and for each dotted name the source that set it last."""

    options: Mapping[str, Any]
    origins: Mapping[str, str]

    def get(self, name: str, default: Any = None) -> Any:
        """The option with this dotted name, ``default`` when nothing sets it."""
        value: Any = self.options
        for key in name.split("."):
            if key not in value:
                return default
            value = value[key]
        return value

    def error(self, name: str, problem: str, remedy: str) -> ConfigError:
        """An error about this option."""
        return ConfigError(self.origins.get(name, "the configuration"), problem, remedy)


def settle(
    settings: Settings,
    *,
    dev_mode: bool,
    services: tuple[ServiceDefinition, ...],
    sources: tuple[str, ...],
) -> AgentConfig:
    """The configuration that these settings amount to. Raises :class:`ConfigError` when they cannot all hold."""
    data_dir = _data_dir(settings, dev_mode=dev_mode)
    low, high = _proxy_ports(settings)
    bind_addr = _address(settings, "bind_addr")
    client_addr = _address(settings, "addresses.http" if settings.get("addresses.http") else "client_addr")
    dns_addr = _address(settings, "addresses.dns" if settings.get("addresses.dns") else "client_addr")
    http_port, dns_port = _port(settings, "ports.http"), _port(settings, "ports.dns")
    if http_port == dns_port != -1:
        problem = f"HTTP address {client_addr}:{http_port} already configured for DNS"
        raise settings.error("ports.http", problem, "Set ports.http and ports.dns to two different ports")
    _check_ca_provider(settings)
    _check_access_control(settings)
    return AgentConfig(
        node_name=_node_name(settings),
        datacenter=_datacenter(settings),
        dev_mode=dev_mode,
        data_dir=data_dir,
        bind_addr=bind_addr,
        advertise_addr=_advertise_addr(settings, bind_addr),
        client_addr=client_addr,
        http_port=http_port,
        dns_addr=dns_addr,
        dns_port=dns_port,
        dns=_dns(settings),
        log_level=_log_level(settings),
        proxy_min_port=low,
        proxy_max_port=high,
        connect_enabled=settings.get("connect.enabled", False),
        leaf_cert_ttl_seconds=_leaf_ttl(settings),
        allow_managed_root=settings.get("connect.proxy.allow_managed_root", False),
        allow_managed_api_registration=settings.get("connect.proxy.allow_managed_api_registration", False),
        proxy_defaults=_proxy_defaults(settings),
        services=services,
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


def _port(settings: Settings, name: str) -> int:
    """A port, or -1 for "none": the original takes zero and below for it."""
    port: int = settings.get(name)
    if port > MAX_PORT:
        raise settings.error(name, f"{name}: invalid port: {port}", f"Give a port up to {MAX_PORT}")
    return port if port > 0 else -1


def _proxy_ports(settings: Settings) -> tuple[int, int]:
    low, high = _port(settings, "ports.proxy_min_port"), _port(settings, "ports.proxy_max_port")
    if high < low or (low == -1) != (high == -1):
        raise settings.error(
            "ports.proxy_max_port",
            "proxy_min_port must be less than proxy_max_port",
            "To disable, set both to zero",
        )
    return low, high


def _address(settings: Settings, name: str) -> str:
    """One IP address, without the brackets of IPv6."""
    raw: str = settings.get(name)
    if not raw.strip():
        raise settings.error(name, f"{name} cannot be empty", "Give an IP address")
    if raw.startswith("unix://"):
        raise settings.error(name, f"{name} cannot be a unix socket", "Give an IP address")
    fields = raw.split()
    if len(fields) > 1 and "{{" not in raw:
        raise settings.error(name, f"{name} cannot contain multiple addresses", "Give one of them")
    try:
        return str(ipaddress.ip_address(raw.strip().removeprefix("[").removesuffix("]")))
    except ValueError:
        remedy = "Give an IP address; names and templates are not supported"
        raise settings.error(name, f"{name}: invalid ip address: {raw}", remedy) from None


def _advertise_addr(settings: Settings, bind_addr: str) -> str:
    """The address under which others reach this node: one that is told, else bound to, else the machine's only one."""
    told = settings.get("advertise_addr") and _address(settings, "advertise_addr")
    address = told or bind_addr
    if not ipaddress.ip_address(address).is_unspecified:
        return address
    if told:
        problem = "Advertise address cannot be 0.0.0.0, :: or [::]"
        raise settings.error("advertise_addr", problem, "Give an address that others can reach")
    found = addresses.private_ipv4()
    if len(found) == 1:
        return found[0]
    many = f"Multiple private IPv4 addresses found ({', '.join(found)})"
    remedy = "Please configure one with 'bind' and/or 'advertise' (bind_addr, -bind, advertise_addr)"
    raise settings.error("bind_addr", many if found else "No private IPv4 address found", remedy)


def _node_name(settings: Settings) -> str:
    name: str = settings.get("node_name", "").strip() or socket.gethostname().strip()
    if not name:
        raise settings.error("node_name", "node_name cannot be empty", "Set node_name or -node")
    return name


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


def _check_ca_provider(settings: Settings) -> None:
    provider = settings.get("connect.ca_provider")
    if provider == "vault":
        problem = "the CA provider vault is not supported by this agent"
        raise settings.error("connect.ca_provider", problem, 'Use "consul"')
    if provider not in ("", "consul"):
        raise settings.error("connect.ca_provider", f"{provider} is not a valid CA provider", 'Use "consul"')


#: Options that ask for closed doors, and the value that does. What cannot be closed must not pretend to be.
_CLOSED_DOORS = {"acl.enabled": True, "acl.default_policy": "deny", "acl_default_policy": "deny"}


def _check_access_control(settings: Settings) -> None:
    for name, closed in _CLOSED_DOORS.items():
        if settings.get(name) == closed:
            problem = f"{name}: access control is not supported by this agent, its API would stay open"
            raise settings.error(name, problem, "Remove the option where an open API is acceptable")


def _leaf_ttl(settings: Settings) -> float:
    name = "connect.ca_config.leaf_cert_ttl"
    seconds = _duration(settings, name, settings.get(name))
    if seconds < _HOUR:
        raise settings.error(name, "leaf cert TTL must be greater than 1h", 'Use "1h" or more')
    if seconds > _LONGEST_LEAF:
        raise settings.error(name, "leaf cert TTL must be less than 1 year", 'Use "8760h" or less')
    return seconds


def _duration(settings: Settings, name: str, raw: str) -> float:
    """Seconds, from the original's spelling of durations."""
    amounts = _AMOUNT.findall(raw)
    if not amounts or "".join(amount + unit for amount, unit in amounts) != raw:
        raise settings.error(name, f'{name}: invalid duration: "{raw}"', 'Write it as in "72h" or "1h30m"')
    return sum(float(amount) * _UNITS[unit] for amount, unit in amounts)


def _dns(settings: Settings) -> DnsOptions:
    domain: str = settings.get("domain").lower().removesuffix(".")
    if not _LABELS.fullmatch(domain) or len(domain) > _LONGEST_DOMAIN:
        problem = f'domain: invalid domain name: "{domain}"'
        raise settings.error("domain", problem, 'Give a name such as "consul" or "mesh.example.org"')
    limits = {key: settings.get(f"dns_config.{key}") for key in ("a_record_limit", "udp_answer_limit")}
    for key, limit in limits.items():
        if limit < 0:
            problem = f"dns_config.{key} cannot be {limit}. Must be greater than or equal to zero"
            raise settings.error(f"dns_config.{key}", problem, "Give zero or more")
    ttls: Mapping[str, str] = settings.get("dns_config.service_ttl", {})
    return DnsOptions(
        domain=f"{domain}.",
        only_passing=settings.get("dns_config.only_passing", False),
        enable_truncate=settings.get("dns_config.enable_truncate", False),
        node_ttl=_ttl(settings, "dns_config.node_ttl", settings.get("dns_config.node_ttl")),
        service_ttl={
            service.lower(): _ttl(settings, "dns_config.service_ttl", raw) for service, raw in ttls.items()
        },
        **limits,
    )


def _ttl(settings: Settings, name: str, raw: str) -> int:
    seconds = _duration(settings, name, raw)
    if seconds > _LONGEST_TTL:
        raise settings.error(name, f'{name}: "{raw}" is too long', f"Give at most {_LONGEST_TTL} seconds")
    return int(seconds)


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
