"""Who may talk to whom where no intention says so, and questions that have no answer."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from reference.access.control import AccessControl
from reference.mesh.authorize import AuthorizeInputError, authorize
from reference.mesh.intentions import Intentions

NONE, OFF = Intentions(), AccessControl()


@dataclass(frozen=True)
class On:
    allows_by_default: bool
    enabled: bool = True


@pytest.mark.parametrize("trust_domain", ["own.consul", "other.consul"])
def test_access_is_allowed_by_default(trust_domain: str) -> None:
    """MP-INT-021, MP-INT-022."""
    uri = f"spiffe://{trust_domain}/ns/default/dc/dc1/svc/foo"
    decision = authorize(target="web", client_uri=uri, intentions=NONE, access=OFF)
    assert decision.authorized
    assert decision.reason == "ACLs disabled, access is allowed by default"


@pytest.mark.parametrize("default", [True, False])
def test_with_access_control_its_default_policy_decides(default: bool) -> None:
    """MP-INT-021."""
    uri = "spiffe://own.consul/ns/default/dc/dc1/svc/foo"
    decision = authorize(target="web", client_uri=uri, intentions=NONE, access=On(default))
    assert decision.authorized is default
    assert decision.reason == "Default behavior configured by ACLs"


@pytest.mark.parametrize(
    ("target", "uri", "text"),
    [
        ("", "spiffe://x.consul/ns/default/dc/dc1/svc/foo", "Target service must be specified"),
        ("web", "foo", "ClientCertURI not a valid Connect identifier"),
        ("web", "spiffe://abc.consul", "ClientCertURI not a valid Service identifier"),
    ],
)
def test_wrong_questions(target: str, uri: str, text: str) -> None:
    """MP-INT-018."""
    with pytest.raises(AuthorizeInputError, match=f"^{text}$"):
        authorize(target=target, client_uri=uri, intentions=NONE, access=OFF)
