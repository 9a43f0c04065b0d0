"""SPIFFE ids as text and as values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference.mesh.spiffe import ServiceId, SigningId, SpiffeError, parse


def test_a_service_id_is_written_as_the_original_does() -> None:
    identity = ServiceId(trust_domain="abc.consul", datacenter="dc1", service="web")
    assert identity.uri == "spiffe://abc.consul/ns/default/dc/dc1/svc/web"


def test_an_authority_is_told_from_a_service() -> None:
    assert parse("spiffe://abc.consul") == SigningId(trust_domain="abc.consul")


@given(st.text(min_size=1).filter(lambda name: "\x00" not in name))
def test_any_name_survives_the_way_through_text(name: str) -> None:
    """So no name can pass for another, whatever characters it is made of."""
    try:
        identity = ServiceId(trust_domain="abc.consul", datacenter="dc1", service=name)
        text = identity.uri
    except UnicodeEncodeError:
        return
    assert parse(text) == identity


@pytest.mark.parametrize(
    "text",
    [
        "",
        "foo",
        "http://a.consul/ns/default/dc/dc1/svc/web",
        "spiffe://abc",
        "spiffe://abc.consul/",
        "spiffe://abc.consul/ns/default/dc/dc1/svc/",
        "spiffe://abc.consul/ns/default/dc/dc1/svc/web/more",
        "spiffe://abc.consul/ns/default/dc/dc1/svc/web?x=1",
        "spiffe://abc.consul/ns/default/dc/dc1/svc/web#x",
        "spiffe://user@abc.consul/ns/default/dc/dc1/svc/web",
        "spiffe://[abc/ns/default/dc/dc1/svc/web",
    ],
)
def test_what_is_no_id(text: str) -> None:
    with pytest.raises(SpiffeError):
        parse(text)
