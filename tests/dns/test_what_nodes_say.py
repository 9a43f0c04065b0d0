"""The metadata of nodes is text of the names that lead to them: each node's own, and no other's."""

from __future__ import annotations

import dns.name

from reference.catalog.model import Node
from reference.dns.records import node_texts
from tests.dns.asking import ask, records, responder

NAME = dns.name.from_text("db.query.consul.")


def node(name: str, **meta: str) -> Node:
    return Node(id="", name=name, address="10.0.0.1", datacenter="dc1", meta={**meta})


def said(*nodes: Node) -> list[str]:
    return [str(record.data) for record in node_texts(NAME, nodes, 7)]


def test_each_pair_is_a_text_and_what_several_say_is_said_once() -> None:
    one, other = node("a", rack="1", zone="x"), node("b", rack="1", zone="y")
    assert said(one, other) == ['"rack=1"', '"zone=x"', '"zone=y"']
    assert said(node("c")) == []
    assert [record.ttl for record in node_texts(NAME, [one], 7)] == [7, 7]


def test_values_are_quoted_and_keys_for_dns_are_left_out() -> None:
    assert said(node("a", quoted="a`b")) == ['"quoted=a``b"']
    assert said(node("a", **{"RFC1035-spf": "v=spf1 -all"})) == ['"v=spf1 -all"']
    assert said(node("a", empty="")) == ['"empty="']


def test_a_text_that_is_too_long_for_one_string_has_several() -> None:
    (record,) = node_texts(NAME, [node("a", k="x" * 512)], 0)
    strings = record.data.strings  # type: ignore[attr-defined]
    assert b"".join(strings) == b"k=" + b"x" * 512
    assert max(map(len, strings)) == 255


def test_a_name_has_the_texts_of_its_own_node() -> None:
    asked = responder(node=node("vm", rack="1"))
    assert records(ask(asked, "vm.node.consul.", "TXT").answer) == ['vm.node.consul. 0 TXT "rack=1"']
