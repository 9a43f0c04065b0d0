"""Which records the names of the domain have, and what is said of the others."""

from __future__ import annotations

import pytest
from dns.rcode import Rcode

from reference.catalog.model import Node, Service, Status
from reference.config.model import CONNECT_PROXY, Destination, Weights
from tests.dns.asking import ask, flags, records, responder

TEXT = 'TXT "consul-network-segment="'
SOA = "consul. 0 SOA ns.consul. hostmaster.consul. 1795400361 3600 600 86400 0"
PROXY = Service(
    id="web-proxy",
    name="web-proxy",
    kind=CONNECT_PROXY,
    port=20052,
    destination=Destination(service_name="web"),
)
SERVICES = (
    Service(id="web", name="web", port=80),
    PROXY,
    Service(id="db", name="db", port=5432, address="10.1.2.3", tags=("v1", "Two.Labels")),
    Service(id="six", name="six", port=7000, address="fd00::1"),
    Service(id="named", name="named", port=7100, address="example.org"),
    Service(id="inside", name="inside", port=7200, address="db.service.consul"),
    Service(id="native", name="native", port=7300, native=True),
    Service(id="mixed", name="Mixed", port=7400),
)
MESH = responder(*SERVICES)


@pytest.mark.parametrize(
    ("name", "kind", "answers", "additional"),
    [
        ("web.connect.consul", "A", ["A 127.0.0.1"], [TEXT]),
        ("web.connect.dc1.consul", "A", ["A 127.0.0.1"], [TEXT]),
        ("web.connect.consul", "ANY", ["A 127.0.0.1", TEXT], []),
        ("web.connect.consul", "TXT", [TEXT], []),
        ("native.connect.consul", "A", ["A 127.0.0.1"], [TEXT]),
        ("web-proxy.service.consul", "A", ["A 127.0.0.1"], [TEXT]),
        ("db.service.consul", "A", ["A 10.1.2.3"], [TEXT]),
        ("v1.db.service.consul", "A", ["A 10.1.2.3"], [TEXT]),
        ("two.labels.db.service.dc1.consul", "A", ["A 10.1.2.3"], [TEXT]),
        ("_db._tcp.service.consul", "A", ["A 10.1.2.3"], [TEXT]),
        ("_db._v1.service.consul", "A", ["A 10.1.2.3"], [TEXT]),
        ("six.service.consul", "AAAA", ["AAAA fd00::1"], [TEXT]),
        ("mixed.service.consul", "A", ["A 127.0.0.1"], [TEXT]),
        ("WEB.Connect.CONSUL", "A", ["A 127.0.0.1"], [TEXT]),
        ("vm.node.consul", "A", ["A 127.0.0.1"], [TEXT]),
        ("VM.node.dc1.consul", "ANY", ["A 127.0.0.1", TEXT], []),
        ("vm.node.consul", "TXT", [TEXT], []),
        ("0a010203.addr.consul", "A", ["A 10.1.2.3"], []),
        ("fd000000000000000000000000000001.addr.dc1.consul", "AAAA", ["AAAA fd00::1"], []),
    ],
)
def test_addresses_and_texts(name: str, kind: str, answers: list[str], additional: list[str]) -> None:
    """MP-CAT-010. The owner of an answer is the name as it was asked for, to the case of its letters."""
    message = ask(MESH, name, kind)
    assert message.rcode() == Rcode.NOERROR
    assert records(message.answer) == [f"{name}. 0 {record}" for record in answers]
    assert records(message.additional) == [f"{name}. 0 {record}" for record in additional]
    assert message.authority == []
    assert flags(message) == {"QR", "AA", "RD"}


@pytest.mark.parametrize(
    ("name", "target", "address"),
    [
        ("web.connect.consul", "20052 vm.node.dc1.consul.", "A 127.0.0.1"),
        ("web.connect.dc1.consul", "20052 vm.node.dc1.consul.", "A 127.0.0.1"),
        ("web-proxy.service.consul", "20052 vm.node.dc1.consul.", "A 127.0.0.1"),
        ("db.service.consul", "5432 0a010203.addr.dc1.consul.", "A 10.1.2.3"),
        ("_db._tcp.consul", "5432 0a010203.addr.dc1.consul.", "A 10.1.2.3"),
        ("_db._v1.dc1.consul", "5432 0a010203.addr.dc1.consul.", "A 10.1.2.3"),
        ("six.service.consul", f"7000 fd00{'0' * 27}1.addr.dc1.consul.", "AAAA fd00::1"),
    ],
)
def test_locations_come_with_the_addresses_of_their_targets(name: str, target: str, address: str) -> None:
    """MP-CAT-010: the port of the proxy, and where it is."""
    message = ask(MESH, name, "SRV")
    assert records(message.answer) == [f"{name}. 0 SRV 1 1 {target}"]
    host = target.split()[1]
    expected = [f"{host} 0 {address}"] + ([f"{host} 0 {TEXT}"] if host.startswith("vm.") else [])
    assert records(message.additional) == expected


def test_the_target_of_a_location_can_be_asked_for() -> None:
    """Every target within the domain has the address that came with it."""
    for service in ("web-proxy", "db", "six"):
        message = ask(MESH, f"{service}.service.consul", "SRV")
        (location,) = message.answer[0]
        given = [record for record in records(message.additional) if " TXT " not in record]
        kind = "AAAA" if service == "six" else "A"
        assert records(ask(MESH, str(location.target), kind).answer) == given


def test_a_host_name_as_address_is_an_alias() -> None:
    assert records(ask(MESH, "named.service.consul").answer) == ["named.service.consul. 0 CNAME example.org."]
    location = ask(MESH, "named.service.consul", "SRV")
    assert records(location.answer) == ["named.service.consul. 0 SRV 1 1 7100 example.org."]


def test_an_alias_is_followed_within_the_domain() -> None:
    assert records(ask(MESH, "inside.service.consul").answer) == [
        "db.service.consul. 0 A 10.1.2.3",
        "inside.service.consul. 0 CNAME db.service.consul.",
    ]
    assert records(ask(MESH, "inside.service.consul", "CNAME").answer) == [
        "inside.service.consul. 0 CNAME db.service.consul."
    ]


def test_aliases_in_a_circle_end() -> None:
    circle = responder(
        Service(id="a", name="a", address="b.service.consul"),
        Service(id="b", name="b", address="a.service.consul"),
    )
    message = ask(circle, "a.service.consul")
    assert message.rcode() == Rcode.NOERROR
    assert 1 <= len(message.answer) <= 2


def test_a_service_that_names_itself_is_at_its_node() -> None:
    itself = responder(Service(id="a", name="a", address="A.service.consul."))
    assert records(ask(itself, "a.service.consul").answer) == ["a.service.consul. 0 A 127.0.0.1"]


def test_instances_at_one_address_are_one_record() -> None:
    several = responder(*(Service(id=f"a{n}", name="a", port=100 + n % 2) for n in range(5)))
    assert records(ask(several, "a.service.consul").answer) == ["a.service.consul. 0 A 127.0.0.1"]
    assert len(records(ask(several, "a.service.consul", "SRV").answer)) == 2


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("web.connect.consul", "AAAA"),
        ("web.connect.consul", "MX"),
        ("web.connect.consul", "SOA"),
        ("six.service.consul", "A"),
        ("vm.node.consul", "SRV"),
        ("vm.node.consul", "AAAA"),
        ("vm.node.consul", "NS"),
        ("0a010203.addr.consul", "AAAA"),
        ("consul", "A"),
        ("dc1.consul", "A"),
        ("connect.consul", "SRV"),
        ("service.consul", "A"),
        ("node.dc1.consul", "A"),
        ("addr.consul", "ANY"),
    ],
)
def test_a_name_that_exists_without_such_records(name: str, kind: str) -> None:
    """RFC 2308: no error, no answer, and the SOA; a resolver must not conclude that nothing is below the name."""
    message = ask(MESH, name, kind)
    assert (message.rcode(), message.answer) == (Rcode.NOERROR, [])
    assert records(message.authority) == [SOA]
    assert flags(message) == {"QR", "AA", "RD"}


@pytest.mark.parametrize(
    "name",
    [
        "nobody.connect.consul",
        "db.connect.consul",
        "nobody.service.consul",
        "v2.db.service.consul",
        "_db._v2.service.consul",
        "nobody.node.consul",
        "vm.a.node.consul",
        "nothing.consul",
        "dc2.consul",
        "service.dc2.consul",
        "web.connect.dc1.other.consul",
        "web.other.consul",
        "zz010203.addr.consul",
        "0a0102.addr.consul",
        "a.0a010203.addr.consul",
        "q.query.consul",
    ],
)
@pytest.mark.parametrize("kind", ["A", "SRV", "ANY"])
def test_a_name_that_does_not_exist(name: str, kind: str) -> None:
    message = ask(MESH, name, kind)
    assert (message.rcode(), message.answer) == (Rcode.NXDOMAIN, [])
    assert records(message.authority) == [SOA]
    assert flags(message) == {"QR", "AA", "RD"}


@pytest.mark.parametrize("name", ["web.service.dc2.consul", "web.connect.dc2.consul", "vm.node.dc2.consul"])
def test_nothing_is_known_of_another_datacenter(name: str) -> None:
    assert ask(MESH, name).rcode() == Rcode.SERVFAIL


@pytest.mark.parametrize(
    "name", [".", "example.org", "notconsul", "web.service.notconsul", "1.0.0.127.in-addr.arpa"]
)
def test_names_outside_the_domain_are_refused(name: str) -> None:
    """Nobody is asked on behalf of the client."""
    message = ask(MESH, name)
    assert message.rcode() == Rcode.REFUSED
    assert (message.answer, message.authority, message.additional) == ([], [], [])
    assert flags(message) == {"QR", "RD"}


def test_the_domain_itself_has_a_server() -> None:
    server, glue = "consul. 0 NS vm.node.dc1.consul.", "vm.node.dc1.consul. 0 A 127.0.0.1"
    servers = ask(MESH, "consul", "NS")
    assert (records(servers.answer), records(servers.additional)) == ([server], [glue])
    start = ask(MESH, "consul", "SOA")
    assert (records(start.answer), records(start.authority)) == ([SOA], [server])
    assert records(start.additional) == [glue]


@pytest.mark.parametrize("kind", ["NS", "SOA"])
def test_nodes_that_somebody_has_registered_are_no_servers_of_the_domain(kind: str) -> None:
    """Nobody answers there; a resolver that goes by these records would ask in vain."""
    other = Node(id="", name="database", address="192.0.2.7", datacenter="dc1")
    assert ask(responder(others=[other]), "consul", kind).to_text().count(" NS ") == 1


@pytest.mark.parametrize("kind", ["AXFR", "IXFR"])
def test_the_zone_is_not_handed_over(kind: str) -> None:
    message = ask(MESH, "consul", kind)
    assert (message.rcode(), message.answer) == (Rcode.NOTIMP, [])


@pytest.mark.parametrize(
    ("status", "only_passing", "there"),
    [
        (Status.PASSING, False, True),
        (Status.WARNING, False, True),
        (Status.CRITICAL, False, False),
        (Status.PASSING, True, True),
        (Status.WARNING, True, False),
        (Status.CRITICAL, True, False),
    ],
)
@pytest.mark.parametrize("kind", ["A", "SRV"])
def test_only_healthy_instances_are_there(status: Status, only_passing: bool, there: bool, kind: str) -> None:
    """MP-CAT-007."""
    mesh = responder(PROXY, statuses=[("web-proxy", status)], only_passing=only_passing)
    message = ask(mesh, "web.connect.consul", kind)
    assert message.rcode() == (Rcode.NOERROR if there else Rcode.NXDOMAIN)
    assert bool(message.answer) == there


def test_another_domain() -> None:
    mesh = responder(PROXY, domain="mesh.example.org.")
    assert records(ask(mesh, "web.connect.Mesh.Example.ORG", "SRV").answer) == [
        "web.connect.Mesh.Example.ORG. 0 SRV 1 1 20052 vm.node.dc1.mesh.example.org."
    ]
    assert ask(mesh, "web.connect.consul").rcode() == Rcode.REFUSED
    assert ask(mesh, "example.org").rcode() == Rcode.REFUSED


@pytest.mark.parametrize(("service", "ttl"), [("web", 10), ("web-a", 20), ("web-ab", 30), ("other", 5)])
def test_the_most_exact_ttl_holds(service: str, ttl: int) -> None:
    ttls = {"*": 5, "web": 10, "web*": 20, "web-ab*": 30}
    mesh = responder(Service(id="s", name=service, port=1), node_ttl=7, service_ttl=ttls)
    assert ask(mesh, f"{service}.service.consul").answer[0].ttl == ttl
    assert ask(mesh, f"{service}.service.consul", "SRV").answer[0].ttl == ttl
    assert ask(mesh, "vm.node.consul").answer[0].ttl == 7


def test_node_names_may_hold_dots_and_the_address_may_be_ipv6() -> None:
    mesh = responder(PROXY, node=Node(id="n", name="vm.Rack1", address="fd00::7", datacenter="dc1"))
    assert records(ask(mesh, "vm.rack1.node.consul", "AAAA").answer) == [
        "vm.rack1.node.consul. 0 AAAA fd00::7"
    ]
    assert ask(mesh, "vm.node.consul", "AAAA").rcode() == Rcode.NXDOMAIN
    location = ask(mesh, "web.connect.consul", "SRV")
    assert "vm.Rack1.node.dc1.consul. 0 AAAA fd00::7" in records(location.additional)


@pytest.mark.parametrize(("status", "weight"), [(Status.PASSING, 7), (Status.WARNING, 2)])
def test_locations_weigh_what_the_state_of_their_instance_is_worth(status: Status, weight: int) -> None:
    heavy = Service(id="h", name="heavy", port=80, weights=Weights(passing=7, warning=2))
    message = ask(responder(heavy, statuses=[("h", status)]), "heavy.service.consul", "SRV")
    assert records(message.answer) == [f"heavy.service.consul. 0 SRV 1 {weight} 80 vm.node.dc1.consul."]
