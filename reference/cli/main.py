"""``proxyproof``: picks the sub-command, and imports nothing of the others.

Exit codes: 0 done, 1 cannot be done (the configuration or the machine is wrong), 2 the command line is wrong.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from proxyproof import __version__
from proxyproof.start import imported
from reference.cli.flags import HelpRequested, UsageError
from reference.config.errors import ConfigError

DONE, CANNOT, USAGE = 0, 1, 2

#: The sub-commands of this half: what they do, and the module whose ``main`` does it.
_COMMANDS = {
    "agent": ("Runs an agent that manages the proxies of its services", "reference.cli.agent"),
    "connect": ("Runs the built-in proxy: connect proxy", "reference.cli.connect"),
    "proxies": ("Lists, restarts and stops managed proxies, and shows their logs", "reference.cli.proxies"),
    "reload": ("Has a running agent read its configuration again", "reference.cli.reload"),
    "simulate": ("Tries the supervisor on simulated machines, with accidents", "reference.cli.simulate"),
    "validate": ("Checks configuration files without starting anything", "reference.cli.validate"),
}
#: What the help names beside them: the other half's commands, and those that need no module.
_SYNOPSES = {
    **{name: synopsis for name, (synopsis, _) in _COMMANDS.items()},
    "bench": "Measures the built-in proxy against others, in one run",
    "help": "Shows this text",
    "images": "Builds and removes the container images of the conformance suite",
    "mutants": "Judges the conformance suite, by agents that lie",
    "report": "Compares reports: diff, matrix",
    "requirements": "Lists what the conformance suite requires of an agent",
    "run": "Judges an implementation from outside and writes a report",
    "smoke": "Judges an adapter before it is used for a run",
    "scenarios": "Tells the stories of the supervisor, on a simulated machine, on this one and in containers",
    "version": "Prints the version",
}
_HELP = ("help", "-h", "-help", "--help")
_VERSION = ("version", "-v", "-version", "--version")


def main(arguments: Sequence[str]) -> int:
    """Run one sub-command and return its exit code; what a user can cause ends in one line on standard error."""
    command, *rest = arguments or ("",)
    if command in _HELP:
        print(_usage())
        return DONE
    if command in _VERSION:
        print(f"proxyproof {__version__}")
        return DONE
    if command not in _COMMANDS:
        problem = f'unknown command "{command}"' if command else "no command given"
        return _fail(USAGE, f"{problem}; the commands are {', '.join(sorted(_SYNOPSES))}")
    module = imported(_COMMANDS[command][1])
    try:
        code: int = module.main(rest)
    except UsageError as error:
        return _fail(USAGE, f"{error}; see proxyproof {command} -help")
    except ConfigError as error:
        return _fail(CANNOT, str(error))
    except HelpRequested:
        print(module.HELP)
        return DONE
    return code


def _usage() -> str:
    commands = "\n".join(f"    {name:<13} {synopsis}" for name, synopsis in sorted(_SYNOPSES.items()))
    return f"Usage: proxyproof <command> [<args>]\n\nThe commands are:\n{commands}"


def _fail(code: int, problem: str) -> int:
    """One line, whatever the problem quotes."""
    print(f"Error: {' '.join(problem.split())}", file=sys.stderr)
    return code
