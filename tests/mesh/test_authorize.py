"""Who may talk to whom where no intention says so, and questions that have no answer."""

from __future__ import annotations

import pytest

from reference.mesh.authorize import AuthorizeInputError, authorize
from reference.mesh.intentions import Intentions

NONE = Intentions()


@pytest.mark.parametrize("trust_domain", ["own.consul", "other.consul"])
def test_access_is_allowed_by_default(trust_domain: str) -> None:
    """MP-INT-021, MP-INT-022."""
    uri = f"spiffe://{trust_domain}/ns/default/dc/dc1/svc/foo"
    decision = authorize(target="web", client_uri=uri, intentions=NONE)
    assert decision.authorized
    assert decision.reason == "ACLs disabled, access is allowed by default"


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
        authorize(target=target, client_uri=uri, intentions=NONE)
