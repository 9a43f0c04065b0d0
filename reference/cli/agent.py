"""``proxyproof agent``: loads the configuration and runs the agent with it until a signal ends it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reference.cli.flags import Flag, Parsed, UsageError, boolean, describe, integer, parse
from reference.config.load import LoadResult, load
from reference.config.sources import Sources

_REPEATABLE = (
    Flag(
        name="config-dir",
        help="A directory whose .json and .hcl files are read, by name.",
        repeatable=True,
    ),
    Flag(name="config-file", help="A .json or .hcl file to read.", repeatable=True),
    Flag(
        name="hcl",
        help="A fragment of configuration, in HCL or JSON; wins over files and flags.",
        repeatable=True,
    ),
)
_DEV = Flag(
    name="dev", help="Development mode: Connect is on, nothing is stored without -data-dir.", read=boolean
)

#: Each flag that sets an option, and the dotted name of the option.
_OPTIONS = (
    (Flag(name="bind", help="The address that proxies and this node use."), "bind_addr"),
    (Flag(name="client", help="The address of the HTTP API and the DNS interface."), "client_addr"),
    (Flag(name="data-dir", help="Where state, and the logs of proxies, are kept."), "data_dir"),
    (Flag(name="dns-port", help="The port of the DNS interface, -1 for none.", read=integer), "ports.dns"),
    (Flag(name="domain", help="The domain that the DNS interface answers for."), "domain"),
    (Flag(name="http-port", help="The port of the HTTP API, -1 for none.", read=integer), "ports.http"),
    (Flag(name="log-level", help="TRACE, DEBUG, INFO, WARN or ERR."), "log_level"),
    (Flag(name="node", help="The name of this node; the host's name if not given."), "node_name"),
)
_TABLE = (*_REPEATABLE, _DEV, *(flag for flag, _ in _OPTIONS))
_OPTION_NAMES = {flag.name: option for flag, option in _OPTIONS}

HELP = f"Usage: proxyproof agent [options]\n\nRuns an agent.\n\n{describe(_TABLE)}"


def main(arguments: Sequence[str]) -> int:
    """Run the agent; return its exit code. Raises UsageError and ConfigError before anything is started."""
    parsed = parse(arguments, _TABLE)
    if parsed.rest:
        raise UsageError(f"the agent takes flags only, not {parsed.rest[0]}")
    sources = _sources(parsed)

    def reload() -> LoadResult:
        return load(sources)

    result = reload()
    from reference.agent.agent import run

    return run(result.config, ignored=result.ignored, reload=reload)


def _sources(parsed: Parsed) -> Sources:
    return Sources(
        paths=parsed.all("config-file", "config-dir"),
        flags=tuple(
            (f"-{name}", _nested(_OPTION_NAMES[name], value))
            for name, value in parsed.given
            if name in _OPTION_NAMES
        ),
        fragments=parsed.all("hcl"),
        dev_mode=parsed.last("dev", default=False),
    )


def _nested(option: str, value: Any) -> dict[str, Any]:
    """``ports.http`` and 8500 as the configuration ``{"ports": {"http": 8500}}``."""
    for key in reversed(option.split(".")):
        value = {key: value}
    return dict(value)
