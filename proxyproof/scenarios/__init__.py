"""Stories of several steps, each told once and run in several worlds.

A story is a file of ``scenarios/``: prose for people, and steps as data. A step does something (``do``) and says what
must come of it (``then``); the words are the tables :data:`ACTIONS` and :data:`EXPECTATIONS`. A world is whoever can
carry them out: the simulated machine (:mod:`reference.supervisor.simulation.scenarios`), and real processes of this
machine or of a container (:mod:`conformance.scenarios`). What a world can only imitate it says, and what it cannot do
at all ends the story there, without a verdict.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from proxyproof.data import path

#: Services whose definitions come over HTTP, and those that the operator keeps in files.
OVER_HTTP, IN_FILES = ("web", "redis"), ("api", "db")
SERVICES = (*OVER_HTTP, *IN_FILES)

#: What a service's proxy can be: the agent's own, or a program of the world that behaves in some way.
PROGRAMS: Mapping[str, str] = {
    "builtin": "the proxy that the agent brings along",
    "polite": "ends when it is asked to",
    "deaf": "does not care about polite signals",
    "crashing": "ends at once, again and again",
    "family": "has a child",
}

#: What can be done. ``{service}`` stands where the name of a service does.
ACTIONS: Mapping[str, str] = {
    "start": "the agent is started",
    "stop": "the agent is asked to end",
    "kill": "the agent is killed",
    "upgrade": "the agent's program moves elsewhere, and the agent is restarted from there",
    "define {service}": "a service is defined or changed; options program and upstream",
    "remove {service}": "a service is removed",
    "connect {service}": "a client opens a connection through the proxy of this service to its upstream, and keeps it",
    "crash {service}": "the proxy of a service is killed",
    "reboot": "the machine loses its power and comes back",
    "recycle {service}": "a stranger gets the pid that the proxy of a service had",
    "tear": "the snapshot ends in the middle",
    "lose": "the snapshot is gone",
    "fill": "the disk is full",
    "free": "the disk has space again",
    "occupy": "other programs listen on all ports of the range but one",
}

#: What can be expected. A proxy is compared with the one that the story saw last.
EXPECTATIONS: Mapping[str, str] = {
    "{service} runs": "it has one proxy process, and no more",
    "{service} unchanged": "it still has the same one",
    "{service} replaced": "it has one, and it is another than before",
    "{service} waits": "it has none, and the agent says so",
    "{service} gone": "process, record and pid file are gone",
    "{service} refused": "the last request about it was refused",
    "connection open": "what is sent on the open connection comes back",
    "stranger unharmed": "the stranger is still there, and nobody has signalled it",
}


class ScenarioError(ValueError):
    """A story cannot be read; the message names file, step and what is wrong."""


class Unfulfilled(Exception):
    """What a story says must come of a step has not come; the text says what was found instead."""


class Impossible(Exception):
    """This world cannot do that; the text says why."""


class Unavailable(Exception):
    """This world is not there, so no story can be told in it; the text says what is missing."""


@dataclass(frozen=True, kw_only=True)
class Action:
    """Something that is done: a verb of :data:`ACTIONS`, the service if it has one, its options."""

    verb: str
    service: str = ""
    options: Mapping[str, str]
    words: str


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """What must come of it: ``state`` of a service, of the ``connection`` or of the ``stranger``."""

    subject: str
    state: str
    words: str


@dataclass(frozen=True, kw_only=True)
class Step:
    """``tell`` is the sentence for people; all of ``then`` must hold once all of ``do`` was done."""

    tell: str
    do: tuple[Action, ...]
    then: tuple[Expectation, ...]


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A story. ``name`` is that of its file."""

    name: str
    title: str
    story: str
    steps: tuple[Step, ...]


class World(Protocol):
    """Where a story is told."""

    @property
    def name(self) -> str:
        """As the command line calls it."""

    def do(self, action: Action) -> str:
        """Do it; a sentence when it could only be imitated, else nothing. Raises :class:`Impossible`."""

    def expect(self, expectation: Expectation) -> None:
        """Wait until it holds, as long as this world thinks is fair. Raises :class:`Unfulfilled`."""


class Ending(StrEnum):
    """How the telling of a story ended."""

    FULFILLED = "fulfilled"
    UNFULFILLED = "unfulfilled"
    IMPOSSIBLE = "impossible"


@dataclass(frozen=True, kw_only=True)
class Told:
    """What came of it after so many ``steps``: ``reason`` unless all was fulfilled, ``imitated`` what was only that."""

    scenario: Scenario
    world: str
    ending: Ending
    reason: str = ""
    imitated: tuple[str, ...] = ()
    steps: int


def tell(scenario: Scenario, world: World) -> Told:
    """Tell a story in a world, until it is over or cannot go on."""
    imitated: list[str] = []
    number = 0

    def told(ending: Ending, reason: str = "") -> Told:
        return Told(
            scenario=scenario,
            world=world.name,
            ending=ending,
            reason=reason,
            imitated=tuple(imitated),
            steps=number,
        )

    for number, step in enumerate(scenario.steps, start=1):
        words = ""
        try:
            for action in step.do:
                words = action.words
                if note := world.do(action):
                    imitated.append(f"{words}: {note}")
            for expectation in step.then:
                words = expectation.words
                world.expect(expectation)
        except Unfulfilled as error:
            return told(Ending.UNFULFILLED, f"step {number}, {words}: {error}")
        except Impossible as error:
            return told(Ending.IMPOSSIBLE, f"step {number}, {words}: {error}")
    return told(Ending.FULFILLED)


def names() -> list[str]:
    """The stories that there are, by name."""
    return sorted(file.stem for file in path("scenarios").glob("*.toml"))


def load(name: str) -> Scenario:
    """Read a story. Raises :class:`ScenarioError`."""
    if name not in names():
        raise ScenarioError(f"there is no story {name}; there are {', '.join(names())}")
    return parse(name, path("scenarios", f"{name}.toml").read_text(encoding="utf-8"))


def parse(name: str, text: str) -> Scenario:
    """Read the text of a story. Raises :class:`ScenarioError`."""
    try:
        document = tomllib.loads(text)
        steps = tuple(
            Step(
                tell=str(step["tell"]),
                do=tuple(map(_action, step.get("do", ()))),
                then=tuple(map(_expectation, step.get("then", ()))),
            )
            for step in document["steps"]
        )
        return Scenario(name=name, title=document["title"], story=document["story"].strip(), steps=steps)
    except KeyError as error:
        raise ScenarioError(f"{name}: {error.args[0]} is missing") from None
    except ValueError as error:
        raise ScenarioError(f"{name}: {error}") from None


def _action(words: str) -> Action:
    verb, *rest = words.split() or [""]
    service = rest.pop(0) if rest and "=" not in rest[0] else ""
    _known(words, f"{verb} {{service}}" if service else verb, ACTIONS)
    _known(words, service or SERVICES[0], SERVICES)
    options = dict(word.split("=", 1) for word in rest if "=" in word)
    _known(words, options.get("program", "builtin"), PROGRAMS)
    if len(options) != len(rest) or options.keys() - {"program", "upstream"}:
        raise ScenarioError(f'"{words}" has options other than program and upstream')
    return Action(verb=verb, service=service, options=options, words=words)


def _expectation(words: str) -> Expectation:
    subject, _, state = words.partition(" ")
    _known(words, words if words in EXPECTATIONS else f"{{service}} {state}", EXPECTATIONS)
    if words not in EXPECTATIONS:
        _known(words, subject, SERVICES)
    return Expectation(subject=subject, state=state, words=words)


def _known(words: str, word: str, known: Iterable[str]) -> None:
    if word not in known:
        raise ScenarioError(f'"{words}" says nothing: known are {", ".join(known)}')
