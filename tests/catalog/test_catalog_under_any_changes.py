"""Whatever changes in the catalog: who waits for an answer that has become another is woken, with a new index."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from reference.catalog.index import IndexClock
from reference.catalog.model import Check, Node, Service, Status, agent_node
from reference.catalog.store import Catalog
from reference.catalog.watch import Watch
from reference.config.model import CONNECT_PROXY, Destination

NODES, NAMES = ("Here", "there"), ("web", "db")
HERE = agent_node(id="h", name="Here", address="127.0.0.1", datacenter="dc1")

_nodes = st.sampled_from(NODES)
_ids = st.sampled_from(["1", "2"])
_services = st.builds(
    Service,
    id=_ids,
    name=st.sampled_from(["web", "WEB", "db"]),
    tags=st.sampled_from([(), ("a",)]),
    native=st.booleans(),
) | st.builds(
    Service,
    id=_ids,
    name=st.just("proxy"),
    kind=st.just(CONNECT_PROXY),
    destination=st.builds(Destination, service_name=st.sampled_from(NAMES)),
)
_checks = st.builds(
    Check,
    id=st.sampled_from(["c", "d"]),
    name=st.just("c"),
    status=st.sampled_from(Status),
    service_id=st.sampled_from(["", "1", "2"]),
)
_changes = st.one_of(
    st.tuples(st.just("put_node"), _nodes, st.sampled_from(["10.0.0.1", "10.0.0.2"])),
    st.tuples(st.just("remove_node"), _nodes, st.none()),
    st.tuples(st.just("put_service"), _nodes, _services),
    st.tuples(st.just("remove_service"), _nodes, _ids),
    st.tuples(st.just("put_check"), _nodes, _checks),
    st.tuples(st.just("remove_check"), _nodes, st.sampled_from(["c", "d", "serfHealth"])),
)


class Woken(Watch):
    """Remembers whom it woke."""

    def __init__(self) -> None:
        super().__init__()
        self.topics: set[str] = set()

    def notify(self, *topics: str) -> None:
        self.topics.update(topics)


def apply(catalog: Catalog, change: tuple[str, str, Any]) -> None:
    what, node, value = change
    match what:
        case "put_node":
            catalog.put_node(Node(id="", name=node, address=value, datacenter="dc1"))
        case "remove_node":
            catalog.remove_node(node)
        case _:
            getattr(catalog, what)(value, node=node)


def answers(catalog: Catalog) -> Mapping[str, object]:
    """What is read under each topic."""
    read: dict[str, Callable[[], object]] = {
        "nodes": catalog.nodes,
        "services": catalog.tags_by_name,
        "checks": catalog.checks,
    }
    for node in NODES:
        read[f"node/{node.lower()}"] = lambda node=node: (catalog.node(node), catalog.services_on(node))
    for name in NAMES:
        read[f"service/{name}"] = lambda name=name: (catalog.instances(name), catalog.checks_of(name))
        read[f"connect/{name}"] = lambda name=name: catalog.connect_instances(name)
    return {topic: ask() for topic, ask in read.items()}


@settings(deadline=None, max_examples=150)
@given(st.lists(_changes, max_size=25))
def test_an_answer_that_changed_has_a_higher_index_and_wakes(changes: list[tuple[str, str, Any]]) -> None:
    watch = Woken()
    catalog = Catalog(HERE, clock=IndexClock(start=0), watch=watch)
    before = answers(catalog)
    indexes = {topic: catalog.index_of(topic) for topic in before}
    for change in changes:
        watch.topics.clear()
        apply(catalog, change)
        after = answers(catalog)
        for topic, answer in after.items():
            index = catalog.index_of(topic)
            assert index >= indexes[topic]
            if answer != before[topic]:
                assert index > indexes[topic], topic
                assert topic in watch.topics, topic
            indexes[topic] = index
        before = after


@settings(deadline=None, max_examples=100)
@given(st.lists(_changes, max_size=25))
def test_what_is_removed_leaves_nothing(changes: list[tuple[str, str, Any]]) -> None:
    catalog = Catalog(HERE, clock=IndexClock(start=0), watch=Watch())
    for change in changes:
        apply(catalog, change)
    for node in NODES:
        catalog.remove_node(node)
    assert catalog._entries == {}
    assert catalog._members == {}
    assert set(catalog._changed) == {"nodes", "services", "checks"}


@settings(deadline=None, max_examples=100)
@given(_changes, st.lists(_changes, max_size=10))
def test_the_same_change_again_is_none(
    change: tuple[str, str, Any], earlier: list[tuple[str, str, Any]]
) -> None:
    watch = Woken()
    clock = IndexClock(start=0)
    catalog = Catalog(HERE, clock=clock, watch=watch)
    for each in (*earlier, change):
        apply(catalog, each)
    index = clock.current
    watch.topics.clear()
    apply(catalog, change)
    assert (clock.current, watch.topics) == (index, set())
