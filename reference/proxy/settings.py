"""How a proxy process is told who it is and where its agent is: flags and environment, as the original reads them.

Flags are Go's: one dash or two, ``-flag value`` or ``-flag=value`` (MP-CLI-001). A flag wins over the environment;
an empty value is no value (MP-ENV-001: the agent sets variables that it has nothing for to the empty string).
"""

from __future__ import annotations

import base64
import ssl
from collections.abc import Mapping, Sequence

from reference.proxy.api import Agent
from reference.proxy.config import ConfigError, parse_address
from reference.proxy.log import LEVELS

USAGE = """\
Usage: proxyproof connect proxy [options]

  Runs the proxy of one service until it is interrupted. The agent starts it for each service whose
  definition has a connect.proxy object, and sets CONNECT_PROXY_ID and CONNECT_PROXY_TOKEN.

  -proxy-id=<string>      The proxy's ID on the local agent (CONNECT_PROXY_ID).
  -token=<string>         ACL token of the proxy (CONNECT_PROXY_TOKEN, then CONSUL_HTTP_TOKEN); prefer the
                          environment, since other users can read a command line.
  -http-addr=<address>    The agent's HTTP address: host:port, http://, https:// or unix:///path
                          (CONSUL_HTTP_ADDR; default 127.0.0.1:8500).
  -log-level=<level>      TRACE, DEBUG, INFO (default), WARN or ERR.

  HTTPS to the agent: CONSUL_HTTP_SSL, CONSUL_CACERT, CONSUL_CAPATH, CONSUL_CLIENT_CERT,
  CONSUL_CLIENT_KEY, CONSUL_TLS_SERVER_NAME, CONSUL_HTTP_SSL_VERIFY; basic authentication: CONSUL_HTTP_AUTH.
"""

FLAGS = ("http-addr", "log-level", "proxy-id", "token")
_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})


class UsageError(Exception):
    """The command line cannot be understood; the message is followed by the usage."""


class SettingsError(Exception):
    """A value is of no use; the message says which and why."""


def read_flags(arguments: Sequence[str]) -> dict[str, str]:
    """Flag values by name. Raises :class:`UsageError`, or :class:`SettingsError` for anything beside flags."""
    values: dict[str, str] = {}
    rest = list(arguments)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        argument = rest.pop(0)
        if argument == "--":
            break
        name, equals, value = argument.removeprefix("-").removeprefix("-").partition("=")
        if not name or name.startswith("-"):
            raise UsageError(f"bad flag syntax: {argument}")
        if name not in FLAGS:
            raise UsageError(f"flag provided but not defined: -{name}")
        if not equals:
            if not rest:
                raise UsageError(f"flag needs an argument: -{name}")
            value = rest.pop(0)
        values[name] = value
    if rest:
        raise SettingsError("Should have no non-flag arguments.")
    return values


def log_level(flags: Mapping[str, str]) -> str:
    """The level in capitals; :class:`SettingsError` for a level that does not exist (MP-CLI-009)."""
    level = (flags.get("log-level") or "INFO").upper()
    if level not in LEVELS:
        raise SettingsError(f"Invalid log level: {level}. Valid log levels are: [{' '.join(LEVELS)}]")
    return level


def proxy_id(flags: Mapping[str, str], environ: Mapping[str, str]) -> str:
    """The proxy's ID; :class:`SettingsError` when there is none (MP-CLI-002)."""
    found = flags.get("proxy-id") or environ.get("CONNECT_PROXY_ID", "")
    if not found:
        raise SettingsError(
            "Error preparing configuration: "
            "-service or -proxy-id must be specified so that proxy can configure itself."
        )
    return found


def agent(flags: Mapping[str, str], environ: Mapping[str, str]) -> Agent:
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
        tls=_tls(environ) if scheme == "https" else None,
        server_name=environ.get("CONSUL_TLS_SERVER_NAME", ""),
        headers=headers,
    )


def _headers(flags: Mapping[str, str], environ: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    token = flags.get("token") or environ.get("CONNECT_PROXY_TOKEN") or environ.get("CONSUL_HTTP_TOKEN")
    headers = []
    if token:
        headers.append(("X-Consul-Token", token))
    if login := environ.get("CONSUL_HTTP_AUTH"):
        headers.append(("Authorization", f"Basic {base64.b64encode(login.encode()).decode()}"))
    if any(not value.isprintable() or not value.isascii() for _, value in headers):
        raise SettingsError("Error connecting to Consul agent: the token has characters that no token has")
    return tuple(headers)


def _tls(environ: Mapping[str, str]) -> ssl.SSLContext:
    authority, directory = environ.get("CONSUL_CACERT") or None, environ.get("CONSUL_CAPATH") or None
    certificate, key = environ.get("CONSUL_CLIENT_CERT"), environ.get("CONSUL_CLIENT_KEY")
    tls = ssl.create_default_context()
    if not _boolean(environ, "CONSUL_HTTP_SSL_VERIFY", default=True):
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE
    try:
        if authority or directory:
            tls.load_verify_locations(authority, directory)
        if certificate:
            tls.load_cert_chain(certificate, key or None)
    except OSError as problem:
        files = ", ".join(filter(None, (authority, directory, certificate, key)))
        raise SettingsError(
            f"Error connecting to Consul agent: cannot use the TLS files {files}: {problem}"
        ) from None
    return tls


def _boolean(environ: Mapping[str, str], name: str, *, default: bool) -> bool:
    value = environ.get(name, "")
    if value in _TRUE:
        return True
    if value in _FALSE:
        return False
    if value:
        raise SettingsError(
            f"Error connecting to Consul agent: {name} is {value!r}: it must be true or false"
        )
    return default
