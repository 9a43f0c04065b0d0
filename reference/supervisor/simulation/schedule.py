"""What happens to a simulated machine and when: a list of deeds, made from a seed or read from text.

Nothing else is random in a story. So a deed can be left out, and the others still do what they did: that is what
makes a long story short (:mod:`~reference.supervisor.simulation.shrink`). The text has a deed a line, with its time
in virtual seconds::

    world lazy-init old-kernel
        0.000  start
        3.172  define web program=deaf
       11.480  kill calls=4
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from reference.supervisor.simulation.programs import PROGRAMS

#: Defined over HTTP, and in files that the operator keeps.
OVER_HTTP, IN_FILES = ("web", "redis"), ("api", "db")
SERVICES = (*OVER_HTTP, *IN_FILES)
#: The program of a definition that names none: the agent's own.
BUILT_IN = "builtin"

TRAITS = {
    "lazy-init": "init is slow to collect zombies, as in many containers",
    "old-kernel": "the kernel cannot signal a group through a pidfd (before Linux 6.9)",
    "dev": "the agent has no data directory",
}


class ScheduleError(ValueError):
    """A text is no schedule; the message names the line and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Verb:
    """What a deed can be. ``fault`` deeds count as accidents, the others as somebody's intention."""

    summary: str
    of_service: bool = False
    options: Mapping[str, type[int] | type[float] | type[str]] = field(default_factory=dict)
    fault: bool = False


VERBS: Mapping[str, Verb] = {
    "start": Verb("the agent is started, unless it runs"),
    "stop": Verb("the agent is asked to end"),
    "kill": Verb("the agent is killed, at once or after so many calls", options={"calls": int}, fault=True),
    "second": Verb("another agent is started with the same data directory", fault=True),
    "upgrade": Verb("the agent's program moves, the agent is restarted", fault=True),
    "define": Verb("a service is defined, or defined anew", True, {"program": str, "port": int}),
    "remove": Verb("a service is removed", True),
    "restart": Verb("the proxy of a service is restarted by hand", True),
    "hold": Verb("the proxy of a service is stopped by hand, for now", True),
    "crash": Verb("the proxy of a service crashes", True, fault=True),
    "recycle": Verb("a stranger gets the pid that the proxy of a service had", True, fault=True),
    "strangers": Verb("other processes start", options={"count": int, "kind": str}),
    "disperse": Verb("other processes end", options={"share": float}),
    "occupy": Verb("another program listens on a port", options={"port": int}, fault=True),
    "reboot": Verb("power fails; some of what was not synced is kept", options={"kept": float}, fault=True),
    "fill": Verb("the disk is full", fault=True),
    "free": Verb("the disk has space again"),
    "lose": Verb("the snapshot is deleted", fault=True),
    "tear": Verb("the snapshot is cut", options={"kept": float}, fault=True),
    "stall": Verb("the agent gets no processor for a while", options={"seconds": float}, fault=True),
    "suspend": Verb("the machine sleeps", options={"seconds": float}, fault=True),
    "clock": Verb("the wall clock is set forward or back", options={"seconds": float}, fault=True),
    "sabotage": Verb("a rule is broken on purpose, to see whether that is noticed", options={"rule": str}),
}

#: What a stranger can be.
STRANGERS = ("plain", "proxy", "foreign", "threaded")


@dataclass(frozen=True, slots=True)
class Deed:
    """One thing that is done at ``at`` (virtual seconds since the beginning)."""

    at: float
    verb: str
    service: str = ""
    options: tuple[tuple[str, int | float | str], ...] = ()

    @property
    def words(self) -> str:
        options = [
            f"{name}={value:.10g}" if isinstance(value, float) else f"{name}={value}"
            for name, value in self.options
        ]
        return " ".join([self.verb, *([self.service] if self.service else []), *options])

    def __str__(self) -> str:
        return f"{self.at:12.3f}  {self.words}"

    def number(self, name: str, default: float) -> float:
        value = dict(self.options).get(name, default)
        assert not isinstance(value, str)
        return value

    def text(self, name: str, default: str) -> str:
        return str(dict(self.options).get(name, default))


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A whole story to come: the machine's ``traits`` and what happens on it, in order."""

    deeds: tuple[Deed, ...]
    traits: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return "\n".join([" ".join(["world", *sorted(self.traits)]), *map(str, self.deeds)]) + "\n"

    @property
    def faults(self) -> int:
        return sum(VERBS[deed.verb].fault for deed in self.deeds)


def parse(text: str) -> Schedule:
    """Read what ``str(schedule)`` writes; empty lines and those that begin with ``#`` are skipped.

    Raises :class:`ScheduleError`.
    """
    traits: frozenset[str] = frozenset()
    deeds: list[Deed] = []
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            if words[0] == "world":
                traits = frozenset(words[1:])
                _known(traits, TRAITS, "trait")
            else:
                deeds.append(deed(float(words[0]), words[1:]))
        except ValueError as error:
            raise ScheduleError(f"line {number}: {error}") from None
    if any(later.at < earlier.at for earlier, later in itertools.pairwise(deeds)):
        raise ScheduleError("the deeds are not in the order of their times")
    return Schedule(deeds=tuple(deeds), traits=traits)


def deed(at: float, words: Iterable[str]) -> Deed:
    """Read a deed: ``define web program=deaf``. Raises :class:`ValueError`."""
    name, *rest = [*words] or [""]
    _known([name], VERBS, "deed")
    verb = VERBS[name]
    service = ""
    if verb.of_service:
        if not rest:
            raise ValueError(f"{name} needs a service")
        service = rest.pop(0)
        _known([service], SERVICES, "service")
    options: list[tuple[str, int | float | str]] = []
    for word in rest:
        key, equals, value = word.partition("=")
        _known([key], verb.options, f"option of {name}")
        if not equals:
            raise ValueError(f"{key} needs a value")
        try:
            options.append((key, verb.options[key](value)))
        except ValueError:
            raise ValueError(f"{key} needs a number, not {value}") from None
        if key == "program":
            _known([value], (*PROGRAMS, BUILT_IN), "program")
        if key == "kind":
            _known([value], STRANGERS, "kind of stranger")
    return Deed(at, name, service, tuple(options))


def _known(words: Iterable[str], known: Iterable[str], what: str) -> None:
    choice = sorted(known)
    for word in words:
        if word not in choice:
            raise ValueError(f'unknown {what} "{word}"; known: {", ".join(choice) or "none"}')
