"""What a managed proxy is started with besides its command: the environment that leads it back to this agent.

Generated variables first, then the agent's own environment, where a later one wins (MP-ENV-001). Two kinds of the
agent's own variables stay behind: those that would lead the proxy to another agent, and those by which a service
manager speaks to the agent alone. The latter differ at each start of the agent under systemd, and since a changed
environment restarts a proxy (MP-LIFE-014), no proxy would ever survive there.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from reference.config.model import AgentConfig, LogLevel

_LEADS_ELSEWHERE = frozenset(
    {"CONSUL_HTTP_ADDR", "CONSUL_HTTP_SSL", "CONNECT_PROXY_ID", "CONNECT_PROXY_TOKEN", "CONNECT_SIDECAR_FOR"}
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
_LOOPBACK_FOR = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1", "[::]": "::1"}  # noqa: S104


def api_address(config: AgentConfig) -> str:
    """``host:port`` at which a process of this machine reaches the agent (MP-ENV-003)."""
    host = _LOOPBACK_FOR.get(config.client_addr, config.client_addr).strip("[]")
    return f"[{host}]:{config.http_port}" if ":" in host else f"{host}:{config.http_port}"


def proxy_environment(config: AgentConfig, own: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """The environment of every managed proxy, but for its id and token. ``own`` is the agent's."""
    generated = {
        "CONSUL_HTTP_ADDR": api_address(config),
        "CONSUL_HTTP_TOKEN": "",
        "CONSUL_HTTP_SSL": "false",
        "CONSUL_CACERT": "",
        "CONSUL_CAPATH": "",
        "CONSUL_CLIENT_CERT": "",
        "CONSUL_CLIENT_KEY": "",
        "CONSUL_TLS_SERVER_NAME": "",
        "CONSUL_HTTP_SSL_VERIFY": "false",
        "CONSUL_HTTP_AUTH": "",
    }
    left_behind = _LEADS_ELSEWHERE | _SPOKEN_TO_THE_AGENT
    inherited = {name: value for name, value in own.items() if name not in left_behind}
    return tuple((generated | inherited).items())


def builtin_proxy_command(level: LogLevel) -> tuple[str, ...]:
    """The command of the built-in proxy: this very program (MP-CFG-022, MP-LOG-004)."""
    program = Path(sys.argv[0])
    run_as_module = program.name == "__main__.py"
    start = (sys.executable, "-m", "proxyproof") if run_as_module else (os.path.abspath(program),)
    log_level = () if level is LogLevel.INFO else ("-log-level", str(level))
    return (*start, "connect", "proxy", *log_level)
