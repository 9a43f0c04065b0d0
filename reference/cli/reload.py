"""``proxyproof reload``: has a running agent read its configuration again."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from reference.cli import api
from reference.cli.flags import UsageError, describe, parse

HELP = f"""Usage: proxyproof reload [options]

Has a running agent read its configuration again. Definitions and some options take effect; unchanged
proxies keep running. A configuration with a mistake changes nothing, and the mistake is printed.

{describe(api.FLAGS)}"""

_OK = 200


def main(arguments: Sequence[str]) -> int:
    """Return 0 when everything was applied, 1 when nothing was. Raises UsageError and ConfigError."""
    parsed = parse(arguments, api.FLAGS)
    if parsed.rest:
        raise UsageError(f"reload takes flags only, not {parsed.rest[0]}")
    reply = api.ask(parsed, "PUT", "/v1/agent/reload")
    if reply.status == _OK:
        print("Configuration reload triggered")
        return 0
    reason = " ".join(reply.body.decode(errors="replace").split())
    print(f"Error reloading: Unexpected response code: {reply.status} ({reason})", file=sys.stderr)
    return 1
