"""What the agent's answers about the mesh mean: instances, leaf, roots, verdicts. Pure.

Every reader takes decoded JSON and raises :class:`AnswerError` when a field that matters is missing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from reference.proxy.endpoints import Address


class AnswerError(ValueError):
    """The agent answered, but not what was asked for."""


@dataclass(frozen=True, kw_only=True)
class Instance:
    """One place where an upstream is offered, and the identity to insist on there."""

    address: Address
    service: str
    datacenter: str


@dataclass(frozen=True, kw_only=True)
class Leaf:
    """The certificate of this proxy's service, its chain and its key, all PEM; ``expires`` is a Unix time."""

    uri: str
    certificate: str
    expires: float
    key: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Roots:
    """The trust domain and the certificates (PEM) that vouch for it."""

    trust_domain: str
    certificates: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """May the peer come in, and why."""

    authorized: bool
    reason: str


def health_instances(answer: Any) -> tuple[Instance, ...]:
    """Instances in an answer of ``/v1/health/connect/:name`` (MP-BIP-008)."""
    return tuple(_instance(entry) for entry in _shape(answer, list))


def query_instances(answer: Any) -> tuple[Instance, ...]:
    """Instances in an answer of ``/v1/query/:name/execute``, in the order of the query (MP-PQ-004, MP-PQ-005)."""
    return tuple(_instance(entry) for entry in _shape(_shape(answer, dict).get("Nodes") or [], list))


def leaf(answer: Any) -> Leaf:
    """The answer of ``/v1/agent/connect/ca/leaf/:service`` (MP-INT-014)."""
    return Leaf(
        uri=_text(answer, "ServiceURI"),
        certificate=_text(answer, "CertPEM"),
        expires=_moment(answer, "ValidBefore"),
        key=_text(answer, "PrivateKeyPEM"),
    )


def roots(answer: Any) -> Roots:
    """The answer of ``/v1/agent/connect/ca/roots``: the active root and those still trusted (MP-INT-016)."""
    listed = _shape(_shape(answer, dict).get("Roots") or [], list)
    if not listed:
        raise AnswerError("the agent knows no root certificate yet")
    return Roots(
        trust_domain=_text(answer, "TrustDomain"),
        certificates=tuple(_text(root, "RootCert") for root in listed),
    )


def verdict(answer: Any) -> Verdict:
    """The answer of ``/v1/agent/connect/authorize`` (MP-INT-017)."""
    return Verdict(authorized=_shape(answer, dict).get("Authorized") is True, reason=_text(answer, "Reason"))


def _instance(entry: Any) -> Instance:
    node, service = (_shape(_shape(entry, dict).get(part), dict) for part in ("Node", "Service"))
    proxy = _shape(service.get("Proxy") or {}, dict)
    destination = proxy.get("DestinationServiceName") if service.get("Kind") == "connect-proxy" else ""
    port = service.get("Port")
    return Instance(
        address=Address(
            host=service.get("Address") or _text(node, "Address"), port=port if isinstance(port, int) else 0
        ),
        service=destination or _text(service, "Service"),
        datacenter=_text(node, "Datacenter"),
    )


def _shape(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise AnswerError(f"the agent answered {type(value).__name__} where {kind.__name__} was expected")
    return value


def _text(entry: Any, name: str) -> str:
    value = _shape(entry, dict).get(name)
    if not isinstance(value, str):
        raise AnswerError(f"the agent's answer has no {name}")
    return value


def _moment(entry: Any, name: str) -> float:
    written = _text(entry, name)
    try:
        return datetime.fromisoformat(written).timestamp()
    except ValueError:
        raise AnswerError(f"the agent's answer has {written!r} as {name}") from None
