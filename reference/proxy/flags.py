"""The command line of ``connect proxy``, as the original reads it. Pure.

Flags are Go's: one dash or two, ``-flag value`` or ``-flag=value``, booleans without a value (MP-CLI-001). Those of the
original that had no effect (``-stale``) or belong to Go (``-pprof-addr``) are not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

USAGE = """\
Usage: proxyproof connect proxy [options]

  Runs the proxy of one service until it is interrupted. The agent starts it for each service whose
  definition has a connect.proxy object, and sets CONNECT_PROXY_ID and CONNECT_PROXY_TOKEN.

  What to do, one of:
  -proxy-id=<string>      The proxy's ID on the local agent, which says the rest (CONNECT_PROXY_ID).
  -sidecar-for=<string>   The ID of a service on the local agent that has exactly one proxy registered
                          with that ID as its destination (CONNECT_SIDECAR_FOR).
  -service=<string>       The name of the service that is represented; then the flags below say the rest.

  With -service:
  -upstream=<name:addr>   Offers a service (name or name.service) or a prepared query (name.query) at a
                          port, an address with a port, or unix:///path. Can be given several times.
  -listen=<address>       Where peers are accepted for the service: host:port, or unix:///path.
  -service-addr=<address> Where the application is: host:port, or unix:///path.
  -register               Registers this proxy with the agent, keeps a check passing, and deregisters
                          it at the end. Needs -listen.
  -register-id=<string>   What distinguishes it from other proxies of the service: a suffix of its ID.

  How to reach the agent:
  -http-addr=<address>    host:port, http://, https:// or unix:///path (CONSUL_HTTP_ADDR; default
                          127.0.0.1:8500).
  -token-file=<path>      A file with the ACL token of the proxy (CONSUL_HTTP_TOKEN_FILE).
  -token=<string>         The token itself (CONNECT_PROXY_TOKEN, then CONSUL_HTTP_TOKEN); prefer the file or
                          the environment, since other users can read a command line.
  -ca-file=<path>, -ca-path=<path>, -client-cert=<path>, -client-key=<path>, -tls-server-name=<name>
                          For HTTPS (CONSUL_CACERT, CONSUL_CAPATH, CONSUL_CLIENT_CERT, CONSUL_CLIENT_KEY,
                          CONSUL_TLS_SERVER_NAME).
  -datacenter=<name>      Where upstreams are looked for; default: the agent's own.

  -log-level=<level>      TRACE, DEBUG, INFO (default), WARN or ERR.

  More variables: CONSUL_HTTP_SSL and CONSUL_HTTP_SSL_VERIFY (true or false), CONSUL_HTTP_AUTH (user:password).
"""

VALUES = frozenset(
    {
        *("proxy-id", "sidecar-for", "service", "service-addr", "listen", "register-id"),
        *("http-addr", "token", "token-file", "ca-file", "ca-path", "client-cert", "client-key"),
        *("tls-server-name", "datacenter", "log-level"),
    }
)
REGISTER, UPSTREAM = "register", "upstream"

TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})


class UsageError(Exception):
    """The command line cannot be understood; the message is followed by the usage."""


class SettingsError(Exception):
    """A value is of no use; the message says which and why."""


@dataclass(frozen=True, kw_only=True)
class Flags:
    """What was given: single values by name, those of ``-upstream`` in order, and whether to register."""

    values: Mapping[str, str] = field(default_factory=dict, repr=False)
    upstreams: tuple[str, ...] = ()
    register: bool = False

    def get(self, name: str) -> str:
        """The value; empty when it was not given."""
        return self.values.get(name, "")


def read(arguments: Sequence[str], check_upstream: Callable[[str], object]) -> Flags:
    """Read the whole command line; ``check_upstream`` raises :class:`ValueError` for a value that it does not like.

    Raises :class:`UsageError`, or :class:`SettingsError` for anything beside flags.
    """
    values: dict[str, str] = {}
    upstreams: list[str] = []
    register = False
    rest = list(arguments)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        argument = rest.pop(0)
        if argument == "--":
            break
        name, equals, value = argument.removeprefix("-").removeprefix("-").partition("=")
        if not name or name.startswith("-"):
            raise UsageError(f"bad flag syntax: {argument}")
        if name == REGISTER:
            register = _boolean(value) if equals else True
            continue
        if name != UPSTREAM and name not in VALUES:
            raise UsageError(f"flag provided but not defined: -{name}")
        if not equals:
            if not rest:
                raise UsageError(f"flag needs an argument: -{name}")
            value = rest.pop(0)
        if name != UPSTREAM:
            values[name] = value
            continue
        try:
            check_upstream(value)
        except ValueError as problem:
            raise UsageError(f'invalid value "{value}" for flag -upstream: {problem}') from None
        upstreams.append(value)
    if rest:
        raise SettingsError("Should have no non-flag arguments.")
    return Flags(values=values, upstreams=tuple(upstreams), register=register)


def _boolean(value: str) -> bool:
    if value not in TRUE | FALSE:
        raise UsageError(f'invalid boolean value "{value}" for -register: parse error')
    return value in TRUE
