"""The one entry point: hands the command line to the half that owns the sub-command.

The halves are imported only when they are asked for: a managed proxy starts once per service, and must
not pay for the agent's web server or for the suite's test runner.
"""

from __future__ import annotations

import sys

CONFORMANCE_COMMANDS = frozenset({"run", "requirements"})


def main() -> int:
    """Run ``proxyproof`` with ``sys.argv`` and return its exit code."""
    arguments = sys.argv[1:]
    if arguments and arguments[0] in CONFORMANCE_COMMANDS:
        from conformance.cli import main as conformance_main

        return conformance_main(arguments)
    from reference.cli.main import main as reference_main

    return reference_main(arguments)


if __name__ == "__main__":
    sys.exit(main())
