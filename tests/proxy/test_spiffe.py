"""Identities: what is one, what is the same one, and which URI of a certificate counts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference.proxy.spiffe import IdentityError, ServiceId, parse, serial_of, uri_of

WEB = "spiffe://11.consul/ns/default/dc/dc1/svc/web"
names = st.text(min_size=1, max_size=20).filter(lambda text: text.isprintable())


def test_a_service_uri() -> None:
    assert parse(WEB) == ServiceId(trust_domain="11.consul", datacenter="dc1", service="web")


@given(names, names, names)
def test_any_name_survives_the_uri(namespace: str, datacenter: str, service: str) -> None:
    identity = ServiceId(
        trust_domain="11.consul", namespace=namespace, datacenter=datacenter, service=service
    )
    assert parse(str(identity)) == identity


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "web",
        "https://11.consul/ns/default/dc/dc1/svc/web",
        "spiffe://11.consul",
        "spiffe:///ns/default/dc/dc1/svc/web",
        "spiffe://11.consul/ns/default/dc/dc1/svc/",
        "spiffe://11.consul/ns/default/dc/dc1/svc/web/more",
        "spiffe://11.consul/ns/default/dc/dc1/svc/web?query",
        "spiffe://11.consul/ns/default/dc/dc1/svc/web#part",
        "spiffe://somebody@11.consul/ns/default/dc/dc1/svc/web",
        "spiffe://11.consul/NS/default/dc/dc1/svc/web",
        "spiffe://11.consul/agent/client/dc/dc1/id/node",
    ],
)
def test_anything_else_is_no_identity(uri: str) -> None:
    with pytest.raises(IdentityError, match="is not the identity of a service"):
        parse(uri)


def test_case_makes_no_other_service_and_everything_else_does() -> None:
    assert parse(WEB).matches(parse("SPIFFE://11.CONSUL/ns/Default/dc/DC1/svc/Web"))
    for other in ("22.consul/ns/default/dc/dc1/svc/web", "11.consul/ns/x/dc/dc1/svc/web"):
        assert not parse(WEB).matches(parse(f"spiffe://{other}"))
    for other in ("11.consul/ns/default/dc/dc2/svc/web", "11.consul/ns/default/dc/dc1/svc/web2"):
        assert not parse(WEB).matches(parse(f"spiffe://{other}"))


def test_a_slash_in_a_name_cannot_pass_for_a_path() -> None:
    assert parse("spiffe://11.consul/ns/default/dc/dc1/svc/a%2Fb").service == "a/b"
    assert not parse("spiffe://11.consul/ns/default/dc/dc1/svc/a%2Fb").matches(parse(WEB))


def certificate(*names: tuple[str, str], serial: str = "08") -> dict[str, Any]:
    return {"subjectAltName": names, "serialNumber": serial}


def test_the_one_uri_counts_whatever_other_names_there_are() -> None:
    assert uri_of(certificate(("DNS", "web"), ("URI", WEB))) == WEB


@pytest.mark.parametrize(
    "peer", [None, {}, certificate(), certificate(("DNS", WEB)), certificate(("URI", WEB), ("URI", WEB))]
)
def test_no_uri_and_two_uris_are_no_identity(peer: dict[str, Any] | None) -> None:
    with pytest.raises(IdentityError):
        uri_of(peer)


@pytest.mark.parametrize(("serial", "shown"), [("08", "08"), ("0A1B", "0a:1b"), ("A1B", "0a:1b"), ("", "")])
def test_serial_numbers_are_shown_as_pairs(serial: str, shown: str) -> None:
    assert serial_of(certificate(serial=serial)) == shown
