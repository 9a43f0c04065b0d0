"""Prepared queries in the domain: their instances, their TTL, their templates, and what is not there."""

from __future__ import annotations

from typing import Any

import dns.message
import dns.name
import dns.rcode
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference.catalog.index import IndexClock
from reference.catalog.model import Service, Status
from reference.catalog.store import Catalog
from reference.catalog.watch import Watch
from reference.config.model import Destination, DnsOptions
from reference.dns.message import Responder
from reference.dns.zone import Zone
from reference.query.execution import Asker, Execution
from reference.query.model import Definition, QueryNotFound, ServiceQuery, TemplateOptions
from tests.dns.asking import NODE, ask, flags, records, responder

SERVICES = (
    Service(id="db1", name="db", port=1000, tags=("master",)),
    Service(id="db2", name="db", port=1001, address="10.0.0.2"),
    Service(id="db3", name="db", port=1002, address="fd00::3"),
    Service(
        id="db-proxy",
        name="db-proxy",
        kind="connect-proxy",
        port=2000,
        destination=Destination(service_name="db"),
    ),
)


def query(
    name: str, service: str = "db", *, ttl: str = "", template: str | None = None, **more: Any
) -> Definition:
    options = (
        TemplateOptions() if template is None else TemplateOptions(kind="name_prefix_match", regexp=template)
    )
    return Definition(name=name, service=ServiceQuery(service=service, **more), dns_ttl=ttl, template=options)


def domain(*queries: Definition, **options: Any) -> Responder:
    return responder(*SERVICES, queries=queries, **options)


def test_addresses() -> None:
    answer = ask(domain(query("near")), "near.query.consul.")
    assert records(answer.answer) == [
        "near.query.consul. 0 A 10.0.0.2",
        "near.query.consul. 0 A 127.0.0.1",
    ]
    assert records(ask(domain(query("near")), "near.query.consul.", "AAAA").answer) == [
        "near.query.consul. 0 AAAA fd00::3"
    ]
    assert "AA" in flags(answer)


def test_locations_are_those_of_the_proxies_where_the_query_wants_the_mesh() -> None:
    """MP-PQ-002."""
    answer = ask(domain(query("mesh", connect=True)), "mesh.query.dc1.consul.", "SRV")
    assert records(answer.answer) == ["mesh.query.dc1.consul. 0 SRV 1 1 2000 vm.node.dc1.consul."]
    assert "vm.node.dc1.consul. 0 A 127.0.0.1" in records(answer.additional)


@pytest.mark.parametrize(
    ("ttl", "options", "expected"),
    [
        ("", {}, 0),
        ("90s", {}, 90),
        ("0s", {"service_ttl": {"db": 7}}, 0),
        ("", {"service_ttl": {"db": 7}}, 7),
        ("", {"service_ttl": {"d*": 8}}, 8),
    ],
)
def test_the_ttl_of_the_query_goes_before_that_of_the_service(
    ttl: str, options: dict[str, Any], expected: int
) -> None:
    answer = ask(domain(query("q", ttl=ttl), **options), "q.query.consul.")
    assert {rrset.ttl for rrset in answer.answer} == {expected}


def test_a_template_gets_the_whole_name_with_its_dots() -> None:
    asked = domain(query("geo.", "${match(2)}", template=r"^geo\.(.+)\.([^.]+)$", tags=("${match(1)}",)))
    assert records(ask(asked, "GEO.master.db.query.consul.").answer) == [
        "GEO.master.db.query.consul. 0 A 127.0.0.1"
    ]
    assert ask(asked, "geo.other.db.query.consul.").rcode() == dns.rcode.NXDOMAIN


def test_health_is_as_the_query_wants_it_not_as_the_agent() -> None:
    statuses = (("db1", Status.WARNING), ("db2", Status.CRITICAL))
    asked = responder(
        *SERVICES,
        queries=(query("any"), query("best", only_passing=True)),
        statuses=statuses,
        only_passing=True,
    )
    assert len(ask(asked, "any.query.consul.").answer) == 1
    assert ask(asked, "best.query.consul.").answer == []


@pytest.mark.parametrize("name", ["nobody.query.consul.", "none.query.consul.", "near.query.other.consul."])
def test_what_is_not_there(name: str) -> None:
    answer = ask(domain(query("near"), query("none", "unknown")), name)
    assert answer.rcode() == (dns.rcode.SERVFAIL if ".other." in name else dns.rcode.NXDOMAIN)
    assert answer.answer == []


def test_the_domain_of_queries_exists_and_has_nothing() -> None:
    answer = ask(domain(), "query.consul.")
    assert answer.rcode() == dns.rcode.NOERROR
    assert answer.answer == []


def test_the_id_of_a_template_is_no_name() -> None:
    asked = responder(*SERVICES, queries=(query("geo-", "${name.suffix}", template=""),))
    queries = asked._zone._queries._queries  # type: ignore[attr-defined]
    (template,) = queries
    answer = ask(asked, f"{template.id}.query.consul.")
    assert answer.rcode() == dns.rcode.SERVFAIL


_LABEL = st.text(alphabet="abcXYZ019-_ü!", min_size=1, max_size=12)


@settings(max_examples=50)
@given(
    labels=st.lists(_LABEL, min_size=1, max_size=4),
    kind=st.sampled_from(["A", "AAAA", "SRV", "ANY", "TXT", "MX"]),
    count=st.integers(0, 60),
    payload=st.sampled_from([0, 512, 1232, 4096]),
    ttl=st.integers(0, 2**31 - 1),
)
def test_any_answer_fits_its_client_and_is_about_the_question(
    labels: list[str], kind: str, count: int, payload: int, ttl: int
) -> None:
    services = (
        Service(id=f"s{number}", name="many", port=1 + number, address=f"10.1.0.{number + 1}")
        for number in range(count)
    )
    definition = Definition(name=".".join(labels), service=ServiceQuery(service="many"), dns_ttl=f"{ttl}s")
    asked = responder(*services, queries=(definition,), udp_answer_limit=60)
    name = dns.name.Name([*(label.encode() for label in labels), b"query", b"consul", b""])
    size: dict[str, Any] = {"use_edns": 0, "payload": payload} if payload else {}
    question = dns.message.make_query(name, kind, **size)
    wire = asked.respond(question.to_wire(), stream=False)
    streamed = asked.respond(question.to_wire(), stream=True)
    assert wire is not None
    assert streamed is not None
    assert len(wire) <= max(payload, 512)
    answer, whole = dns.message.from_wire(wire), dns.message.from_wire(streamed)
    assert answer.question == whole.question == question.question
    assert {rrset.ttl for rrset in answer.answer} <= {ttl}
    assert set(records(answer.answer)) <= set(records(whole.answer))
    if kind in ("A", "SRV", "ANY"):
        assert len(records(whole.answer)) == count + (kind == "ANY" and count > 0)
    if not count:
        assert answer.rcode() == dns.rcode.NXDOMAIN
    if payload > 512:
        cut = len(records(answer.answer)) < len(records(whole.answer))
        assert ("TC" in flags(answer)) == cut


def test_a_query_is_told_who_asks() -> None:
    """So that it can be near to them (``_ip``)."""
    askers: list[Asker] = []

    class Recording:
        def execute(self, name: str, asker: Asker) -> Execution:
            askers.append(asker)
            raise QueryNotFound

    options = DnsOptions()
    catalog = Catalog(NODE, clock=IndexClock(), watch=Watch())
    asked = Responder(Zone(catalog, Recording(), options, datacenter="dc1", node=NODE.name), options)
    question = dns.message.make_query("q.query.consul.", "A").to_wire()
    assert asked.respond(question, stream=False, client="192.0.2.1")
    assert askers == [Asker(address="192.0.2.1")]
