"""What the suite asks of a target, and the ready-made ones.

A target turns the flags of one agent into a command line. The suite does the rest from outside: files, ports,
signals, users. ``reference`` is this distribution's own agent, started like any other program; ``process`` is
whatever Consul-compatible command line the operator names.
"""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from conformance.requirements import Feature

ALL_FEATURES = frozenset(Feature)


class TargetError(Exception):
    """The target cannot be used as asked; the message is one sentence for the operator."""


class Target(Protocol):
    """An implementation under test.

    ``features`` is what it claims: the checks of other features are disabled, and every absence within the claim
    is a failure. ``cannot`` maps what the suite may ask for (``root``: agents with effective uid 0) to the reason
    why this target cannot do it: such checks are skipped. ``probe`` is a command that succeeds for every user who
    can execute the target.
    """

    @property
    def name(self) -> str: ...

    @property
    def features(self) -> frozenset[Feature]: ...

    @property
    def cannot(self) -> Mapping[str, str]: ...

    @property
    def probe(self) -> tuple[str, ...]: ...

    def command(self, flags: Sequence[str]) -> list[str]:
        """The argument vector of an agent with these single-dash flags."""
        ...


@dataclass(frozen=True, kw_only=True)
class CommandLineTarget:
    """A program on this machine: ``prefix`` followed by the agent's flags."""

    name: str
    prefix: tuple[str, ...]
    probe: tuple[str, ...]
    features: frozenset[Feature] = ALL_FEATURES
    cannot: Mapping[str, str] = field(default_factory=dict)

    def command(self, flags: Sequence[str]) -> list[str]:
        """``prefix`` and ``flags`` together."""
        return [*self.prefix, *flags]


def _reference(command: str | None) -> CommandLineTarget:
    if command is not None:
        raise TargetError("--command belongs to --target process; the reference brings its own command line")
    module = (sys.executable, "-m", "proxyproof")
    return CommandLineTarget(
        name="reference",
        prefix=(*module, "agent"),
        probe=(sys.executable, "-c", "import cryptography, proxyproof.__main__"),
    )


#: ``test -x`` asks without the capabilities of whoever asks; with one to read any file, reading shows the way there.
_CAN_EXECUTE = ("/bin/sh", "-c", 'test -x "$0" || head -c 1 "$0" > /dev/null')


def _process(command: str | None) -> CommandLineTarget:
    try:
        words = shlex.split(command or "")
    except ValueError as error:
        raise TargetError(f"--command {command!r} cannot be split into words: {error}") from error
    if not words:
        raise TargetError('--target process needs --command, such as --command "/usr/bin/consul agent"')
    binary = shutil.which(words[0])
    if binary is None:
        raise TargetError(f"{words[0]} is not an executable file; correct the first word of --command")
    binary = str(Path(binary).absolute())
    return CommandLineTarget(name="process", prefix=(binary, *words[1:]), probe=(*_CAN_EXECUTE, binary))


#: The targets by the name that ``--target`` takes.
KINDS: Mapping[str, Callable[[str | None], Target]] = {"reference": _reference, "process": _process}


def resolve(name: str, command: str | None) -> Target:
    """The target called ``name``. Raises :class:`TargetError` when it or its command cannot be used."""
    try:
        kind = KINDS[name]
    except KeyError:
        raise TargetError(f"no target is called {name!r}; known are {', '.join(KINDS)}") from None
    return kind(command)
