"""What must come of any sequence of what operators and accidents do to an agent: a model, without any I/O.

Rules:

1. While the agent is up, each service that is wanted has one proxy of its present definition.
2. Nobody touches a proxy that runs and whose definition is the same: neither an agent that starts, ends or is killed,
   nor a reload, nor what happens to another service.
3. A changed definition replaces its proxy, a removed one ends it, a dead proxy is replaced: at once while the agent is
   up, and otherwise when it comes up again.
4. What the agent stored of its processes may be torn or lost while it is down: rules 1 to 3 hold all the same.

An action is told in the words of :mod:`proxyproof.scenarios`, and so is what must come of it. So a sequence becomes a
story (:func:`story`), which every world that knows these words can tell: processes of this machine
(:mod:`conformance.scenarios`), and a simulated one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from proxyproof.scenarios import IN_FILES, Action, Expectation, Scenario, Step

V = TypeVar("V")

#: Verbs about the agent as a whole. One that stands several times makes sequences in which it runs the usual ones.
_WHOLE = ("start", "start", "start", "stop", "kill", "reboot", "tear", "lose")
#: A program that ends at once, again and again.
_CRASHING = "crashing"


@dataclass(frozen=True, kw_only=True)
class State:
    """``wanted`` and ``running`` map services to programs, ``crashes`` to numbers; those ``known`` had a proxy."""

    up: bool = False
    wanted: Mapping[str, str] = field(default_factory=dict)
    running: Mapping[str, str] = field(default_factory=dict)
    crashes: Mapping[str, int] = field(default_factory=dict)
    known: frozenset[str] = frozenset()


def actions(services: Iterable[str], programs: Sequence[str]) -> tuple[Action, ...]:
    """Everything that may be done with these services and programs."""
    found = [_action(verb) for verb in _WHOLE]
    for service in services:
        found += [_action("define", service, program) for program in programs]
        found += [_action(verb, service) for verb in ("remove", "crash")]
    return tuple(found)


def possible(state: State, action: Action, *, most_crashes: int) -> bool:
    """Whether it can be done now; a proxy that crashes more often is delayed for longer than anybody wants to wait."""
    service = action.service
    match action.verb:
        case "start":
            return not state.up
        case "stop" | "kill":
            return state.up
        case "tear" | "lose":
            return not state.up and bool(state.known)
        case "reboot":
            return bool(state.known)
        case "define":
            return state.up or service in IN_FILES
        case "remove":
            return service in state.wanted and (state.up or service in IN_FILES)
        case "crash":
            return service in state.running and state.crashes.get(service, 0) < most_crashes
    raise ValueError(f"the model knows no {action.verb}")


def after(state: State, action: Action) -> tuple[State, tuple[Expectation, ...]]:
    """The state that follows, and what must be seen then: first what changes, then what does not."""
    service = action.service
    done = state
    match action.verb:
        case "start":
            done = replace(state, up=True)
        case "stop" | "kill":
            done = replace(state, up=False)
        case "reboot":
            done = replace(state, up=False, running={})
        case "define":
            done = replace(state, wanted={**state.wanted, service: action.options["program"]})
        case "remove":
            done = replace(
                state, wanted=_without(state.wanted, service), crashes=_without(state.crashes, service)
            )
        case "crash":
            crashes = {**state.crashes, service: state.crashes.get(service, 0) + 1}
            done = replace(state, running=_without(state.running, service), crashes=crashes)
    if not done.up:  # nobody is there to do anything, once the agent's end has done nothing
        ended = done.running if state.up else ()
        return done, tuple(_expected(name, "unchanged") for name in ended)
    running = {name: program for name, program in done.wanted.items() if program != _CRASHING}
    seen = [expected for name in {**done.running, **done.wanted} if (expected := _seen(done, name))]
    done = replace(done, running=running, known=done.known | running.keys())
    return done, tuple(sorted(seen, key=lambda each: (each.state == "unchanged", each.words)))


def story(told: Iterable[Action], *, most_crashes: int) -> Scenario:
    """The actions that are possible, each at its turn, with what must come of them."""
    state, steps = State(), []
    for action in told:
        if possible(state, action, most_crashes=most_crashes):
            state, expected = after(state, action)
            steps.append(Step(tell=action.words, do=(action,), then=expected))
    return Scenario(name="model", title="A sequence of actions", story="", steps=tuple(steps))


def words(scenario: Scenario, *, until: int | None = None) -> str:
    """A story for people, a line for each of its first ``until`` steps."""
    lines = (
        f"{number:3}. {step.tell:<30}"
        + ("  → " + ", ".join(each.words for each in step.then) if step.then else "")
        for number, step in enumerate(scenario.steps[:until], 1)
    )
    return "\n".join(line.rstrip() for line in lines)


def _seen(state: State, service: str) -> Expectation | None:
    """What must be seen of a service by an agent that is up."""
    program, process = state.wanted.get(service), state.running.get(service)
    if program is None:
        return _expected(service, "gone")
    if program == _CRASHING:
        return _expected(service, "waits")
    if process is not None:
        return _expected(service, "unchanged" if process == program else "replaced")
    return _expected(service, "replaced" if service in state.known else "runs")


def _without(table: Mapping[str, V], name: str) -> dict[str, V]:
    return {key: value for key, value in table.items() if key != name}


def _action(verb: str, service: str = "", program: str = "") -> Action:
    options = {"program": program} if program else {}
    parts = (verb, service, f"program={program}" if program else "")
    return Action(verb=verb, service=service, options=options, words=" ".join(filter(None, parts)))


def _expected(service: str, state: str) -> Expectation:
    return Expectation(subject=service, state=state, words=f"{service} {state}")
