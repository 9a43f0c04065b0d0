"""``proxyproof agent``: loads the configuration and runs the agent with it until a signal ends it."""

from __future__ import annotations

from collections.abc import Sequence

from proxyproof.start import imported
from reference.cli.agent_flags import TABLE, configuration
from reference.cli.flags import Parsed, UsageError, describe, parse
from reference.config.load import LoadResult, load
from reference.config.sources import Sources

HELP = f"Usage: proxyproof agent [options]\n\nRuns an agent.\n\n{describe(TABLE)}"


def main(arguments: Sequence[str]) -> int:
    """Run the agent; return its exit code. Raises UsageError and ConfigError before anything is started."""
    parsed = parse(arguments, TABLE)
    if parsed.rest:
        raise UsageError(f"the agent takes flags only, not {parsed.rest[0]}")
    sources = _sources(parsed)

    def reload() -> LoadResult:
        return load(sources)

    result = reload()
    agent = imported("reference.agent.agent")  # only now: a mistake is told without it
    code: int = agent.run(result, reload=reload)
    return code


def _sources(parsed: Parsed) -> Sources:
    return Sources(
        paths=parsed.all("config-file", "config-dir"),
        flags=configuration(parsed),
        fragments=parsed.all("hcl"),
        dev_mode=parsed.last("dev", default=False),
        file_format=parsed.last("config-format", default=""),
    )
