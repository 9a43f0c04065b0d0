"""Which instances answer a query, and in which order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference.catalog.model import Check, Indexed, Node, Service, Status
from reference.catalog.store import Instance
from reference.query.model import ServiceQuery
from reference.query.selection import select

TAGS = ("a", "b", "C")


def instance(
    name: str, *statuses: Status, node: str = "here", tags: Iterable[str] = (), **more: Any
) -> Instance:
    def indexed(value: Any) -> Indexed[Any]:
        return Indexed(value=value, created=1, modified=1)

    where = Node(id="", name=node, address="127.0.0.1", datacenter="dc1", meta={"rack": node})
    return Instance(
        node=indexed(where),
        service=indexed(Service(id=name, name="db", tags=tuple(tags), **more)),
        checks=tuple(
            indexed(Check(id=f"check-{number}", name="c", status=status))
            for number, status in enumerate(statuses)
        ),
    )


def selected(found: Iterable[Instance], wanted: ServiceQuery | None = None, **more: Any) -> list[str]:
    chosen = select(found, wanted or ServiceQuery(), shuffle=lambda each: each.reverse(), **more)
    return [each.service.value.id for each in chosen]


HEALTH = (
    instance("unchecked"),
    instance("passing", Status.PASSING, Status.PASSING),
    instance("warning", Status.PASSING, Status.WARNING),
    instance("critical", Status.PASSING, Status.CRITICAL),
)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (ServiceQuery(), {"unchecked", "passing", "warning"}),
        (ServiceQuery(only_passing=True), {"unchecked", "passing"}),
        (ServiceQuery(ignore_check_ids=("check-1",)), {"unchecked", "passing", "warning", "critical"}),
        (ServiceQuery(only_passing=True, ignore_check_ids=("check-0",)), {"unchecked", "passing"}),
    ],
)
def test_health(wanted: ServiceQuery, expected: set[str]) -> None:
    assert set(selected(HEALTH, wanted)) == expected


def test_metadata_of_service_and_node() -> None:
    found = [instance("one", meta={"v": "1", "w": "x"}), instance("two", meta={"v": "2"}), instance("none")]
    assert selected(found, ServiceQuery(service_meta={"v": "1"})) == ["one"]
    assert selected(found, ServiceQuery(service_meta={"v": "1", "w": "y"})) == []
    assert len(selected(found, ServiceQuery(node_meta={"rack": "here"}))) == 3
    assert selected(found, ServiceQuery(node_meta={"rack": "there"})) == []


def test_the_near_node_comes_first_and_the_rest_keep_their_random_order() -> None:
    found = [instance(f"{node}{number}", node=node) for number in range(3) for node in ("here", "there")]
    shuffled = ["there2", "here2", "there1", "here1", "there0", "here0"]
    assert selected(found) == shuffled
    assert selected(found, node="here") == ["here2", "here1", "here0", "there2", "there1", "there0"]
    assert selected(found, node="elsewhere") == shuffled
    assert selected(found, node="there", limit=2) == ["there2", "there1"]
    assert selected(found, limit=-1) == shuffled


@given(
    st.lists(st.sets(st.sampled_from(TAGS)), max_size=5),
    st.lists(st.builds("{}{}".format, st.sampled_from(["", "!"]), st.sampled_from("abcABC")), max_size=3),
)
def test_tags_against_a_plain_model(given_tags: list[set[str]], wanted: list[str]) -> None:
    found = [instance(str(number), tags=tags) for number, tags in enumerate(given_tags)]
    expected = []
    for number, tags in enumerate(given_tags):
        fits = True
        for tag in wanted:
            present = any(mine.upper() == tag.strip("!").upper() for mine in tags)
            if present == tag.startswith("!"):
                fits = False
        if fits:
            expected.append(str(number))
    assert sorted(selected(found, ServiceQuery(tags=tuple(wanted)))) == sorted(expected)
