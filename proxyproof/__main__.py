"""The one entry point: hands the command line to the half that owns the sub-command.

The halves are imported only when they are asked for: a managed proxy starts once per service, and must
not pay for the agent's web server or for the suite's test runner.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from proxyproof.start import imported

INTERRUPTED = 130
CONFORMANCE_COMMANDS = frozenset({"images", "mutants", "report", "requirements", "run", "smoke"})


def main() -> int:
    """Run ``proxyproof`` with ``sys.argv`` and return its exit code.

    Ctrl-C where a command has no answer of its own to it, in its preparations for instance, is one sentence.
    """
    try:
        return _command(sys.argv[1:])
    except KeyboardInterrupt:
        print("proxyproof: interrupted", file=sys.stderr)
        return INTERRUPTED


def _command(arguments: Sequence[str]) -> int:
    command = arguments[0] if arguments else ""
    if command == "bench":
        return _run("conformance.bench.cli", arguments[1:])
    if command == "scenarios":
        return _run("proxyproof.scenarios.cli", arguments[1:])
    if command in CONFORMANCE_COMMANDS:
        return _run("conformance.cli", arguments)
    return _run("reference.cli.main", arguments)


def _run(module: str, arguments: Sequence[str]) -> int:
    code: int = imported(module).main(arguments)
    return code


if __name__ == "__main__":
    sys.exit(main())
