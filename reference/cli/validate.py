"""``proxyproof validate``: everything that the agent would say about its configuration, without an agent."""

from __future__ import annotations

from collections.abc import Sequence

from reference.cli.flags import UsageError, parse
from reference.config.load import load
from reference.config.sources import Sources

HELP = """Usage: proxyproof validate FILE_OR_DIRECTORY...

Reads the files and directories as the agent would, in this order, and names the first problem.
They must be a whole configuration, data_dir included."""


def main(arguments: Sequence[str]) -> int:
    """Return 0 when an agent would start with these files. Raises UsageError and ConfigError."""
    paths = parse(arguments, ()).rest
    if not paths:
        raise UsageError("must specify at least one config file or directory")
    ignored = load(Sources(paths=paths)).ignored
    print("Configuration is valid!")
    if ignored:
        print(f"Without effect on this agent: {', '.join(ignored)}")
    return 0
