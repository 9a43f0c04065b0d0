"""Queries are made, found, changed and removed, in the original's words, and outlive their agent."""

from __future__ import annotations

from pathlib import Path

import pytest

from reference.catalog.documents import Documents, MemoryDocuments, SqliteDocuments, StorageError
from reference.catalog.index import IndexClock
from reference.catalog.watch import Watch
from reference.query.model import (
    Definition,
    Failover,
    QueryError,
    QueryNotFound,
    ServiceQuery,
    TemplateOptions,
)
from reference.query.register import KIND, QueryRegister

PREFIX = TemplateOptions(kind="name_prefix_match")
UNKNOWN = "11111111-1111-1111-1111-111111111111"


def register(documents: Documents | None = None) -> QueryRegister:
    return QueryRegister(documents or MemoryDocuments(), index=IndexClock(), watch=Watch())


def query(name: str = "q", service: str = "db", **more: object) -> Definition:
    return Definition(name=name, service=ServiceQuery(service=service), **more)  # type: ignore[arg-type]


def template(name: str, service: str = "${name.suffix}") -> Definition:
    return query(name, service, template=PREFIX)


def test_a_query_is_found_by_id_and_by_name_in_any_case() -> None:
    queries = register()
    query_id = queries.create(query("Near-DB"))
    for name in (query_id, query_id.upper(), "near-db", "NEAR-DB"):
        assert queries.resolve(name).id == query_id


def test_a_template_is_rendered_for_the_name() -> None:
    queries = register()
    service = ServiceQuery(
        service="${match(1)}",
        tags=("${match(2)}", "${match(3)}", "!${match(9)}", "${name.full}"),
        near="${name.prefix}",
        node_meta={"rack": "${match(2)}"},
        service_meta={"of": "${name.suffix}"},
        failover=Failover(datacenters=("${match(2)}",)),
        ignore_check_ids=("${match(1)}",),
    )
    options = TemplateOptions(
        kind="name_prefix_match", regexp="^geo-([^-]+)-?([^-]*)-?(x)?$", remove_empty_tags=True
    )
    queries.create(Definition(name="geo-", template=options, service=service))
    assert queries.resolve("geo-db-a").definition.service == ServiceQuery(
        service="db",
        tags=("a", "!", "geo-db-a"),
        near="geo-",
        node_meta={"rack": "a"},
        service_meta={"of": "db-a"},
        failover=Failover(datacenters=("a",)),
        ignore_check_ids=("db",),
    )


def test_an_exact_name_goes_before_a_prefix_and_a_long_prefix_before_a_short_one() -> None:
    queries = register()
    catch_all = queries.create(template("", "${name.full}"))
    short, long = queries.create(template("geo-")), queries.create(template("geo-db-"))
    exact = queries.create(query("geo-db-special"))
    found = {
        "geo-db-special": exact,
        "geo-db-other": long,
        "GEO-DB-other": long,
        "geo-web": short,
        "geo-": short,
        "anything": catch_all,
    }
    assert {name: queries.resolve(name).id for name in found} == found
    queries.delete(catch_all)
    with pytest.raises(QueryNotFound):
        queries.resolve("anything")


def test_a_template_is_not_executed_by_its_id() -> None:
    queries = register()
    query_id = queries.create(template("geo-"))
    with pytest.raises(QueryError, match="can only be resolved up by name, not by ID"):
        queries.resolve(query_id)


def test_names_and_ids_are_not_taken_twice() -> None:
    queries = register()
    query_id = queries.create(query("db"))
    queries.create(template("", "x"))
    refused = {
        "name 'DB' aliases an existing query name": query("DB"),
        f"name '{query_id}' aliases an existing query ID": query(query_id),
        "a query template with an empty name already exists": template("", "y"),
        'invalid session "11111111-1111-1111-1111-111111111111"': query("s", session=UNKNOWN),
        "failed session lookup: index error: UUID must be 36 characters": query("s", session="x"),
    }
    for text, definition in refused.items():
        with pytest.raises(QueryError) as caught:
            queries.create(definition)
        assert str(caught.value) == text
    queries.replace(query_id, query("db", "other"))
    assert queries.get(query_id).definition.service.service == "other"


def test_a_query_may_change_its_name() -> None:
    queries = register()
    query_id = queries.create(query("old"))
    queries.replace(query_id, query("new"))
    assert queries.resolve("NEW").id == query_id
    with pytest.raises(QueryNotFound):
        queries.resolve("old")
    other = queries.create(query("old"))
    queries.delete(query_id)
    assert queries.resolve("old").id == other
    with pytest.raises(QueryNotFound):
        queries.resolve("new")


def test_a_query_may_stop_being_a_template() -> None:
    queries = register()
    query_id = queries.create(template("geo-"))
    queries.replace(query_id, query("geo-"))
    with pytest.raises(QueryNotFound):
        queries.resolve("geo-db")
    queries.replace(query_id, template("geo-"))
    assert queries.resolve("geo-db").definition.service.service == "db"
    queries.delete(query_id)
    with pytest.raises(QueryNotFound):
        queries.resolve("geo-db")


@pytest.mark.parametrize(
    ("definition", "text"),
    [
        (query(""), "Invalid prepared query: Must be bound to a session"),
        (query(service=""), "Invalid prepared query: Must provide a Service name to query"),
        (query(token="<hidden>"), "Invalid prepared query: Bad Token '<hidden>', it looks like"),
        (query(dns_ttl="x"), "Invalid prepared query: Bad DNS TTL 'x': time: invalid duration"),
        (query(dns_ttl="-5s"), "Invalid prepared query: DNS TTL '-5000000000', must be >=0"),
        (query(dns_ttl="1000000h"), "Invalid prepared query: Bad DNS TTL"),
        (
            Definition(name="q", service=ServiceQuery(service="db", failover=Failover(nearest_n=-1))),
            "Invalid prepared query: Bad NearestN '-1', must be >= 0",
        ),
        (
            Definition(name="q", service=ServiceQuery(service="db", node_meta={"a!": "b"})),
            "Invalid prepared query: Couldn't load metadata pair ('a!', 'b'): Key contains invalid characters",
        ),
        (
            query(template=TemplateOptions(kind="x")),
            "failed compiling template: Bad Template.Type 'x'",
        ),
        (
            query(template=TemplateOptions(kind="name_prefix_match", regexp="(")),
            "failed compiling template: Bad Regexp: error parsing regexp: missing",
        ),
        (
            template("t", "${name.full"),
            "failed compiling template: Bad format '${name.full' in Service.Service: parse error: syntax error",
        ),
        (
            template("t", "${name.ful}"),
            "failed compiling template: Bad evaluation for '${name.ful}' in Service.Service: 1:3: "
            "unknown variable accessed: name.ful",
        ),
    ],
)
def test_what_is_refused_changes_nothing(definition: Definition, text: str) -> None:
    queries = register()
    with pytest.raises(QueryError) as caught:
        queries.create(definition)
    assert str(caught.value).startswith(text)
    query_id = queries.create(query("kept"))
    with pytest.raises(QueryError):
        queries.replace(query_id, definition)
    assert [each.definition for each in queries] == [query("kept")]


def test_what_is_not_there_cannot_be_changed() -> None:
    queries = register()
    for change in (queries.delete, lambda query_id: queries.replace(query_id, query())):
        with pytest.raises(QueryError, match=f"Cannot modify non-existent prepared query: '{UNKNOWN}'"):
            change(UNKNOWN)
        with pytest.raises(
            QueryError, match="Prepared Query lookup failed: failed prepared query lookup: index"
        ):
            change("x")
    with pytest.raises(QueryNotFound, match="Query not found"):
        queries.get(UNKNOWN)
    with pytest.raises(QueryError, match="Missing Query ID"):
        queries.resolve("")


def test_expressions_take_no_more_time_than_the_name_is_long() -> None:
    """With a backtracking engine this would not end."""
    queries = register()
    options = TemplateOptions(kind="name_prefix_match", regexp="^(a+)+$")
    queries.create(Definition(template=options, service=ServiceQuery(service="x${match(1)}")))
    assert queries.resolve("a" * 5000 + "b").definition.service.service == "x"


def test_queries_are_there_again(tmp_path: Path) -> None:
    documents = SqliteDocuments(tmp_path / "state.sqlite3", holds="the state")
    first = register(documents)
    first.create(query("kept", token="secret", dns_ttl="5s"))
    first.create(template("geo-"))
    first.delete(first.create(query("gone")))
    changed = first.create(query("changed"))
    first.replace(changed, query("changed", "other"))
    documents.close()
    documents = SqliteDocuments(tmp_path / "state.sqlite3", holds="the state")
    second = register(documents)
    assert list(second) == list(first)
    assert second.resolve("geo-db").definition.service.service == "db"
    documents.close()


def test_a_stored_query_that_makes_no_sense_does_not_keep_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    documents = MemoryDocuments()
    kept = register(documents).create(query("kept"))
    documents.put(KIND, UNKNOWN, b"{")
    assert [each.id for each in register(documents)] == [kept]
    assert UNKNOWN in caplog.text


def test_a_change_that_cannot_be_stored_has_not_happened() -> None:
    class Full(MemoryDocuments):
        def write(self, changes: object) -> None:
            raise StorageError("no space left")

    queries = register(Full())
    index = queries.index
    with pytest.raises(StorageError):
        queries.create(template("geo-"))
    assert (list(queries), queries.index) == ([], index)
    with pytest.raises(QueryNotFound):
        queries.resolve("geo-db")


def test_tokens_are_not_shown() -> None:
    assert "secret" not in repr(query(token="secret"))
