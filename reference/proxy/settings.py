"""How a proxy process is told who it is and where its agent is: flags, then environment, as the original reads them.

A flag wins over the environment; an empty value is no value (MP-ENV-001: the agent sets variables that it has nothing
for to the empty string).
"""

from __future__ import annotations

import base64
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reference.proxy.api import Agent, AgentError, Client
from reference.proxy.endpoints import ConfigError, parse_address
from reference.proxy.flags import FALSE, TRUE, Flags, SettingsError
from reference.proxy.log import LEVELS


def log_level(flags: Flags) -> str:
    """The level in capitals; :class:`SettingsError` for a level that does not exist (MP-CLI-009)."""
    level = (flags.get("log-level") or "INFO").upper()
    if level not in LEVELS:
        raise SettingsError(f"Invalid log level: {level}. Valid log levels are: [{' '.join(LEVELS)}]")
    return level


def proxy_id(flags: Flags, environ: Mapping[str, str]) -> str:
    """The proxy's ID on the agent; empty when the flags describe it instead."""
    return flags.get("proxy-id") or environ.get("CONNECT_PROXY_ID", "")


def sidecar_for(flags: Flags, environ: Mapping[str, str]) -> str:
    """The ID of the service whose sidecar this is; empty when that is not how the proxy is named."""
    return flags.get("sidecar-for") or environ.get("CONNECT_SIDECAR_FOR", "")


def find_sidecar(agent: Agent, service_id: str) -> str:
    """The ID of the one proxy that is registered for ``service_id`` (MP-CLI-007); :class:`SettingsError` otherwise."""
    client = Client(agent)
    try:
        services: Any = client.get("/v1/agent/services")
    except AgentError as problem:
        raise SettingsError(
            f"Error preparing configuration: Failed looking up sidecar proxy info for {service_id}: {problem}"
        ) from None
    finally:
        client.close()
    found = sorted(
        str(known_id)
        for known_id, known in services.items()
        if known.get("Kind") == "connect-proxy"
        and str((known.get("Proxy") or {}).get("DestinationServiceID", "")).lower() == service_id.lower()
    )
    if len(found) == 1:
        return found[0]
    if not found:
        raise SettingsError(f"Error preparing configuration: No sidecar proxy registered for {service_id}")
    raise SettingsError(
        f"Error preparing configuration: More than one sidecar proxy registered for {service_id}.\n"
        f"    Start proxy with -proxy-id and one of the following IDs: {', '.join(found)}"
    )


def agent(flags: Flags, environ: Mapping[str, str]) -> Agent:
    """Where the agent is and how to speak to it; :class:`SettingsError` when that makes no sense."""
    text = flags.get("http-addr") or environ.get("CONSUL_HTTP_ADDR") or "127.0.0.1:8500"
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = ("https" if _boolean(environ, "CONSUL_HTTP_SSL", default=False) else "http"), text
    headers = _headers(flags, environ)
    if scheme == "unix":
        return Agent(socket_path=rest, headers=headers)
    if scheme not in ("http", "https"):
        raise SettingsError(f"Error connecting to Consul agent: Unknown protocol scheme: {scheme}")
    try:
        address = parse_address(rest.rstrip("/"), "CONSUL_HTTP_ADDR")
    except ConfigError as problem:
        raise SettingsError(f"Error connecting to Consul agent: {problem}") from None
    return Agent(
        host=address.host,
        port=address.port,
        tls=_tls(flags, environ) if scheme == "https" else None,
        server_name=flags.get("tls-server-name") or environ.get("CONSUL_TLS_SERVER_NAME", ""),
        headers=headers,
    )


def _headers(flags: Flags, environ: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    token = (
        flags.get("token")
        or _token_in(flags.get("token-file"))
        or environ.get("CONNECT_PROXY_TOKEN")
        or _token_in(environ.get("CONSUL_HTTP_TOKEN_FILE", ""))
        or environ.get("CONSUL_HTTP_TOKEN")
    )
    headers = []
    if token:
        headers.append(("X-Consul-Token", token))
    if login := environ.get("CONSUL_HTTP_AUTH"):
        headers.append(("Authorization", f"Basic {base64.b64encode(login.encode()).decode()}"))
    if any(not value.isprintable() or not value.isascii() for _, value in headers):
        raise SettingsError("Error connecting to Consul agent: the token has characters that no token has")
    return tuple(headers)


def _token_in(path: str) -> str:
    if not path:
        return ""
    try:
        token = Path(path).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else "it is not text"
        raise SettingsError(
            f"Error connecting to Consul agent: cannot read the token file {path}: {reason}"
        ) from None
    if not token:
        raise SettingsError(f"Error connecting to Consul agent: the token file {path} is empty")
    return token


def _tls(flags: Flags, environ: Mapping[str, str]) -> ssl.SSLContext:
    def path(flag: str, variable: str) -> str | None:
        return flags.get(flag) or environ.get(variable) or None

    authority, directory = path("ca-file", "CONSUL_CACERT"), path("ca-path", "CONSUL_CAPATH")
    certificate, key = path("client-cert", "CONSUL_CLIENT_CERT"), path("client-key", "CONSUL_CLIENT_KEY")
    tls = ssl.create_default_context()
    if not _boolean(environ, "CONSUL_HTTP_SSL_VERIFY", default=True):
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE
    try:
        if authority or directory:
            tls.load_verify_locations(authority, directory)
        if certificate:
            tls.load_cert_chain(certificate, key)
    except OSError as problem:
        files = ", ".join(filter(None, (authority, directory, certificate, key)))
        raise SettingsError(
            f"Error connecting to Consul agent: cannot use the TLS files {files}: {problem}"
        ) from None
    return tls


def _boolean(environ: Mapping[str, str], name: str, *, default: bool) -> bool:
    value = environ.get(name, "")
    if value in TRUE:
        return True
    if value in FALSE:
        return False
    if value:
        raise SettingsError(
            f"Error connecting to Consul agent: {name} is {value!r}: it must be true or false"
        )
    return default
