"""The command line of the suite, a module for each command.

Exit codes: 0 conforms, 1 does not, 2 the command was wrong, 3 the suite itself broke, 130 interrupted.
"""

from conformance.cli.main import main

__all__ = ["main"]
