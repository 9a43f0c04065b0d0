"""What ``dns_config`` changes in an answer: texts of nodes, the times of the domain, names in full."""

from __future__ import annotations

import dns.message
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference.catalog.model import Service, agent_node
from reference.config.model import SoaOptions
from tests.dns.asking import ask, records, responder

META = {"rack": "7", "rfc1035-note": "as it is"}
NODE = agent_node(id="n", name="vm", address="127.0.0.1", datacenter="dc1", meta=META)
WEB = Service(id="web", name="web", port=80)
TEXTS = ['"as it is"', '"consul-network-segment="', '"rack=7"']


def texts(section: list[str]) -> list[str]:
    return sorted(each.partition(" TXT ")[2] for each in section if " TXT " in each)


@pytest.mark.parametrize("name", ["web.service.consul", "vm.node.consul"])
def test_the_metadata_of_a_node_are_its_texts(name: str) -> None:
    asked = responder(WEB, node=NODE)
    assert texts(records(ask(asked, name, "TXT", stream=True).answer)) == TEXTS
    assert texts(records(ask(asked, name, "ANY", stream=True).answer)) == TEXTS
    assert texts(records(ask(asked, name, "A", stream=True).additional)) == TEXTS


@pytest.mark.parametrize("kind", ["A", "SRV"])
def test_texts_that_nobody_asked_for_can_be_left_out(kind: str) -> None:
    asked = responder(WEB, node=NODE, node_meta_txt=False)
    assert texts(records(ask(asked, "web.service.consul", kind).additional)) == []
    assert texts(records(ask(asked, "web.service.consul", "TXT", stream=True).answer)) == TEXTS


def test_a_node_says_all_it_has_to_say_to_a_client_without_edns() -> None:
    """A few of many will do where instances are asked for; of a node every record is another one."""
    asked = responder(WEB, node=NODE, udp_answer_limit=1)
    assert len(records(ask(asked, "vm.node.consul", "ANY").answer)) == 1 + len(TEXTS)
    assert len(records(ask(asked, "web.service.consul", "ANY").answer)) == 1


def test_a_long_text_is_several_strings() -> None:
    node = agent_node(id="n", name="vm", address="127.0.0.1", datacenter="dc1", meta={"k": "x" * 400})
    (rrset,) = ask(responder(node=node), "vm.node.consul", "TXT", stream=True).answer
    assert {b"".join(data.strings) for data in rrset} >= {b"k=" + b"x" * 400}


def test_the_times_of_the_domain() -> None:
    asked = responder(soa=SoaOptions(refresh=1, retry=2, expire=3, min_ttl=4))
    (soa,) = ask(asked, "consul", "SOA").answer[0]
    assert (soa.refresh, soa.retry, soa.expire, soa.minimum) == (1, 2, 3, 4)
    (negative,) = ask(asked, "none.service.consul").authority
    assert (negative.ttl, negative[0].minimum) == (4, 4)


@given(
    st.lists(st.tuples(st.sampled_from(["", "10.0.0.1", "example.org"]), st.integers(1, 65535)), max_size=12),
    st.sampled_from(["A", "SRV", "ANY", "TXT"]),
    st.booleans(),
)
def test_names_in_full_say_the_same_in_more_bytes(
    places: list[tuple[str, int]], kind: str, edns: bool
) -> None:
    """Encoded by us, decoded by the library: the same records either way."""
    services = [
        Service(id=f"s{number}", name="web", port=port, address=address)
        for number, (address, port) in enumerate(places)
    ]
    query = dns.message.make_query("web.service.consul", kind, use_edns=0 if edns else -1, payload=4096)
    full, short = (
        responder(*services, disable_compression=disabled).respond(query.to_wire(), stream=True)
        for disabled in (True, False)
    )
    assert full is not None
    assert short is not None
    assert len(full) >= len(short)
    one, other = dns.message.from_wire(full), dns.message.from_wire(short)
    for section in ("answer", "authority", "additional"):
        assert records(getattr(one, section)) == records(getattr(other, section))
    assert one.question == other.question
    assert (one.id, one.flags, one.edns, one.payload) == (other.id, other.flags, other.edns, other.payload)
