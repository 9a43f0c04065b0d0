"""What the suite asks of a target, and how one is chosen.

A target knows how agents of an implementation are started, and what the implementation claims. The suite does the rest
from outside: files, ports, signals, users.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from conformance.requirements import Feature
from conformance.targets.errors import TargetError
from conformance.targets.privileges import Privileges, determine
from conformance.targets.program import Program
from conformance.targets.site import LocalSite, Site

#: What a program can claim: that it can be judged in containers is a matter of its image.
ALL_FEATURES = frozenset(Feature) - {Feature.CONTAINERS}


@dataclass(frozen=True, kw_only=True)
class TargetChoice:
    """What the operator chose on the command line; it travels to the processes that execute checks."""

    kind: str = "reference"
    command: str | None = None
    binary: str | None = None
    adapter: str | None = None
    image: str | None = None
    next_image: str | None = None
    one_file: bool = False

    def only(self, *options: str) -> str | None:
        """The value of the first of the options that the kind of target takes, ``None`` for no options.

        Raises :class:`TargetError` when another one was given.
        """
        for name in ("command", "binary", "adapter", "image", "next_image"):
            if name not in options and getattr(self, name) is not None:
                taken = " and ".join(map(_flag, options)) or "no such option"
                raise TargetError(
                    f"{_flag(name)} does not belong to --target {self.kind}, which takes {taken}"
                )
        if self.one_file and "command" not in options:
            raise TargetError(f"--one-file tells about --command, which --target {self.kind} does not take")
        value: str | None = getattr(self, options[0]) if options else None
        return value


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


class Target(Protocol):
    """An implementation under test.

    ``features`` is what it claims: the checks of other features are disabled, and every absence within the claim
    is a failure. ``version`` is that of the original that it speaks, where it says so: requirements that came
    later, or ended earlier, are disabled too. ``cannot`` maps what the suite may ask for (``root``: agents with
    effective uid 0; ``install``: the program at another place) to the reason why this target cannot do it: such
    checks are skipped.
    """

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    @property
    def features(self) -> frozenset[Feature]: ...

    @property
    def cannot(self) -> Mapping[str, str]: ...

    @property
    def simulation(self) -> tuple[str, ...]:
        """A command that tells a story in a simulated world, and prints what came of it; empty where there is none."""
        ...

    @property
    def expected(self) -> Path | None:
        """The file of known failures that comes with the suite for this implementation."""
        ...

    def command(self, flags: Sequence[str]) -> list[str]:
        """What starts an agent with these single-dash flags, as a report shows it."""
        ...

    def privileges(self, user: str | None) -> Privileges:
        """As whom agents can run. Raises :class:`TargetError` when ``user`` cannot be used."""
        ...

    def run(self, folder: Path) -> AbstractContextManager[None]:
        """Entered around all checks by whoever executes a run; ``folder`` is that of the run.

        At its end nothing is left of any site, however the process ended that had entered it.
        """
        ...

    def site(self, workspace: Path) -> AbstractContextManager[Site]:
        """Where the agents of the check that owns ``workspace`` run."""
        ...


@dataclass(frozen=True, kw_only=True)
class CommandLineTarget:
    """A program on this machine: ``prefix`` followed by the agent's flags.

    ``probe`` is a command that succeeds for every user who can execute the target. ``program`` is what is started,
    where it can be put somewhere else.
    """

    name: str
    prefix: tuple[str, ...]
    probe: tuple[str, ...]
    version: str = ""
    features: frozenset[Feature] = ALL_FEATURES
    program: Program | None = None
    simulation: tuple[str, ...] = ()
    expected: Path | None = None

    @property
    def cannot(self) -> Mapping[str, str]:
        """Everything else is a matter of this machine."""
        if self.program is not None:
            return {}
        return {
            "install": "which files of --command are the program is not known; "
            "give --one-file if its first word is all of it"
        }

    def command(self, flags: Sequence[str]) -> list[str]:
        """``prefix`` and ``flags`` together."""
        return [*self.prefix, *flags]

    def privileges(self, user: str | None) -> Privileges:
        """The ways of this machine."""
        return determine(user, self.probe)

    def run(self, folder: Path) -> AbstractContextManager[None]:
        """Whatever is left are processes, which the suite itself ends."""
        return nullcontext()

    def site(self, workspace: Path) -> AbstractContextManager[Site]:
        """This machine."""
        return LocalSite(self.prefix, folder=workspace, program=self.program)
