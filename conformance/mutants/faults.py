"""Which faulty agents there are, and the requirements by which each one is judged.

Whoever has faulty agents tells of them in one way, in whatever language they are written: a command that is called with
``--list FOLDER`` and prints :class:`Catalogue` as JSON. It may put programs into the (empty) folder.
"""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from conformance.requirements import Register

_SECONDS = 120.0


class FaultsError(Exception):
    """The faulty agents cannot be used; the message is one sentence with its remedy."""


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One faulty agent. ``lie`` says in one sentence how it lies, ``breaks`` all requirements that it breaks by that.

    ``command`` is its command line; with ``one_file`` the first word of it is all of the program, and can be copied.
    ``equivalent`` is the reason why no check can tell it from an honest agent, for one that breaks nothing.
    ``disturbs`` is what it breaks at times, as chance has it: neither outcome is wrong, and none is asked for.
    """

    name: str
    lie: str
    command: tuple[str, ...]
    breaks: frozenset[str] = frozenset()
    disturbs: frozenset[str] = frozenset()
    one_file: bool = False
    equivalent: str = ""


class Catalogue(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All faulty agents. ``exempt`` maps requirements that none of them can break by itself to the reason."""

    faults: tuple[Fault, ...]
    exempt: Mapping[str, str] = {}


def ask(command: Sequence[str], folder: Path, register: Register) -> Catalogue:
    """The catalogue that a command tells. Raises :class:`FaultsError` when it is none, or contradicts itself."""
    shown = " ".join(command)
    try:
        finished = subprocess.run(
            [*command, "--list", str(folder)], capture_output=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FaultsError(f"{shown} --list cannot be run: {error}; correct --faults") from error
    if finished.returncode != 0:
        said = finished.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise FaultsError(
            f"{shown} --list ended with exit code {finished.returncode}: {said or 'nothing said'}"
        )
    try:
        catalogue = msgspec.json.decode(finished.stdout, type=Catalogue)
    except msgspec.DecodeError as error:
        raise FaultsError(f"{shown} --list prints no catalogue of faulty agents: {error}") from error
    for problem in problems(catalogue, (entry.id for entry in register)):
        raise FaultsError(f"{shown} --list: {problem}")
    return catalogue


def problems(catalogue: Catalogue, requirements: Iterable[str]) -> Iterator[str]:
    """In what it contradicts itself, or those requirements, each in one sentence."""
    known = set(requirements)
    names = [fault.name for fault in catalogue.faults]
    yield from (f"{name} is there twice" for name in sorted(set(names)) if names.count(name) > 1)
    for fault in catalogue.faults:
        if not fault.lie or not fault.command:
            yield f"{fault.name} needs a lie and a command"
        if bool(fault.breaks) is bool(fault.equivalent):
            yield f"{fault.name} needs either what it breaks, or the reason why it is equivalent to an honest agent"
        yield from (f"{fault.name} breaks {entry}, which is no requirement" for entry in fault.breaks - known)
        yield from (
            f"{fault.name} disturbs {entry}, which is no requirement" for entry in fault.disturbs - known
        )
        yield from (
            f"{fault.name} disturbs {entry}, which it breaks" for entry in fault.disturbs & fault.breaks
        )
    for entry, reason in catalogue.exempt.items():
        if entry not in known:
            yield f"{entry} is exempt, and no requirement"
        if not reason:
            yield f"{entry} is exempt without a reason"
        if any(entry in fault.breaks for fault in catalogue.faults):
            yield f"{entry} is exempt, and broken all the same: remove the exemption"


def judged_by(fault: Fault, checked: Iterable[str], *, near: int, far: float) -> tuple[str, ...]:
    """The requirements whose checks the faulty agent meets: those that it breaks, and samples of the others.

    ``near`` of the same behaviours and ``far`` of all the rest: the same ones each time, and hardly any others when
    requirements are added. With a ``far`` of 0.25 every fourth faulty agent, by lot, meets one; what
    is said to break nothing meets one at least.
    """
    behaviours = {_behaviour(entry) for entry in fault.breaks}
    others = sorted(set(checked) - fault.breaks - fault.disturbs, key=lambda entry: _lot(fault, entry))
    neighbours = [entry for entry in others if _behaviour(entry) in behaviours]
    strangers = [entry for entry in others if _behaviour(entry) not in behaviours]
    share = int.from_bytes(_lot(fault, "")) / (1 << 256)
    some = int(far) + (share < far % 1) if fault.breaks else max(int(far), 1)
    return tuple(sorted({*fault.breaks, *neighbours[:near], *strangers[:some]}))


def _lot(fault: Fault, requirement: str) -> bytes:
    return hashlib.sha256(f"{fault.name} {requirement}".encode()).digest()


def _behaviour(requirement: str) -> str:
    return requirement.rpartition("/")[0]
