"""``proxyproof scenarios``: lists the stories, explains their words, and tells them in the worlds that there are."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

from proxyproof import scenarios
from proxyproof.scenarios import Ending, ScenarioError, Told, Unavailable, World

FULFILLED, UNFULFILLED, USAGE = 0, 1, 2


def _simulated() -> AbstractContextManager[World]:
    from reference.supervisor.simulation.scenarios import SimulatedWorld

    return nullcontext(SimulatedWorld())


def _processes() -> AbstractContextManager[World]:
    from conformance.scenarios import process_world

    return process_world()


def _containers() -> AbstractContextManager[World]:
    from conformance.scenarios import container_world

    return container_world()


#: By name, how a world is made for one story. Imported only when it is asked for.
WORLDS: Mapping[str, Callable[[], AbstractContextManager[World]]] = {
    "simulated": _simulated,
    "processes": _processes,
    "containers": _containers,
}


def main(arguments: Sequence[str]) -> int:
    """Run the sub-command: 0 when every story came true, 1 when one did not, 2 for a mistake in the command."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "list":
            return _list()
        if options.command == "words":
            return _words()
        chosen = [scenarios.load(name) for name in options.names or scenarios.names()]
    except ScenarioError as error:
        print(f"Error: {error}", file=sys.stderr)
        return USAGE
    worlds = options.world or list(WORLDS)
    told = []
    for scenario in chosen:
        for name in worlds.copy():
            try:
                with WORLDS[name]() as world:
                    told.append(scenarios.tell(scenario, world))
            except Unavailable as error:
                if options.world:
                    print(f"Error: --world {name}: {error}", file=sys.stderr)
                    return USAGE
                worlds.remove(name)
                print(f"NOT TOLD     {name:<10} any of them: {error}", flush=True)
                continue
            print(_line(told[-1]), flush=True)
    count = {ending: sum(each.ending is ending for each in told) for ending in Ending}
    print(", ".join(f"{number} {ending}" for ending, number in count.items() if number))
    return UNFULFILLED if count[Ending.UNFULFILLED] else FULFILLED


def _line(told: Told) -> str:
    lines = [f"{told.ending:<12} {told.world:<10} {told.scenario.name}"]
    lines += [f"    {told.reason}"] if told.reason else []
    lines += [f"    imitated: {words}" for words in told.imitated]
    return "\n".join(lines)


def _list() -> int:
    for name in scenarios.names():
        print(f"{name:<30} {scenarios.load(name).title}")
    return FULFILLED


def _words() -> int:
    for title, table in (
        ("do", scenarios.ACTIONS),
        ("then", scenarios.EXPECTATIONS),
        ("program", scenarios.PROGRAMS),
    ):
        print(f"{title}:")
        for word, meaning in table.items():
            print(f"  {word:<20} {meaning}")
    return FULFILLED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="proxyproof scenarios", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="list|words|run")
    commands.add_parser("list", help="the stories that there are")
    commands.add_parser("words", help="what the words of the stories mean")
    run = commands.add_parser("run", help="tell stories, and see whether they come true")
    run.add_argument("names", nargs="*", metavar="NAME", help="all if none is named")
    run.add_argument("--world", action="append", choices=list(WORLDS), help="all if none is named")
    return parser
