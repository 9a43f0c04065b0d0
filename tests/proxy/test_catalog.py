"""Answers about the mesh, in the shapes that the original gave."""

from __future__ import annotations

from typing import Any

import pytest

from reference.proxy.catalog import (
    AnswerError,
    Instance,
    health_instances,
    leaf,
    query_instances,
    roots,
    verdict,
)
from reference.proxy.endpoints import Address


def entry(**service: Any) -> dict[str, Any]:
    return {
        "Node": {"Node": "n1", "Address": "10.0.0.1", "Datacenter": "dc2"},
        "Service": {"ID": "x", "Service": "echo-proxy", "Address": "", "Port": 20000, **service},
    }


PROXY = entry(Kind="connect-proxy", Proxy={"DestinationServiceName": "echo"})


def test_the_node_stands_in_for_an_address_and_the_proxy_names_its_destination() -> None:
    expected = Instance(address=Address(host="10.0.0.1", port=20000), service="echo", datacenter="dc2")
    assert health_instances([PROXY]) == (expected,)
    assert query_instances({"Service": "echo", "Nodes": [PROXY]}) == (expected,)


def test_an_address_of_the_service_wins_and_a_native_service_is_its_own_destination() -> None:
    native = entry(Address="10.9.9.9", Service="echo", Connect={"Native": True})
    (instance,) = health_instances([native])
    assert (str(instance.address), instance.service) == ("10.9.9.9:20000", "echo")


def test_no_instance_is_an_answer() -> None:
    assert health_instances([]) == ()
    assert query_instances({"Nodes": None}) == ()


@pytest.mark.parametrize("answer", [None, {}, [None], [{}], [{"Node": {}, "Service": {}}], "text"])
def test_another_shape_is_refused(answer: Any) -> None:
    with pytest.raises(AnswerError):
        health_instances(answer)


def test_roots_without_one_are_refused() -> None:
    with pytest.raises(AnswerError, match="no root certificate yet"):
        roots({"TrustDomain": "x", "Roots": None})


LEAF = {
    "ServiceURI": "spiffe://x",
    "CertPEM": "certificate",
    "PrivateKeyPEM": "secret",
    "ValidBefore": "2018-05-21T16:33:28Z",
}


def test_the_end_of_a_leaf_is_a_moment() -> None:
    assert leaf(LEAF).expires == 1526920408
    assert leaf({**LEAF, "ValidBefore": "2018-05-21T18:33:28.5+02:00"}).expires == 1526920408.5
    with pytest.raises(AnswerError, match="has 'soon' as ValidBefore"):
        leaf({**LEAF, "ValidBefore": "soon"})


def test_a_key_is_never_shown() -> None:
    read = leaf(LEAF)
    assert read.key == "secret"
    assert "secret" not in repr(read)


@pytest.mark.parametrize(
    ("said", "meant"), [(True, True), (False, False), (None, False), ("true", False), (1, False)]
)
def test_only_true_lets_in(said: Any, meant: bool) -> None:
    assert verdict({"Authorized": said, "Reason": "because"}).authorized is meant
