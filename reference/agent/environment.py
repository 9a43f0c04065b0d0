"""What a managed proxy is started with besides its command: the environment that leads it back to this agent.

Generated variables first, then the agent's own environment, where a later one wins (MP-ENV-001). Two kinds of the
agent's own variables stay behind: those that would lead the proxy to another agent, and those by which a service
manager speaks to the agent alone. The latter differ at each start of the agent under systemd, and since a changed
environment restarts a proxy (MP-LIFE-014), no proxy would ever survive there.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from msgspec.structs import replace

from reference.config.model import AgentConfig, LogLevel
from reference.config.network import Address, TcpAddress

_LEADS_ELSEWHERE = frozenset(
    {
        "CONSUL_HTTP_ADDR",
        "CONSUL_HTTP_SSL",
        "CONSUL_CACERT",
        "CONSUL_CAPATH",
        "CONSUL_CLIENT_CERT",
        "CONSUL_CLIENT_KEY",
        "CONSUL_TLS_SERVER_NAME",
        "CONSUL_HTTP_SSL_VERIFY",
        "CONNECT_PROXY_ID",
        "CONNECT_PROXY_TOKEN",
        "CONNECT_SIDECAR_FOR",
    }
)
_SPOKEN_TO_THE_AGENT = frozenset(
    {
        "INVOCATION_ID",
        "JOURNAL_STREAM",
        "LISTEN_FDNAMES",
        "LISTEN_FDS",
        "LISTEN_PID",
        "MAINPID",
        "NOTIFY_SOCKET",
        "SYSTEMD_EXEC_PID",
        "WATCHDOG_PID",
        "WATCHDOG_USEC",
    }
)
_LOOPBACK_FOR = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104


def api_address(config: AgentConfig) -> Address | None:
    """Where a process of this machine reaches the agent, HTTPS first as in the original (MP-ENV-003).

    An address of the machine is better than all of them at once, and TCP is better than a socket in the file system.
    """
    for found in (config.https_addrs, config.http_addrs):
        tcp = [address for address in found if isinstance(address, TcpAddress)]
        tcp.sort(key=lambda address: address.host in _LOOPBACK_FOR)
        if tcp:
            return replace(tcp[0], host=_LOOPBACK_FOR.get(tcp[0].host, tcp[0].host))
    return next(iter((*config.http_addrs, *config.https_addrs)), None)


def proxy_environment(config: AgentConfig, own: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """The environment of every managed proxy, but for its id and token. ``own`` is the agent's."""
    address, tls = api_address(config), config.tls
    https = config.https_port > 0
    generated = {
        "CONSUL_HTTP_ADDR": "" if address is None else str(address),
        "CONSUL_HTTP_TOKEN": "",
        "CONSUL_HTTP_SSL": _boolean(https),
        "CONSUL_CACERT": tls.ca_file if https else "",
        "CONSUL_CAPATH": tls.ca_path if https else "",
        "CONSUL_CLIENT_CERT": tls.cert_file if https else "",
        "CONSUL_CLIENT_KEY": tls.key_file if https else "",
        "CONSUL_TLS_SERVER_NAME": tls.server_name if https else "",
        "CONSUL_HTTP_SSL_VERIFY": _boolean(tls.verify_outgoing),
        "CONSUL_HTTP_AUTH": "",
    }
    left_behind = _LEADS_ELSEWHERE | _SPOKEN_TO_THE_AGENT
    inherited = {name: value for name, value in own.items() if name not in left_behind}
    return tuple((generated | inherited).items())


def _boolean(value: object) -> str:
    return "true" if value else "false"


def launcher() -> tuple[str, ...]:
    """How this very program is started."""
    program = Path(sys.argv[0])
    run_as_module = program.name == "__main__.py"
    return (sys.executable, "-m", "proxyproof") if run_as_module else (os.path.abspath(program),)


def locate(started_by: tuple[str, ...]) -> tuple[str, ...]:
    """Where the program that was ``started_by`` this is by now, should an upgrade have moved it under the agent."""
    if os.access(started_by[0], os.X_OK):
        return started_by
    found = shutil.which("proxyproof")
    return (sys.executable, "-m", "proxyproof") if found is None else (os.path.abspath(found),)


def builtin_proxy_command(level: LogLevel) -> tuple[str, ...]:
    """The command of the built-in proxy: this very program (MP-CFG-022, MP-LOG-004)."""
    log_level = () if level is LogLevel.INFO else ("-log-level", str(level))
    return (*launcher(), "connect", "proxy", *log_level)
