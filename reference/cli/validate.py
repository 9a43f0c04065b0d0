"""``proxyproof validate``: everything that the agent would say about its configuration, without an agent."""

from __future__ import annotations

from collections.abc import Sequence

from reference.cli.agent_flags import file_format
from reference.cli.flags import Flag, UsageError, boolean, describe, parse
from reference.config.load import load
from reference.config.sources import Sources

_TABLE = (
    Flag(
        name="config-format",
        help="Files are in this format, hcl or json, whatever their names end in.",
        read=file_format,
    ),
    Flag(name="quiet", help="Say nothing but what is wrong.", read=boolean),
)
HELP = f"""Usage: proxyproof validate [options] FILE_OR_DIRECTORY...

Reads the files and directories as the agent would, in this order, and names the first problem.
They must be a whole configuration, data_dir included.

{describe(_TABLE)}"""


def main(arguments: Sequence[str]) -> int:
    """Return 0 when an agent would start with these files. Raises UsageError and ConfigError."""
    parsed = parse(arguments, _TABLE)
    if not parsed.rest:
        raise UsageError("must specify at least one config file or directory")
    sources = Sources(paths=parsed.rest, file_format=parsed.last("config-format", default=""))
    ignored = load(sources).ignored
    if not parsed.last("quiet", default=False):
        print("Configuration is valid!")
        if ignored:
            print(f"Without effect on this agent: {', '.join(ignored)}")
    return 0
