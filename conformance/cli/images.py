"""``proxyproof images``: the images that are judged and stand behind proxies in containers."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from conformance.cli.common import OK
from conformance.plugin.discovery import Check
from conformance.requirements import Register

#: The checkout that this is part of; elsewhere (an installed wheel) it holds no project.
_CHECKOUT = Path(__file__).parents[2]


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Teach the parser this command."""
    images = commands.add_parser("images", help="build or remove container images", allow_abbrev=False)
    actions = images.add_subparsers(required=True, metavar="ACTION")
    build = actions.add_parser("build", help="build the agent and the services behind it", allow_abbrev=False)
    build.set_defaults(action=_build)
    build.add_argument(
        "--offline", action="store_true", help="upon bases that are made here by mmdebstrap: asks no registry"
    )
    build.add_argument(
        "--source", type=Path, default=_CHECKOUT, metavar="DIR", help="the checkout to install (%(default)s)"
    )
    remove = actions.add_parser("remove", help="remove them, and the bases made here", allow_abbrev=False)
    remove.set_defaults(action=_remove)


# The engine's library takes long to import, and only these commands and containers need it.


def _build(options: argparse.Namespace, register: Register, checks: Sequence[Check]) -> int:
    from conformance.containers import engine, images

    images.build(engine.connect(), offline=options.offline, source=options.source, announce=_say("built"))
    return OK


def _remove(options: argparse.Namespace, register: Register, checks: Sequence[Check]) -> int:
    from conformance.containers import engine, images

    images.remove(engine.connect(), announce=_say("removed"))
    return OK


def _say(done: str) -> Callable[[str], None]:
    return lambda name: print(f"{done} {name}", flush=True)
