"""The intentions of an agent: made, changed and removed one by one, each change stored before anybody sees it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import msgspec

from reference.catalog.documents import Documents, StorageError
from reference.catalog.index import IndexClock
from reference.catalog.watch import Watch
from reference.mesh.clock import Clock, utc_now
from reference.mesh.intentions import Intention, IntentionError, Intentions, Rule, check_id, describe_problems

#: What readers of intentions wait for.
TOPIC = "intentions"

#: Under which intentions are stored, by their ids.
KIND = "intention"


class IntentionRegister:
    """All changes go through here; ``known`` is what is in force, ``index`` that of the last change.

    Changes raise :class:`IntentionError` when they make no sense and
    :class:`~reference.catalog.documents.StorageError` when they cannot be stored, and then change nothing.
    """

    def __init__(
        self, documents: Documents, *, index: IndexClock, watch: Watch, clock: Clock = utc_now
    ) -> None:
        """Read what is stored. Raises :class:`~reference.catalog.documents.StorageError`.

        A record that cannot be understood is such an error: without it connections would be allowed that somebody
        has forbidden.
        """
        self._documents = documents
        self._clock = clock
        self._index = index
        self._watch = watch
        self.known = Intentions()
        for intention in _stored(documents):
            self.known.put(intention)
        self.index = index.advance()

    def create(self, rule: Rule) -> str:
        """Put a new rule in force; returns its id (MP-IXN-001, MP-IXN-003)."""
        _check(rule)
        self.known.check_free(rule)
        now, index = self._clock(), self._index.advance()
        intention = Intention(
            id=str(uuid.uuid4()), rule=rule, created=index, modified=index, created_at=now, updated_at=now
        )
        self._put(intention)
        return intention.id

    def replace(self, intention_id: str, rule: Rule) -> str:
        """Put ``rule`` in the place of another one; returns its id (MP-IXN-007)."""
        old = self._existing(intention_id)
        _check(rule)
        self.known.check_free(rule, besides=old.id)
        self._put(
            Intention(
                id=old.id,
                rule=rule,
                created=old.created,
                modified=self._index.advance(),
                created_at=old.created_at,
                updated_at=self._clock(),
            )
        )
        return old.id

    def delete(self, intention_id: str) -> None:
        """Take a rule out of force (MP-IXN-007)."""
        old = self._existing(intention_id)
        self._documents.delete(KIND, old.id)
        self.known.remove(old.id)
        self._changed(self._index.advance())

    def _put(self, intention: Intention) -> None:
        self._documents.put(KIND, intention.id, msgspec.json.encode(intention))
        self.known.put(intention)
        self._changed(intention.modified)

    def _changed(self, index: int) -> None:
        self.index = index
        self._watch.notify(TOPIC)

    def _existing(self, intention_id: str) -> Intention:
        try:
            found = self.known.get(check_id(intention_id))
        except IntentionError as error:
            raise IntentionError(f"Intention lookup failed: {error}") from error
        if found is None:
            raise IntentionError(f"Cannot modify non-existent intention: '{intention_id}'")
        return found


def _check(rule: Rule) -> None:
    if problems := rule.problems():
        raise IntentionError(describe_problems(problems))


def _stored(documents: Documents) -> Iterator[Intention]:
    for intention_id, content in documents.load(KIND):
        try:
            yield msgspec.json.decode(content, type=Intention)
        except msgspec.MsgspecError as error:
            raise StorageError(
                f"the stored intention {intention_id} cannot be understood: {error}. Restore rules.sqlite3 in the "
                "data directory from a backup, or move it away to start without intentions, tokens and policies."
            ) from error
