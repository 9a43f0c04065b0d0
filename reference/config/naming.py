"""What the DNS interface says and how: ``domain`` and ``dns_config``."""

from __future__ import annotations

import re
from collections.abc import Mapping

from reference.config.durations import parse_duration
from reference.config.model import DnsOptions, SoaOptions
from reference.config.settings import Settings

_LABELS = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
#: The names of services stand before the domain, and 255 bytes are all that a name may have.
_LONGEST_DOMAIN = 128
_LONGEST_TTL = 2**31 - 1
_LARGEST_COUNT = 2**32 - 1


def dns(settings: Settings) -> DnsOptions:
    """The options of DNS. Raises :class:`~reference.config.errors.ConfigError`."""
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
        disable_compression=settings.get("dns_config.disable_compression", False),
        node_meta_txt=settings.get("dns_config.enable_additional_node_meta_txt", True),
        node_ttl=_ttl(settings, "dns_config.node_ttl", settings.get("dns_config.node_ttl")),
        service_ttl={
            service.lower(): _ttl(settings, "dns_config.service_ttl", raw) for service, raw in ttls.items()
        },
        soa=_soa(settings),
        **limits,
    )


def _ttl(settings: Settings, name: str, raw: str) -> int:
    seconds = parse_duration(raw)
    if seconds < 0:
        raise settings.error(name, f'{name}: invalid duration: "{raw}"', "Give zero or more")
    if seconds > _LONGEST_TTL:
        raise settings.error(name, f'{name}: "{raw}" is too long', f"Give at most {_LONGEST_TTL} seconds")
    return int(seconds)


def _soa(settings: Settings) -> SoaOptions:
    told: Mapping[str, int] = settings.get("dns_config.soa", {})
    for key, value in told.items():
        if not 0 <= value <= _LARGEST_COUNT:
            name = f"dns_config.soa.{key}"
            raise settings.error(name, f"{name} cannot be {value}", f"Give 0 to {_LARGEST_COUNT}")
    return SoaOptions(**told)
