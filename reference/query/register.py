"""The queries of an agent: made, changed and removed one by one, each change stored before anybody sees it."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator

import msgspec
from msgspec.structs import replace

from reference.catalog.documents import Documents
from reference.catalog.index import IndexClock
from reference.catalog.watch import Watch
from reference.query.model import Definition, PreparedQuery, QueryError, QueryNotFound, is_uuid
from reference.query.templates import Template, compile_template

_log = logging.getLogger("prepared_query")

#: What readers of queries wait for.
TOPIC = "queries"

#: Under which queries are stored, by their ids.
KIND = "query"


class QueryRegister:
    """All changes go through here; ``index`` is that of the last change. Iterating gives the queries by id.

    Changes raise :class:`QueryError` when they make no sense and
    :class:`~reference.catalog.documents.StorageError` when they cannot be stored, and then change nothing.
    """

    def __init__(self, documents: Documents, *, index: IndexClock, watch: Watch) -> None:
        """Read what is stored; what cannot be understood is left where it is, and logged.

        Raises :class:`~reference.catalog.documents.StorageError`.
        """
        self._documents = documents
        self._index = index
        self._watch = watch
        self._queries: dict[str, PreparedQuery] = {}
        self._templates: dict[str, Template] = {}
        #: The ids of queries with a name, by the name in lower case.
        self._names: dict[str, str] = {}
        for query_id, content in documents.load(KIND):
            try:
                query = msgspec.json.decode(content, type=PreparedQuery)
                self._keep(query, self._compiled(query.definition))
            except (msgspec.MsgspecError, QueryError) as error:
                _log.error("the stored prepared query %s cannot be used: %s", query_id, error)
        self.index = index.advance()

    def __iter__(self) -> Iterator[PreparedQuery]:
        return iter(sorted(self._queries.values(), key=lambda query: query.id))

    def get(self, query_id: str) -> PreparedQuery:
        """The query with this id. Raises :class:`QueryNotFound`, and :class:`QueryError` for what is no id."""
        _check_id(query_id)
        found = self._queries.get(query_id.lower())
        if found is None:
            raise QueryNotFound
        return found

    def existing(self, query_id: str) -> PreparedQuery:
        """The query that is to be changed. Raises :class:`QueryError` when there is none."""
        try:
            return self.get(query_id)
        except QueryNotFound:
            raise QueryError(f"Cannot modify non-existent prepared query: '{query_id}'") from None
        except QueryError as error:
            raise QueryError(f"Prepared Query lookup failed: {error}") from None

    def create(self, definition: Definition) -> str:
        """Keep a new query; returns its id."""
        _check(definition)
        return self._put(str(uuid.uuid4()), definition)

    def replace(self, query_id: str, definition: Definition) -> None:
        """Keep ``definition`` in the place of another one."""
        old = self.existing(query_id)
        _check(definition)
        self._put(old.id, definition)

    def delete(self, query_id: str) -> None:
        """Forget a query."""
        old = self.existing(query_id)
        self._documents.delete(KIND, old.id)
        self._forget(old)
        self._changed(self._index.advance())

    def resolve(self, name: str) -> PreparedQuery:
        """The query that answers for an id or a name, rendered when it is a template.

        An id goes before a name, an exact name before a template's prefix, a long prefix before a short one.
        Raises :class:`QueryNotFound` and :class:`QueryError`.
        """
        if not name:
            raise QueryError("Missing Query ID")
        folded = name.lower()
        by_id = self._queries.get(folded)
        if by_id is not None:
            if by_id.definition.is_template:
                raise QueryError("prepared query templates can only be resolved up by name, not by ID")
            return by_id
        found = self._named(folded) or self._prefixing(folded)
        if found is None:
            raise QueryNotFound
        template = self._templates.get(found.id)
        return found if template is None else replace(found, definition=template.render(name))

    def _named(self, folded: str) -> PreparedQuery | None:
        return self._queries.get(self._names.get(folded, ""))

    def _prefixing(self, folded: str) -> PreparedQuery | None:
        candidates = (
            self._queries[query_id]
            for query_id, template in self._templates.items()
            if folded.startswith(template.definition.name.lower())
        )
        return max(candidates, key=lambda query: len(query.definition.name), default=None)

    def _put(self, query_id: str, definition: Definition) -> str:
        self._check_free(query_id, definition)
        template = self._compiled(definition)
        old, index = self._queries.get(query_id), self._index.advance()
        query = PreparedQuery(
            id=query_id,
            definition=definition,
            created=index if old is None else old.created,
            modified=index,
        )
        self._documents.put(KIND, query_id, msgspec.json.encode(query))
        self._keep(query, template)
        self._changed(index)
        return query_id

    def _check_free(self, query_id: str, definition: Definition) -> None:
        folded = definition.name.lower()
        if folded:
            if self._names.get(folded, query_id) != query_id:
                raise QueryError(f"name '{definition.name}' aliases an existing query name")
        elif definition.is_template and any(
            not template.definition.name and other != query_id for other, template in self._templates.items()
        ):
            raise QueryError("a query template with an empty name already exists")
        if folded in self._queries:
            raise QueryError(f"name '{definition.name}' aliases an existing query ID")
        if definition.session:
            # No sessions are kept here, so none can be the right one.
            if not is_uuid(definition.session):
                raise QueryError(f"failed session lookup: {_id_problem(definition.session)}")
            raise QueryError(f'invalid session "{definition.session}"')

    def _keep(self, query: PreparedQuery, template: Template | None) -> None:
        old = self._queries.get(query.id)
        if old is not None:
            self._forget(old)
        self._queries[query.id] = query
        if query.definition.name:
            self._names[query.definition.name.lower()] = query.id
        if template is not None:
            self._templates[query.id] = template

    def _forget(self, query: PreparedQuery) -> None:
        del self._queries[query.id]
        self._templates.pop(query.id, None)
        self._names.pop(query.definition.name.lower(), None)

    def _changed(self, index: int) -> None:
        self.index = index
        self._watch.notify(TOPIC)

    @staticmethod
    def _compiled(definition: Definition) -> Template | None:
        if not definition.is_template:
            return None
        try:
            return compile_template(definition)
        except QueryError as error:
            raise QueryError(f"failed compiling template: {error}") from None


def _check(definition: Definition) -> None:
    try:
        definition.check()
    except QueryError as error:
        raise QueryError(f"Invalid prepared query: {error}") from None


def _check_id(text: str) -> None:
    if not is_uuid(text):
        raise QueryError(f"failed prepared query lookup: {_id_problem(text)}")


def _id_problem(text: str) -> str:
    if len(text.encode()) != 36:
        return "index error: UUID must be 36 characters"
    return "index error: Invalid UUID"
