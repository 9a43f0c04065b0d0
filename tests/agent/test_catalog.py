"""The catalog: indexes that tell readers what changed, and nothing that stays behind."""

from __future__ import annotations

import time

import pytest

from reference.catalog.index import IndexClock
from reference.catalog.model import Check, Node, Service, Status
from reference.catalog.store import Catalog
from reference.catalog.watch import Watch
from reference.config.model import Destination

NODE = Node(id="id", name="n", address="127.0.0.1", datacenter="dc1")
WEB = Service(id="web", name="web", tags=("b", "a"))
PROXY = Service(
    id="web-proxy",
    name="web-proxy",
    kind="connect-proxy",
    destination=Destination(service_name="web", local_port=80),
)
TOPICS = ("nodes", "services", "service/web", "service/web-proxy", "connect/web", "service/other")


def check(status: Status) -> Check:
    return Check(id="c", name="c", status=status, service_id="web-proxy", service_name="web-proxy")


def catalog() -> Catalog:
    return Catalog(NODE, clock=IndexClock(start=100), watch=Watch())


def indexes(store: Catalog) -> dict[str, int]:
    return {topic: store.index_of(topic) for topic in TOPICS}


def changed(before: dict[str, int], store: Catalog) -> set[str]:
    after = indexes(store)
    assert all(after[topic] >= before[topic] for topic in TOPICS)
    return {topic for topic in TOPICS if after[topic] > before[topic]}


def test_proxies_are_found_by_the_name_of_their_service() -> None:
    """MP-CAT-005."""
    store = catalog()
    store.put_service(WEB)
    store.put_service(PROXY)
    store.put_service(Service(id="n", name="native", native=True))
    assert [found.service.value for found in store.connect_instances("web")] == [PROXY]
    assert [found.service.value.id for found in store.connect_instances("native")] == ["n"]
    assert [found.service.value for found in store.instances("web")] == [WEB]
    assert store.tags_by_name() == {"native": [], "web": ["a", "b"], "web-proxy": []}


def test_a_change_moves_the_indexes_that_it_concerns() -> None:
    store = catalog()
    before = indexes(store)
    store.put_service(PROXY)
    assert changed(before, store) == {"services", "service/web-proxy", "connect/web"}
    before = indexes(store)
    store.put_check(check(Status.CRITICAL))
    assert changed(before, store) == {"service/web-proxy", "connect/web"}


def test_an_equal_record_is_no_change() -> None:
    store = catalog()
    store.put_service(PROXY)
    store.put_check(check(Status.PASSING))
    before = indexes(store)
    store.put_service(PROXY)
    store.put_check(check(Status.PASSING))
    assert changed(before, store) == set()


def test_indexes_grow_over_removal_and_return() -> None:
    store = catalog()
    seen = store.index_of("connect/web")
    for _ in range(3):
        store.put_service(PROXY)
        added = store.index_of("connect/web")
        store.remove_service(PROXY.id)
        removed = store.index_of("connect/web")
        assert seen < added < removed
        seen = removed


def test_a_service_that_changes_its_name_is_found_by_the_new_one_only() -> None:
    store = catalog()
    store.put_service(WEB)
    before = indexes(store)
    store.put_service(Service(id="web", name="other"))
    assert changed(before, store) >= {"services", "service/web", "service/other"}
    assert store.instances("web") == ()
    assert [found.service.created for found in store.instances("other")] == [before["service/web"]]


def test_an_instance_is_as_healthy_as_its_worst_check() -> None:
    store = catalog()
    store.put_service(PROXY)
    (instance,) = store.connect_instances("web")
    assert instance.passing
    store.put_check(check(Status.CRITICAL))
    (instance,) = store.connect_instances("web")
    assert not instance.passing
    store.remove_check("c")
    (instance,) = store.connect_instances("web")
    assert instance.passing


def test_services_that_came_and_went_leave_nothing() -> None:
    store = catalog()
    empty = {name: repr(value) for name, value in vars(store).items() if name in ("_entries", "_members")}
    for number in range(1000):
        store.put_service(Service(id=str(number), name=f"s{number}"))
    for number in range(1000):
        store.remove_service(str(number))
    assert {name: repr(vars(store)[name]) for name in empty} == empty
    assert store.tags_by_name() == {}


def test_two_lives_of_an_agent_hand_out_different_indexes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A later life begins above an earlier one, though nothing is remembered."""
    monkeypatch.setattr(time, "time_ns", lambda: 1_000_000_000)
    first = IndexClock()
    for _ in range(100):
        first.advance()
    monkeypatch.setattr(time, "time_ns", lambda: 2_000_000_000)
    assert IndexClock().current > first.current


def test_names_are_equal_regardless_of_case() -> None:
    """As the original keeps them: what a user writes in another case is the same service, for DNS too."""
    store = catalog()
    store.put_service(Service(id="a", name="Web"))
    store.put_service(PROXY)
    store.put_service(Service(id="b", name="web", port=1))
    assert {found.service.value.id for found in store.instances("WEB")} == {"a", "b"}
    assert [found.service.value.id for found in store.connect_instances("Web")] == ["web-proxy"]
    before = indexes(store)
    store.remove_service("a")
    assert changed(before, store) == {"services", "service/web"}
