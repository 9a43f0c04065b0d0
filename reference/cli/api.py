"""How commands reach a running agent: the flags and the environment of the original's clients.

``CONSUL_HTTP_ADDR``, ``CONSUL_HTTP_TOKEN``, ``CONSUL_HTTP_SSL``, ``CONSUL_CACERT`` and the rest, each with a flag that
wins over it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from reference.cli.flags import Flag, Parsed, UsageError
from reference.config.errors import ConfigError
from reference.proxy import settings
from reference.proxy.api import AgentError, Connection, Reply
from reference.proxy.flags import Flags as ProxyFlags
from reference.proxy.flags import SettingsError

#: Each flag, and the variable that it wins over.
_VARIABLES: Mapping[str, str] = {
    "http-addr": "CONSUL_HTTP_ADDR",
    "token": "CONSUL_HTTP_TOKEN",
    "ca-file": "CONSUL_CACERT",
    "ca-path": "CONSUL_CAPATH",
    "client-cert": "CONSUL_CLIENT_CERT",
    "client-key": "CONSUL_CLIENT_KEY",
    "tls-server-name": "CONSUL_TLS_SERVER_NAME",
}
_HELP: Mapping[str, str] = {
    "http-addr": "Where the agent is: host:port, http://, https:// or unix:///path; 127.0.0.1:8500 if not given",
    "token": "The token to ask with; prefer the environment, since other users can read a command line",
    "ca-file": "A file with the authorities that may have signed the agent's certificate",
    "ca-path": "A directory with such files",
    "client-cert": "A certificate to show to the agent",
    "client-key": "The key of that certificate",
    "tls-server-name": "The name that the agent's certificate has",
}
FLAGS = tuple(Flag(name=name, help=f"{_HELP[name]} ({variable}).") for name, variable in _VARIABLES.items())
#: A reload reads files and may wait for a disk (s).
_PATIENCE = 60.0


def ask(parsed: Parsed, method: str, path: str) -> Reply:
    """The agent's answer, whatever its status. Raises UsageError, and ConfigError where there is no agent."""
    given = {variable: parsed.last(name, "") for name, variable in _VARIABLES.items()}
    environment = {**os.environ, **{name: value for name, value in given.items() if value}}
    # It is for proxies, and an operator is none.
    environment.pop("CONNECT_PROXY_TOKEN", None)
    try:
        agent = settings.agent(ProxyFlags(), environment)
    except SettingsError as error:
        raise UsageError(str(error)) from None
    connection = Connection(agent)
    try:
        return connection.request(method, path, timeout=_PATIENCE)
    except AgentError as error:
        remedy = "See that the agent runs, and that -http-addr or CONSUL_HTTP_ADDR leads to it"
        raise ConfigError(str(agent), f"the agent cannot be reached: {error}", remedy) from None
    finally:
        connection.close()
