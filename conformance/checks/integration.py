"""The endpoints that custom proxies build on: configuration, certificates, authorization."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from conformance.checks._situations import (
    ALLOW_API,
    IDLE,
    accepted,
    deregister,
    first_leaf,
    only,
    proxy_config,
    register,
    token_of,
)
from conformance.instruments.api import Response
from conformance.plugin.lab import AgentUnderTest, Lab
from conformance.plugin.marks import requirement


@requirement("integration/config/01")
def check_proxy_configuration(lab: Lab) -> None:
    """Start an agent with a managed proxy and read the proxy configuration endpoint.

    It tells ids, execution mode, command, upstreams, and a config with the address and port to listen on and the
    address of the application. Source: document, Custom Managed Proxy.
    """
    agent = lab.agent(definitions=[lab.service("web", id="web1", port=8080, proxy={"command": IDLE})])
    answer = proxy_config(agent, "web1-proxy")
    assert answer["ProxyServiceID"] == "web1-proxy"
    assert answer["TargetServiceID"] == "web1"
    assert answer["TargetServiceName"] == "web"
    assert answer["ExecMode"] == "daemon"
    assert answer["Command"] == IDLE
    assert not answer.get("Upstreams")
    assert answer["Config"]["bind_address"] == "127.0.0.1"
    assert answer["Config"]["bind_port"] == agent.services()["web1-proxy"]["Port"]
    assert answer["Config"]["local_service_address"] == "127.0.0.1:8080"


@requirement("integration/config/02")
def check_unknown_proxy(lab: Lab) -> None:
    """Read the proxy configuration of an id that nobody has, and of a service that is no proxy.

    Both are answered 404. Source: catalogue.
    """
    agent = lab.agent(definitions=[lab.service("web")])
    assert agent.api.get("/v1/agent/connect/proxy/nobody").status == 404
    assert agent.api.get("/v1/agent/connect/proxy/web").status == 404


@requirement("integration/blocking/01")
def check_unchanged_configuration_blocks(lab: Lab) -> None:
    """Read the proxy configuration with the current hash and ``wait=1s``, then with another hash.

    The first answer takes the second and is the same; the other comes at once; the header repeats the hash.
    Source: catalogue.
    """
    agent = lab.agent(definitions=[lab.service("web", proxy={"command": IDLE})])
    now = accepted(agent.api.get("/v1/agent/connect/proxy/web-proxy"))
    current = now.json["ContentHash"]
    assert now.headers.get("X-Consul-ContentHash") == current
    began = time.monotonic()
    later = _read(agent, current, wait="1s")
    blocked = time.monotonic() - began
    assert later.json["ContentHash"] == current
    assert blocked >= 0.95, f"answered after {blocked:.2f} s"
    began = time.monotonic()
    assert _read(agent, "0123456789abcdef", wait="30s").json["ContentHash"] == current
    assert time.monotonic() - began < lab.budget("http")


@requirement("integration/blocking/02")
def check_change_wakes_the_reader(lab: Lab) -> None:
    """Block on the proxy configuration, then register the service again with another config.

    The reader gets the new config and another hash. Source: document, Custom Managed Proxy.
    """
    agent, current = _registered(lab)
    with _blocked(lab, agent, current) as reading:
        accepted(register(agent, "web", port=8080, proxy={"Command": IDLE, "Config": {"foo": "new"}}))
        answer = accepted(_answer(lab, reading)).json
    assert answer["Config"]["foo"] == "new"
    assert answer["ContentHash"] != current


@requirement("integration/blocking/03")
def check_deregistration_wakes_the_reader(lab: Lab) -> None:
    """Block on the proxy configuration, then deregister the service.

    The reader is answered 404. Source: catalogue.
    """
    agent, current = _registered(lab)
    with _blocked(lab, agent, current, wait="10s") as reading:
        accepted(deregister(agent, "web"))
        assert _answer(lab, reading).status == 404


@requirement("integration/blocking/04")
def check_identical_registration_wakes_nobody(lab: Lab) -> None:
    """Block on the proxy configuration with ``wait=2s``, then register the very same definition again.

    The reader goes on waiting until its time is over. Source: catalogue.
    """
    agent, current = _registered(lab)
    began = time.monotonic()
    with _blocked(lab, agent, current, wait="2s") as reading:
        accepted(register(agent, "web", port=8080, proxy={"Command": IDLE, "Config": {"foo": "old"}}))
        answer = accepted(_answer(lab, reading))
    assert time.monotonic() - began >= 1.95
    assert answer.json["ContentHash"] == current


@requirement("integration/leaf/01")
def check_leaf_certificate(lab: Lab) -> None:
    """Fetch the leaf of a service and the roots.

    The certificate has exactly one URI, the service's SPIFFE id in the trust domain of the roots; it is signed by
    the active root, its private key fits, and serial number and validity are told as they stand in it.
    Source: document, Custom Managed Proxy.
    """
    agent = lab.agent(definitions=[lab.service("web")])
    leaf = first_leaf(lab, agent, "web").json
    roots = _authority(lab, agent, "/v1/agent/connect/ca/roots")
    certificate = x509.load_pem_x509_certificate(leaf["CertPEM"].encode())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    expected = f"spiffe://{roots['TrustDomain']}/ns/default/dc/dc1/svc/web"
    assert [name.value for name in names] == [expected]
    assert (leaf["Service"], leaf["ServiceURI"]) == ("web", expected)
    active = only([root for root in roots["Roots"] if root["ID"] == roots["ActiveRootID"]])
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(active["RootCert"].encode()))
    key = load_pem_private_key(leaf["PrivateKeyPEM"].encode(), None)
    assert key.public_key() == certificate.public_key()
    assert int(leaf["SerialNumber"].replace(":", ""), 16) == certificate.serial_number
    validity = [datetime.fromisoformat(leaf[name]) for name in ("ValidAfter", "ValidBefore")]
    assert validity == [certificate.not_valid_before_utc, certificate.not_valid_after_utc]


@requirement("integration/roots/01")
def check_roots(lab: Lab) -> None:
    """Fetch the roots with a token that nobody knows.

    Exactly one root is active, it is the one named, it signs itself, and no private key is shown.
    Source: document, Custom Managed Proxy.
    """
    agent = lab.agent()
    roots = _authority(lab, agent, "/v1/agent/connect/ca/roots")
    assert [root["ID"] for root in roots["Roots"] if root["Active"]] == [roots["ActiveRootID"]]
    for root in roots["Roots"]:
        certificate = x509.load_pem_x509_certificate(root["RootCert"].encode())
        certificate.verify_directly_issued_by(certificate)
    stranger = accepted(
        agent.api.get("/v1/agent/connect/ca/roots", token="5f0a1c92-9f6e-4a0e-8f5d-0d6d4f1e2b3c")
    )
    assert "PRIVATE KEY" not in stranger.text


@requirement("integration/authorize/01")
def check_authorize_says_yes_by_default(lab: Lab) -> None:
    """Ask the authorize endpoint, at an agent without ACLs and intentions, whether ``web`` may reach ``redis``.

    It answers 200, yes, with a reason. Source: document, Custom Managed Proxy.
    """
    agent = lab.agent(definitions=[lab.service("redis")])
    verdict = accepted(_authorize(lab, agent, target="redis", uri=_uri(lab, agent, "web"))).json
    assert verdict["Authorized"] is True
    assert verdict["Reason"]


@requirement("integration/authorize/02")
def check_authorize_refuses_nonsense(lab: Lab) -> None:
    """Ask the authorize endpoint without a target, with an identity that is none, and with that of an authority.

    All are answered 400. Source: catalogue.
    """
    agent = lab.agent(definitions=[lab.service("redis")])
    web = _uri(lab, agent, "web")
    authority = web.partition("/ns/")[0]
    for target, uri in (("", web), ("redis", "http://example.com/web"), ("redis", authority)):
        assert _authorize(lab, agent, target=target, uri=uri).status == 400, (
            f"target {target!r}, identity {uri!r}"
        )


@requirement("integration/blocking/05")
def check_hash_tells_definitions_apart(lab: Lab) -> None:
    """Register ``web`` with a managed proxy, then again with another config, other upstreams, and as at first.

    The content hash is another each time, and that of the first definition comes back with it. Source: catalogue.
    """
    agent = lab.agent(options=ALLOW_API)
    upstreams = [{"DestinationName": "redis", "LocalBindPort": 1234}]
    definitions: tuple[Mapping[str, Any], ...] = (
        {"Command": IDLE},
        {"Command": IDLE, "Config": {"foo": "bar"}},
        {"Command": IDLE, "Config": {"foo": {"bar": [1]}}},
        {"Command": IDLE, "Upstreams": upstreams},
        {"Command": IDLE},
    )
    hashes = []
    for definition in definitions:
        accepted(register(agent, "web", port=8080, proxy=definition))
        hashes.append(proxy_config(agent, "web-proxy")["ContentHash"])
    assert len(set(hashes[:-1])) == len(hashes) - 1, f"the hashes are {hashes}"
    assert hashes[-1] == hashes[0], f"the hashes are {hashes}"


@requirement("integration/telemetry/01")
def check_telemetry_is_for_the_proxy(lab: Lab) -> None:
    """Set ``telemetry`` of the agent, and read a proxy's configuration with its token, with none and with a wrong one.

    With its own it has ``telemetry`` of the agent, under a prefix of the proxy's own: the agent's, ``proxy`` and the
    id of the service. Everybody else gets the configuration without it. Source: catalogue.
    """
    agent = lab.agent(
        definitions=[lab.service("web", id="web1", proxy={"command": IDLE})],
        options={"telemetry": {"statsd_address": "127.0.0.1:8125", "metrics_prefix": "ours"}},
    )
    token = token_of(agent.proxy("web1-proxy"))
    told = _telemetry(agent, token)
    assert told["metrics_prefix"] == "ours.proxy.web1"
    assert told["statsd_address"] == "127.0.0.1:8125"
    for other in ("", "5f0a1c92-9f6e-4a0e-8f5d-0d6d4f1e2b3c"):
        assert _telemetry(agent, other) is None


@requirement("integration/telemetry/02")
def check_own_telemetry_wins(lab: Lab) -> None:
    """Give two proxies a ``telemetry`` block: one with a setting of the agent's kind, one with a key of its own.

    The first is laid over the agent's, key by key; the second is passed on as it is. Source: catalogue.
    """
    ours, theirs = {"statsd_address": "127.0.0.1:8125"}, {"statsd_address": "127.0.0.1:9125"}
    agent = lab.agent(
        definitions=[
            lab.service("web1", proxy={"command": IDLE, "config": {"telemetry": theirs}}),
            lab.service("web2", proxy={"command": IDLE, "config": {"telemetry": {"colour": "green"}}}),
        ],
        options={"telemetry": ours},
    )
    laid = _telemetry(agent, token_of(agent.proxy("web1-proxy")), of="web1-proxy")
    assert laid["statsd_address"] == "127.0.0.1:9125"
    assert laid["metrics_prefix"] == "consul.proxy.web1"
    passed = _telemetry(agent, token_of(agent.proxy("web2-proxy")), of="web2-proxy")
    assert passed == {"colour": "green"}


@requirement("integration/leaf/02")
def check_leaf_blocks(lab: Lab) -> None:
    """Fetch a leaf, then again with its index and ``wait=500ms``.

    The second answer takes that long, and is the same certificate. Source: catalogue.
    """
    agent = lab.agent()
    path = "/v1/agent/connect/ca/leaf/web"
    first_leaf(lab, agent, "web")
    first = accepted(agent.api.get(path))
    index = first.headers.get("X-Consul-Index", "")
    assert index.isdecimal(), f"X-Consul-Index is {index!r}"
    began = time.monotonic()
    second = accepted(agent.api.get(path, query={"index": index, "wait": "500ms"}, timeout=45))
    blocked = time.monotonic() - began
    assert blocked >= 0.45, f"answered after {blocked:.2f} s"
    assert blocked < lab.budget("http"), f"answered after {blocked:.2f} s"
    assert second.json["SerialNumber"] == first.json["SerialNumber"]


def _registered(lab: Lab) -> tuple[AgentUnderTest, str]:
    """An agent with service ``web``, registered over HTTP, and the hash of its proxy's configuration."""
    agent = lab.agent(options=ALLOW_API)
    accepted(register(agent, "web", port=8080, proxy={"Command": IDLE, "Config": {"foo": "old"}}))
    return agent, str(proxy_config(agent, "web-proxy")["ContentHash"])


def _read(agent: AgentUnderTest, current: str, *, wait: str) -> Response:
    return agent.api.get(
        "/v1/agent/connect/proxy/web-proxy", query={"hash": current, "wait": wait}, timeout=45
    )


@contextmanager
def _blocked(
    lab: Lab, agent: AgentUnderTest, current: str, *, wait: str = "30s"
) -> Iterator[Future[Response]]:
    """A reader in the background; inside the block it has been seen to wait."""
    with ThreadPoolExecutor(1) as executor:
        reading = executor.submit(_read, agent, current, wait=wait)
        lab.holds("blink", lambda: not reading.done(), what="the reader waits")
        yield reading


def _answer(lab: Lab, reading: Future[Response]) -> Response:
    lab.until("proxy_config", reading.done, what="the reader is answered")
    return reading.result()


def _telemetry(agent: AgentUnderTest, token: str, *, of: str = "web1-proxy") -> Any:
    """What a proxy's configuration says of telemetry to who shows this token; ``None`` for nothing."""
    answer = accepted(agent.api.get(f"/v1/agent/connect/proxy/{of}", token=token))
    return answer.json["Config"].get("telemetry")


def _authority(lab: Lab, agent: AgentUnderTest, path: str) -> Mapping[str, Any]:
    def answer() -> Mapping[str, Any]:
        body = accepted(agent.api.get(path)).json
        assert isinstance(body, dict)
        return body

    return lab.until("authority", answer, what=f"{path} is answered")


def _uri(lab: Lab, agent: AgentUnderTest, service: str) -> str:
    domain = _authority(lab, agent, "/v1/agent/connect/ca/roots")["TrustDomain"]
    return f"spiffe://{domain}/ns/default/dc/dc1/svc/{service}"


def _authorize(lab: Lab, agent: AgentUnderTest, *, target: str, uri: str) -> Response:
    body = {"Target": target, "ClientCertURI": uri, "ClientCertSerial": "04:00:00:00:00:01"}
    return agent.api.post("/v1/agent/connect/authorize", body)
