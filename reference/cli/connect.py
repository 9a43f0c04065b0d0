"""``proxyproof connect proxy``: runs the built-in proxy. Output and exit codes are the original's (MP-CLI-002 to 009).

What the user gets to know goes to standard output, together with the log; what is wrong goes to standard error.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from reference.proxy import flags, manual, settings
from reference.proxy.api import Agent
from reference.proxy.config import ProxyConfig
from reference.proxy.flags import Flags, SettingsError, UsageError

CONNECT_USAGE = """\
Usage: proxyproof connect <subcommand> [options] [args]

Subcommands:
    proxy    Runs the built-in Connect mTLS proxy
"""


def main(arguments: Sequence[str]) -> int:
    """Run the sub-command that ``arguments`` (all after ``connect``) name; returns the exit code."""
    if not arguments or arguments[0] != "proxy":
        print(CONNECT_USAGE, file=sys.stderr)
        return 0 if arguments and arguments[0] in ("-h", "-help", "--help") else 1
    if {"-h", "-help", "--help"} & set(arguments[1:]):
        print(flags.USAGE, file=sys.stderr)
        return 0
    try:
        return _proxy(flags.read(arguments[1:], manual.upstream))
    except UsageError as problem:
        print(f"{problem}\n{flags.USAGE}", file=sys.stderr)
    except SettingsError as problem:
        print(f"==> {problem}", file=sys.stderr)
    return 1


def _proxy(given: Flags) -> int:
    level = settings.log_level(given)
    agent = settings.agent(given, os.environ)
    print("==> Consul Connect proxy starting...", flush=True)
    what = _what(given, agent)
    from reference.proxy.log import Log
    from reference.proxy.logfile import standard_output
    from reference.proxy.registration import Registration
    from reference.proxy.run import run

    log = Log(level=level, output=standard_output(os.environ))
    registration = None
    if given.register:
        if isinstance(what, str):
            raise SettingsError(
                "Failed initializing registration: -register may only be specified with -service and -listen"
            )
        address = manual.registered_at(what)
        suffix = given.get("register-id")
        registration = Registration(agent, service=what.service, suffix=suffix, address=address, log=log)
    print("\n==> Log data will now stream in as it occurs:\n", flush=True)
    run(agent=agent, what=what, registration=registration, log=log)
    print("==> Consul Connect proxy shutdown", flush=True)
    return 0


def _what(given: Flags, agent: Agent) -> str | ProxyConfig:
    """The id of a proxy that the agent describes, or the description that the flags give."""
    proxy_id, sidecar_for = settings.proxy_id(given, os.environ), settings.sidecar_for(given, os.environ)
    if not proxy_id and sidecar_for:
        proxy_id = settings.find_sidecar(agent, sidecar_for)
        print(f"    Configuration mode: Agent API\n        Sidecar for ID: {sidecar_for}", flush=True)
        print(f"              Proxy ID: {proxy_id}", flush=True)
        return proxy_id
    if proxy_id:
        print(f"    Configuration mode: Agent API\n              Proxy ID: {proxy_id}", flush=True)
        return proxy_id
    if not given.get("service"):
        raise SettingsError(
            "Error preparing configuration: "
            "-service or -proxy-id must be specified so that proxy can configure itself."
        )
    described = manual.config(given)
    print(manual.described(described), flush=True)
    return described
