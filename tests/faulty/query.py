"""Prepared queries."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Any

from reference.catalog.documents import MemoryDocuments
from reference.catalog.store import Instance
from reference.query import execution, register
from reference.query.execution import Executor
from reference.query.model import Definition, PreparedQuery, QueryError
from reference.query.register import QueryRegister
from reference.query.templates import Template, compile_template
from tests.faulty import fault


@fault(
    "query/dns/01",
    "query/dns/02",
    "query/execute/01",
    "query/execute/02",
    "query/execute/03",
    "query/execute/04",
    "query/execute/05",
    "query/execute/07",
    "query/template/01",
    "query/upstream/01",
    "query/upstream/02",
    "query/upstream/03",
)
def finds_whatever_is_there() -> None:
    """Answers prepared queries with every plain instance of the service: sick, outside the mesh, unwanted."""
    made: Callable[..., None] = Executor.__init__

    def everything(found: Iterable[Instance], *_: object, **__: object) -> list[Instance]:
        instances = list(found)
        random.shuffle(instances)
        return instances

    def plain(executor: Executor, queries: Any, catalog: Any, **more: Any) -> None:
        class Plain:
            nodes = staticmethod(catalog.nodes)
            instances = staticmethod(catalog.instances)
            connect_instances = staticmethod(catalog.instances)

        made(executor, queries, Plain(), **more)

    execution.select = everything
    Executor.__init__ = plain  # type: ignore[assignment,method-assign]


@fault(
    "query/execute/06",
    "query/register/01",
    "query/register/02",
    "query/register/03",
    "query/template/01",
    "query/template/02",
    "query/template/03",
)
def takes_any_query() -> None:
    """Takes any prepared query and answers any name with it, keeps what was deleted, and forgets all when it ends."""
    made = QueryRegister.__init__

    def forgetful(queries: QueryRegister, documents: object, **more: object) -> None:
        made(queries, MemoryDocuments(), **more)  # type: ignore[arg-type]

    def shrugging(definition: Definition) -> Template | None:
        try:
            return compile_template(definition) if definition.is_template else None
        except QueryError:
            return None

    def the_first(queries: QueryRegister, folded: str) -> PreparedQuery | None:
        return next(iter(queries._queries.values()), None)

    QueryRegister.__init__ = forgetful  # type: ignore[assignment,method-assign]
    QueryRegister._compiled = staticmethod(shrugging)  # type: ignore[method-assign]
    QueryRegister._check_free = lambda *_: None  # type: ignore[assignment,method-assign]
    QueryRegister._prefixing = the_first  # type: ignore[method-assign]
    QueryRegister.delete = lambda queries, query_id: None  # type: ignore[method-assign]
    register._check = lambda definition: None
