"""What is spoken over HTTP and HTTPS: TLS, headers, closed paths, telemetry. Files are named here, not opened."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from typing import Any

from reference.config.forms import CIPHER_SUITES
from reference.config.managed import MAX_PORT
from reference.config.model import Telemetry
from reference.config.network import HttpOptions, TlsOptions
from reference.config.settings import Settings


def tls(settings: Settings, *, https: bool) -> TlsOptions:
    """The TLS options; with ``https`` they must be enough for a server."""
    verify = settings.get("verify_incoming", False) or settings.get("verify_incoming_https", False)
    certificate, key = (_path(settings, name) for name in ("cert_file", "key_file"))
    ca_file, ca_path = (_path(settings, name) for name in ("ca_file", "ca_path"))
    if https and not (certificate and key):
        missing = "key_file" if certificate else "cert_file"
        problem = f"HTTPS needs a certificate, but {missing} is not set"
        raise settings.error("ports.https", problem, "Set cert_file and key_file, or remove ports.https")
    if verify and https and not (ca_file or ca_path):
        name = "verify_incoming" if settings.get("verify_incoming") else "verify_incoming_https"
        raise settings.error(
            name, "VerifyIncoming set, and no CA certificate provided!", "Set ca_file or ca_path"
        )
    if settings.get("verify_outgoing", False) and not (ca_file or ca_path):
        raise settings.error(
            "verify_outgoing", "VerifyOutgoing set, and no CA certificate provided!", "Set ca_file or ca_path"
        )
    suites: str = settings.get("tls_cipher_suites", "").strip()
    return TlsOptions(
        cert_file=certificate,
        key_file=key,
        ca_file=ca_file,
        ca_path=ca_path,
        min_version=settings.get("tls_min_version") or "tls12",
        ciphers=tuple(CIPHER_SUITES[name] for name in suites.split(",")) if suites else (),
        prefer_server_ciphers=settings.get("tls_prefer_server_cipher_suites", False),
        verify_incoming=verify,
        # Who says that names are to be verified, says that certificates are.
        verify_outgoing=settings.get("verify_outgoing", False)
        or settings.get("verify_server_hostname", False),
        server_name=settings.get("server_name", ""),
    )


def http(settings: Settings) -> HttpOptions:
    """``http_config``."""
    name = "http_config.response_headers"
    headers: Mapping[str, str] = settings.get(name, {})
    for header, value in headers.items():
        if (
            not header
            or not header.isascii()
            or not all(c.isalnum() or c in "!#$%&'*+-.^_`|~" for c in header)
        ):
            raise settings.error(name, f'{name}: "{header}" is no name of a header', "Correct the name")
        if not value.isprintable() or not value.isascii():
            raise settings.error(
                name, f"{name}: the value of {header} has characters that no header has", "Remove them"
            )
    networks: list[str] = settings.get("http_config.allow_write_http_from", [])
    return HttpOptions(
        response_headers=headers,
        block_endpoints=tuple(settings.get("http_config.block_endpoints", ())),
        allow_write_from=tuple(str(ipaddress.ip_network(each.strip(), strict=False)) for each in networks),
        allow_unprintable_paths=settings.get("disable_http_unprintable_char_filter", False),
    )


def telemetry(settings: Settings) -> Telemetry:
    """``telemetry``; a rule of ``prefix_filter`` without sign is a mistake (the original warns, and ignores it)."""
    rules: list[str] = settings.get("telemetry.prefix_filter", [])
    for rule in rules:
        if rule[:1] not in ("+", "-"):
            problem = f"telemetry.prefix_filter: Filter rule must begin with either '+' or '-': \"{rule}\""
            raise settings.error("telemetry.prefix_filter", problem, "Write + or - before the prefix")
    allowed = tuple(rule[1:] for rule in rules if rule[0] == "+")
    blocked = tuple(rule[1:] for rule in rules if rule[0] == "-")
    retention = settings.seconds("telemetry.prometheus_retention_time")
    told = {
        key: value for key, value in settings.get("telemetry").items() if key != "prefix_filter" and value
    }
    lists = {"allowed_prefixes": list(allowed), "blocked_prefixes": list(blocked)}
    for_proxies: dict[str, Any] = {**told, **{key: value for key, value in lists.items() if value}}
    if retention:
        # As the original's JSON has durations.
        for_proxies["prometheus_retention_time"] = round(retention * 1e9)
    return Telemetry(
        metrics_prefix=settings.get("telemetry.metrics_prefix"),
        filter_default=settings.get("telemetry.filter_default"),
        allowed_prefixes=allowed,
        blocked_prefixes=blocked,
        prometheus_retention_seconds=retention,
        statsd=_sink(settings, "telemetry.statsd_address"),
        dogstatsd=_sink(settings, "telemetry.dogstatsd_addr"),
        dogstatsd_tags=tuple(settings.get("telemetry.dogstatsd_tags", [])),
        hostname=not settings.get("telemetry.disable_hostname", False),
        for_proxies=for_proxies,
    )


def _sink(settings: Settings, name: str) -> tuple[str, int] | None:
    """A host and a port to send to; the original takes anything, and sends nothing where it is no such address."""
    given: str = settings.get(name, "")
    if not given:
        return None
    host, _, port = given.rpartition(":")
    if not host or not (port.isascii() and port.isdecimal()) or not 0 < int(port) <= MAX_PORT:
        raise settings.error(
            name, f'{name}: "{given}" is no address', "Write host:port, such as 127.0.0.1:8125"
        )
    return host.strip("[]"), int(port)


def _path(settings: Settings, name: str) -> str:
    told: str = settings.get(name, "")
    return os.path.abspath(told) if told else ""
