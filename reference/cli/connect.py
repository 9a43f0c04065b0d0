"""``proxyproof connect proxy``: runs the built-in proxy. Output and exit codes are the original's (MP-CLI-002 to 009).

What the user gets to know goes to standard output, together with the log; what is wrong goes to standard error.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from reference.proxy import settings

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
        print(settings.USAGE, file=sys.stderr)
        return 0
    try:
        return _proxy(settings.read_flags(arguments[1:]))
    except settings.UsageError as problem:
        print(f"{problem}\n{settings.USAGE}", file=sys.stderr)
    except settings.SettingsError as problem:
        print(f"==> {problem}", file=sys.stderr)
    return 1


def _proxy(flags: dict[str, str]) -> int:
    level = settings.log_level(flags)
    agent = settings.agent(flags, os.environ)
    print("==> Consul Connect proxy starting...", flush=True)
    proxy_id = settings.proxy_id(flags, os.environ)
    print(f"    Configuration mode: Agent API\n              Proxy ID: {proxy_id}\n")
    print("==> Log data will now stream in as it occurs:\n", flush=True)
    from reference.proxy.log import Log
    from reference.proxy.run import run

    run(agent=agent, proxy_id=proxy_id, log=Log(level=level))
    print("==> Consul Connect proxy shutdown", flush=True)
    return 0
