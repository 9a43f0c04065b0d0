"""The targets that ``--target`` names: those of the suite, and those of packages that are installed beside it.

A package adds one through the entry point group ``proxyproof.targets``: a callable that takes a
:class:`~conformance.targets.target.TargetChoice` and returns a :class:`~conformance.targets.target.Target`.
"""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from conformance.targets.consul import consul
from conformance.targets.errors import TargetError
from conformance.targets.exec import adapted
from conformance.targets.program import OneFile, PythonModule
from conformance.targets.target import CommandLineTarget, Target, TargetChoice

GROUP = "proxyproof.targets"

#: ``test -x`` asks without the capabilities of whoever asks; with one to read any file, reading shows the way there.
_CAN_EXECUTE = ("/bin/sh", "-c", 'test -x "$0" || head -c 1 "$0" > /dev/null')


def resolve(choice: TargetChoice) -> Target:
    """The target of that choice. Raises :class:`TargetError` when it cannot be used."""
    if choice.kind in KINDS:
        return KINDS[choice.kind](choice)
    for point in _installed():
        if point.name == choice.kind:
            return _loaded(point, choice)
    raise TargetError(f"no target is called {choice.kind!r}; known are {', '.join(names())}")


def names() -> list[str]:
    """What ``--target`` takes."""
    return sorted({*KINDS, *(point.name for point in _installed())})


def _installed() -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=GROUP))


def _loaded(point: EntryPoint, choice: TargetChoice) -> Target:
    try:
        made: Target = point.load()(choice)
    except TargetError:
        raise
    except Exception as error:
        raise TargetError(
            f"the target {point.name} ({point.value}) cannot be made: {type(error).__name__}: {error}"
        ) from error
    return made


def _reference(choice: TargetChoice) -> Target:
    choice.only()
    module = (sys.executable, "-m", "proxyproof")
    return CommandLineTarget(
        name="reference",
        prefix=(*module, "agent"),
        program=PythonModule(module="proxyproof.__main__", name="proxyproof", arguments=("agent",)),
        probe=(sys.executable, "-c", "import cryptography, proxyproof.__main__"),
        simulation=(*module, "simulate", "-seeds", "0..2"),
    )


def _process(choice: TargetChoice) -> Target:
    command = choice.only("command")
    try:
        words = shlex.split(command or "")
    except ValueError as error:
        raise TargetError(f"--command {command!r} cannot be split into words: {error}") from error
    if not words:
        raise TargetError('--target process needs --command, such as --command "/usr/bin/consul agent"')
    binary = executable(words[0], "correct the first word of --command")
    arguments = tuple(words[1:])
    return CommandLineTarget(
        name="process",
        prefix=(binary, *arguments),
        probe=(*_CAN_EXECUTE, binary),
        program=OneFile(path=Path(binary), arguments=arguments) if choice.one_file else None,
    )


def _consul(choice: TargetChoice) -> Target:
    if not (given := choice.only("binary")):
        raise TargetError("--target consul needs --binary, such as --binary /usr/local/bin/consul")
    binary = executable(given, "correct --binary")
    return consul(binary, probe=(*_CAN_EXECUTE, binary))


def _exec(choice: TargetChoice) -> Target:
    if not (given := choice.only("adapter")):
        raise TargetError("--target exec needs --adapter, an executable that speaks the adapter protocol")
    return adapted(executable(given, "correct --adapter"))


def _container(choice: TargetChoice) -> Target:
    if not (image := choice.only("image", "next_image", "command")):
        raise TargetError("--target container needs --image, such as --image proxyproof/agent:py3.13")
    from conformance.targets.container import container  # it takes long to import, and others do not need it

    return container(
        image=image, next_image=choice.next_image, command=choice.command, one_file=choice.one_file
    )


def executable(name: str, remedy: str) -> str:
    """The absolute path of a program. Raises :class:`TargetError` when there is none."""
    found = shutil.which(name)
    if found is None:
        raise TargetError(f"{name} is not an executable file; {remedy}")
    return str(Path(found).absolute())


#: The suite's own.
KINDS: Mapping[str, Callable[[TargetChoice], Target]] = {
    "reference": _reference,
    "process": _process,
    "consul": _consul,
    "exec": _exec,
    "container": _container,
}
