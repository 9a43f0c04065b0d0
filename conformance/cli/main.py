"""The suite's commands of ``proxyproof``: picks the one, says why it cannot be done."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from conformance.cli.common import BROKEN, USAGE, UsageError
from conformance.mutants.faults import FaultsError
from conformance.plugin import discovery
from conformance.plugin.discovery import DiscoveryError
from conformance.report.expectations import ExpectationError
from conformance.report.model import ReportError
from conformance.requirements import RegisterError, load
from conformance.requirements.register import FOLDER as REQUIREMENTS
from conformance.targets import TargetError

#: In the order in which they are listed; each is a module of this package.
COMMANDS = ("run", "smoke", "images", "mutants", "report", "requirements")


def main(
    arguments: Sequence[str], *, checks: Path = discovery.FOLDER, requirements_folder: Path = REQUIREMENTS
) -> int:
    """Carry out one command and return its exit code.

    ``checks`` and ``requirements`` are the folders of the suite's own; its tests bring others.
    """
    try:
        options = parser(arguments[:1]).parse_args(arguments)
    except SystemExit as ending:
        return ending.code if isinstance(ending.code, int) else USAGE
    try:
        register = load(requirements_folder)
        found = discovery.discover(checks)
        discovery.refuse_unknown(found, register)
        code: int = options.action(options, register, found)
    except (UsageError, TargetError, ExpectationError, FaultsError, ReportError) as error:
        return _complain(str(error), USAGE)
    except (RegisterError, DiscoveryError) as error:
        return _complain(str(error), BROKEN)
    return code


def _complain(message: str, code: int) -> int:
    print(f"proxyproof: {message}", file=sys.stderr)
    return code


def parser(wanted: Sequence[str] = ()) -> argparse.ArgumentParser:
    """What the command line may say.

    Only the ``wanted`` commands are known, unless there are none such: none waits for what another one imports.
    """
    made = argparse.ArgumentParser(prog="proxyproof", allow_abbrev=False)
    commands = made.add_subparsers(required=True, metavar="COMMAND")
    for name in [name for name in COMMANDS if name in wanted] or COMMANDS:
        importlib.import_module(f"conformance.cli.{name}").add(commands)
    return made
