"""Who may talk to whom, as the agent says."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from reference.catalog.documents import MemoryDocuments
from reference.http import connect, intentions
from reference.mesh import intentions_register
from reference.mesh.authorize import Decision
from reference.mesh.intentions import Intention, Intentions
from reference.mesh.intentions_register import IntentionRegister
from tests.faulty import fault


@fault("intentions/deny/01")
def denies_everybody_alike() -> None:
    """Refuses everybody whom nothing else allows as soon as there is one intention that denies."""
    honest = connect.authorize

    def authorize(*, intentions: Intentions, **question: Any) -> Decision:
        decision = honest(intentions=intentions, **question)
        denied = any(not intention.allows for intention in intentions)
        return replace(decision, authorized=decision.authorized and not denied)

    connect.authorize = authorize


@fault("intentions/precedence/01", "intentions/precedence/02")
def prefers_wildcards() -> None:
    """Lets the least exact decide of the intentions that concern a pair."""

    def deciding(self: Intentions, *, source: Any, destination: Any) -> Intention | None:
        for whom in reversed(destination.covered_by()):
            for who in reversed(source.covered_by()):
                if found := self._by_pair.get((who, whom)):
                    return found
        return None

    Intentions.deciding = deciding  # type: ignore[method-assign]


@fault("intentions/invalid/01")
def takes_any_intention() -> None:
    """Takes intentions whatever they say."""
    intentions_register._check = lambda rule: None


@fault("intentions/duplicate/01")
def takes_second_intentions() -> None:
    """Takes another intention for a pair that has one."""
    Intentions.check_free = lambda self, rule, *, besides="": None  # type: ignore[method-assign]


@fault("intentions/list/01", "intentions/match/01")
def tells_intentions_as_they_came() -> None:
    """Tells intentions in the order in which they were made."""
    Intentions.__iter__ = lambda self: iter(self._by_id.values())  # type: ignore[method-assign]


@fault("intentions/change/01")
def changes_no_intention() -> None:
    """Acknowledges that an intention was replaced, and leaves it as it was."""

    def replaced(self: IntentionRegister, intention_id: str, rule: Any) -> str:
        return self._existing(intention_id).id

    IntentionRegister.replace = replaced  # type: ignore[method-assign]


@fault("intentions/check/01")
def turns_questions_round() -> None:
    """Answers who may talk to whom with who may be talked to by whom."""
    honest, turned = intentions.party_in, {"source": "destination", "destination": "source"}
    intentions.party_in = lambda call, name: honest(call, turned[name])


@fault("intentions/precedence/02", "intentions/persist/01")
def goes_by_sources_and_forgets() -> None:
    """Lets what is more exact about the source decide, and keeps intentions in memory alone."""
    honest = IntentionRegister.__init__

    def deciding(self: Intentions, *, source: Any, destination: Any) -> Intention | None:
        for who in source.covered_by():
            for whom in destination.covered_by():
                if found := self._by_pair.get((who, whom)):
                    return found
        return None

    def forgetful(self: IntentionRegister, documents: Any, **rest: Any) -> None:
        honest(self, MemoryDocuments(), **rest)

    Intentions.deciding = deciding  # type: ignore[method-assign]
    IntentionRegister.__init__ = forgetful  # type: ignore[method-assign]
