"""DNS knows no tokens: with access control a name is there if the agent's default token may see what it stands for."""

from __future__ import annotations

import pytest

from reference.access.authorizer import DENY_ALL
from reference.access.rules import RuleAuthorizer, parse
from reference.catalog.model import Service
from reference.config.model import CONNECT_PROXY, Destination
from tests.dns.asking import ask, records, responder

WEB = Service(id="web", name="web", port=80)
PROXY = Service(
    id="web-proxy",
    name="web-proxy",
    kind=CONNECT_PROXY,
    port=20000,
    destination=Destination(service_name="web"),
)
NODE_READ = 'node "vm" { policy = "read" }'


def found(rules: str, name: str, kind: str = "A") -> bool:
    """Whether the name is there; else it does not exist."""
    answer = ask(responder(WEB, PROXY, authorizer=RuleAuthorizer(parse(rules), parent=DENY_ALL)), name, kind)
    assert answer.rcode().name == ("NOERROR" if answer.answer else "NXDOMAIN")
    return bool(answer.answer)


@pytest.mark.parametrize(
    ("rules", "service", "connect", "node"),
    [
        ("", False, False, False),
        (NODE_READ, False, False, True),
        ('service_prefix "web" { policy = "read" }', False, False, False),
        (NODE_READ + 'service "web" { policy = "read" }', True, False, True),
        (NODE_READ + 'service "web-proxy" { policy = "read" }', False, False, True),
        (NODE_READ + 'service_prefix "web" { policy = "read" }', True, True, True),
    ],
    ids=["nothing", "node", "services", "one service", "its proxy", "both"],
)
def test_what_the_token_sees_is_what_there_is(rules: str, service: bool, connect: bool, node: bool) -> None:
    """As over HTTP: an instance takes the right to see its node, its service and, in the mesh, whom it speaks for."""
    assert found(rules, "web.service.consul.") is service
    assert found(rules, "web.service.consul.", "SRV") is service
    assert found(rules, "web.connect.consul.") is connect
    assert found(rules, "vm.node.consul.") is node


def test_the_domain_itself_has_an_owner_for_everybody() -> None:
    asked = ask(responder(authorizer=DENY_ALL), "consul.", "SOA")
    assert records(asked.answer)[0].startswith("consul. 0 SOA ns.consul.")
