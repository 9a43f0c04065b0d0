"""What the suite and an adapter say to each other: one JSON object a line, requests in, answers out.

Each request has a ``command``, each answer an ``ok``; answers come in the order of the requests. An adapter that
cannot do what is asked answers ``{"ok": false, "error": "..."}`` and goes on. It ends when its standard input does,
and its agents with it. ``docs/adapter.schema.json`` is drawn from these types.

===========  ==============================================  ==========================================
command      asks to                                         answer beside ``ok``
===========  ==============================================  ==========================================
``hello``    tell what is adapted                            name, version, features, cannot, installs
``start``    start an agent, without waiting                 pid: as this machine counts
``stop``     send SIGTERM or SIGINT, without waiting
``crash``    send SIGKILL, without waiting
``reload``   have it read its configuration again (SIGHUP)
``install``  put the program somewhere else
``status``   tell whether it runs                            exit_code: null, a code, or -signal
``bye``      end all agents, then itself
===========  ==============================================  ==========================================
"""

from __future__ import annotations

from typing import Literal

import msgspec

from conformance.schemas import components

VERSION = 1


class Hello(msgspec.Struct, tag_field="command", tag="hello", frozen=True, kw_only=True):
    """The first request. ``protocol`` is the version of this protocol."""

    protocol: int = VERSION


class Start(msgspec.Struct, tag_field="command", tag="start", frozen=True, kw_only=True):
    """Start an agent under a name that was not used before, or whose agent has ended.

    ``flags`` are in the original's style; ``prefix`` is a command that makes it run as another user, to be put before
    its own; ``output`` takes standard output and error, appended.
    """

    agent: str
    flags: list[str]
    prefix: list[str]
    environment: dict[str, str]
    directory: str
    output: str


class Stop(msgspec.Struct, tag_field="command", tag="stop", frozen=True, kw_only=True):
    """Ask an agent to end."""

    agent: str
    signal: Literal["TERM", "INT"]


class Crash(msgspec.Struct, tag_field="command", tag="crash", frozen=True, kw_only=True):
    """Kill an agent, and nothing but the agent."""

    agent: str


class Reload(msgspec.Struct, tag_field="command", tag="reload", frozen=True, kw_only=True):
    """Have an agent read its configuration again."""

    agent: str


class Install(msgspec.Struct, tag_field="command", tag="install", frozen=True, kw_only=True):
    """Put the program at a place of this name, from where agents start from now on, as an upgrade does.

    It is then gone from the place before; the same name again is a new file where the old one was. Asked only of
    adapters that said so in their answer to ``hello``.
    """

    place: str


class Status(msgspec.Struct, tag_field="command", tag="status", frozen=True, kw_only=True):
    """Ask whether an agent runs."""

    agent: str


class Bye(msgspec.Struct, tag_field="command", tag="bye", frozen=True, kw_only=True):
    """The last request."""


Request = Hello | Start | Stop | Crash | Reload | Install | Status | Bye


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What every answer has."""

    ok: Literal[True]


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked could not be done; ``error`` is one sentence."""

    ok: Literal[False]
    error: str


class Adapted(Answer, frozen=True, kw_only=True):
    """Answer to ``hello``.

    ``version`` is that of the original whose behaviour is claimed, or empty. ``features`` are those that the
    implementation claims, ``cannot`` what the adapter cannot do (``root``), with the reason. ``installs`` tells that
    it takes ``install``.
    """

    name: str
    version: str = ""
    features: list[str]
    cannot: dict[str, str] = {}
    installs: bool = False


class Started(Answer, frozen=True, kw_only=True):
    """Answer to ``start``."""

    pid: int


class State(Answer, frozen=True, kw_only=True):
    """Answer to ``status``: the exit code, negative for a signal, or null while the agent runs."""

    exit_code: int | None


ANSWERS: dict[type[Request], type[Answer]] = {
    Hello: Adapted,
    Start: Started,
    Stop: Answer,
    Crash: Answer,
    Reload: Answer,
    Install: Answer,
    Status: State,
    Bye: Answer,
}


def schema() -> bytes:
    """The JSON Schema of both directions, as a file."""
    _, definitions = components([*ANSWERS, *ANSWERS.values(), Refusal])
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "proxyproof adapter protocol",
        "description": "One object a line: requests on the adapter's standard input, answers on its standard output.",
        "version": VERSION,
        "requests": {"anyOf": [{"$ref": f"#/$defs/{kind.__name__}"} for kind in ANSWERS]},
        "answers": {
            kind.__name__: {"anyOf": [{"$ref": f"#/$defs/{answer.__name__}"}, {"$ref": "#/$defs/Refusal"}]}
            for kind, answer in ANSWERS.items()
        },
        "$defs": definitions,
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"
