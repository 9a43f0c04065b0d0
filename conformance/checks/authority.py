"""The certificate authority: what it is told, what it signs, and how its root is replaced."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import verification

from conformance.bench.load import MESSAGE
from conformance.checks._situations import (
    HEALTHY_AT_ONCE,
    accepted,
    connects,
    converse,
    first_leaf,
    mesh,
    only,
    refused,
)
from conformance.instruments.api import Response
from conformance.instruments.echo import EchoServer
from conformance.instruments.identities import Authority, agent_identity
from conformance.instruments.tls import dial
from conformance.plugin.lab import AgentUnderTest, Lab
from conformance.plugin.marks import requirement
from conformance.plugin.waits import CheckFailure

CONFIGURATION = "/v1/connect/ca/configuration"
ROOTS = "/v1/connect/ca/roots"


@requirement("authority/lifetime/01")
def check_leaf_lifetime(lab: Lab) -> None:
    """Fetch the leaf of a service from an agent that was told nothing about lifetimes.

    It is valid now and for 72 hours. Source: catalogue.
    """
    agent = lab.agent(definitions=[lab.service("web")])
    _assert_valid_for(_first_leaf(lab, agent), hours=72)


@requirement("authority/lifetime/02")
def check_configured_leaf_lifetime(lab: Lab) -> None:
    """Set ``connect.ca_config.leaf_cert_ttl`` to five hours and fetch a leaf.

    It is valid for five hours. Source: catalogue.
    """
    agent = lab.agent(
        definitions=[lab.service("web")], options={"connect": {"ca_config": {"leaf_cert_ttl": "5h"}}}
    )
    _assert_valid_for(_first_leaf(lab, agent), hours=5)


@requirement("authority/rotation/01")
def check_traffic_goes_on(lab: Lab) -> None:
    """Replace the root while a connection through two managed proxies is open, and make new ones all the time.

    Until both leaves are those of the new root, and once more after that, no byte is lost and no connection is
    refused. Source: catalogue.
    """
    pair = mesh(lab, lab.use(EchoServer()))
    before = {name: _leaf(pair.agent, name) for name in ("redis", "web")}
    with pair.connect() as opened:
        assert converse(opened, b"before") == b"before"
        _rotate(pair.agent)

        def renewed() -> bool:
            if pair.exchange(b"new") != b"new":
                raise CheckFailure("a new connection failed during the rotation")
            if converse(opened, b"old") != b"old":
                raise CheckFailure("the open connection broke during the rotation")
            return all(_leaf(pair.agent, name) != leaf for name, leaf in before.items())

        lab.until("leaf_renewed", renewed, what="the leaves are those of the new root")
        assert renewed()


@requirement("authority/rotation/02")
def check_both_roots_are_listed(lab: Lab) -> None:
    """Give the authority another private key and read the roots, in the catalog and at the agent.

    There are two, of which the new one is active; the trust domain is the same. Source: catalogue.
    """
    agent = lab.agent()
    old, domain = _ready(lab, agent)
    _rotate(agent)
    for path in (ROOTS, "/v1/agent/connect/ca/roots"):
        roots = accepted(agent.api.get(path)).json
        assert roots["TrustDomain"] == domain
        active = only([root for root in roots["Roots"] if root["Active"]])
        assert roots["ActiveRootID"] == active["ID"] != old
        assert only([root["ID"] for root in roots["Roots"] if not root["Active"]]) == old


@requirement("authority/rotation/03")
def check_leaves_follow_and_are_linked(lab: Lab) -> None:
    """Fetch a leaf, give the authority another private key, and wait for another leaf.

    Whoever knows the new root alone believes the new leaf, and so does whoever knows the old root alone, with the
    certificates that came with the leaf. Source: catalogue.
    """
    agent = lab.agent(definitions=[lab.service("web")])
    before = _first_leaf(lab, agent)
    old = _active_root(agent)
    _rotate(agent)
    lab.until("leaf_renewed", lambda: _leaf(agent, "web") != before, what="the leaf is issued anew")
    after, new = _leaf(agent, "web"), _active_root(agent)
    assert _believed(before, old)
    assert not _believed(before, new)
    assert _believed(after, new)
    assert _believed(after, old), "who knows the old root alone does not believe the new leaf"


@requirement("authority/rotation/04")
def check_readers_of_roots_are_woken(lab: Lab) -> None:
    """Wait for the roots with a blocking read, at the agent and in the catalog, and give the authority another key.

    Both readers are answered, with two roots. Source: catalogue.
    """
    agent = lab.agent()
    _ready(lab, agent)
    answers: list[Response] = []
    readers = []
    for path in (ROOTS, "/v1/agent/connect/ca/roots"):
        index = accepted(agent.api.get(path)).headers["X-Consul-Index"]

        def read(path: str = path, index: str = index) -> None:
            patience = lab.budget("leaf_renewed")
            answers.append(agent.api.get(path, query={"index": index, "wait": "120s"}, timeout=patience))

        readers.append(threading.Thread(target=read))
    for reader in readers:
        reader.start()
    lab.holds("blink", lambda: not answers, what="the readers wait")
    _rotate(agent)
    lab.until("registration", lambda: len(answers) == 2, what="both readers are answered")
    for reader in readers:
        reader.join()
    assert [len(answer.json["Roots"]) for answer in answers] == [2, 2]


@requirement("authority/rotation/05")
def check_authority_outlives_its_agent(lab: Lab) -> None:
    """Give the authority of an agent that is no development agent another key and lifetime; kill it; start it.

    Trust domain, roots and lifetime are the same. Source: catalogue.
    """
    agent = lab.agent(definitions=[lab.service("web")], dev=False)
    _ready(lab, agent)
    _rotate(agent, LeafCertTTL="5h")
    before = accepted(agent.api.get(ROOTS)).json
    agent.crash()
    agent.start()
    _ready(lab, agent)
    after = accepted(agent.api.get(ROOTS)).json
    assert after["TrustDomain"] == before["TrustDomain"]
    assert after["ActiveRootID"] == before["ActiveRootID"]
    assert {root["ID"] for root in after["Roots"]} == {root["ID"] for root in before["Roots"]}
    _assert_valid_for(_first_leaf(lab, agent), hours=5)


@requirement("authority/rotation/06")
def check_proxies_show_the_new_leaf(lab: Lab) -> None:
    """Give the authority another private key, and connect to a managed proxy as a peer that knows the new root alone.

    As soon as leaves have been renewed it believes the proxy, and is served. Source: catalogue.
    """
    application = lab.use(EchoServer())
    proxied = lab.service("redis", port=application.port, proxy={"config": HEALTHY_AT_ONCE})
    agent = lab.agent(definitions=[proxied, lab.service("web")])
    _ready(lab, agent)
    port = agent.services()["redis-proxy"]["Port"]
    lab.until("proxy_listens", lambda: connects(port), what="the public listener is open")
    _rotate(agent)
    roots = [_active_root(agent)]

    def shown() -> bool:
        web = agent_identity(agent.api, "web")
        sent = dial(port, identity=web, roots=roots, send=MESSAGE, expect=len(MESSAGE), half_close=False)
        return sent.received == MESSAGE

    lab.until("leaf_renewed", shown, what="the proxy shows a leaf of the new root")


@requirement("authority/rotation/07")
def check_proxies_believe_the_new_root(lab: Lab) -> None:
    """Give the mesh another authority, and connect to a managed proxy as ``web`` with a leaf that only the new root
    vouches for.

    The peer is served. Source: catalogue.
    """
    application = lab.use(EchoServer())
    agent = lab.agent(
        definitions=[lab.service("redis", port=application.port, proxy={"config": HEALTHY_AT_ONCE})]
    )
    _, domain = _ready(lab, agent)
    port = agent.services()["redis-proxy"]["Port"]
    lab.until("proxy_listens", lambda: connects(port), what="the public listener is open")
    authority = Authority(domain)
    new = {"PrivateKey": authority.key_pem, "RootCert": authority.root_pem}
    accepted(_configure(agent, {"LeafCertTTL": "72h", "RotationPeriod": "2160h", **new}))
    web = authority.leaf("web")

    def served() -> bool:
        return (
            dial(port, identity=web, send=MESSAGE, expect=len(MESSAGE), half_close=False).received == MESSAGE
        )

    lab.until("authority", served, what="a peer of the new authority is served")


@requirement("authority/configuration/01")
def check_configuration_hides_the_key(lab: Lab) -> None:
    """Read the configuration of the authority, give it a private key, and read it again.

    Provider and lifetime are there; of the key there is nothing, neither here nor among the roots. Source: catalogue.
    """
    agent = lab.agent()
    _ready(lab, agent)
    assert accepted(agent.api.get(CONFIGURATION)).json["Provider"] == "consul"
    key = _rotate(agent, LeafCertTTL="5h")
    answer = accepted(agent.api.get(CONFIGURATION))
    assert answer.json["Config"]["LeafCertTTL"] == "5h"
    for text in (answer.text, agent.api.get(ROOTS).text):
        assert not _quotes(text, key), "an answer holds the private key of the authority"


@requirement("authority/configuration/02")
def check_impossible_configurations(lab: Lab) -> None:
    """Tell the authority a lifetime of ten minutes, a root without a key, and a provider that is not there.

    Each is refused, and configuration and roots are what they were. Source: catalogue.
    """
    agent = lab.agent()
    _ready(lab, agent)
    before = [accepted(agent.api.get(path)).json for path in (CONFIGURATION, ROOTS)]
    for provider, config in (
        ("consul", {"LeafCertTTL": "10m"}),
        ("consul", {"RootCert": Authority().root_pem}),
        ("unheard-of", {}),
    ):
        answer = agent.api.put(CONFIGURATION, {"Provider": provider, "Config": config})
        assert refused(answer), f"{provider} with {sorted(config)} was answered {answer.status}"
    assert [accepted(agent.api.get(path)).json for path in (CONFIGURATION, ROOTS)] == before


@requirement("authority/configuration/03")
def check_the_same_key_is_no_rotation(lab: Lab) -> None:
    """Give the authority a key, and the same key once more with another lifetime.

    The root is the same after the second time. Source: catalogue.
    """
    agent = lab.agent()
    _ready(lab, agent)
    key = _rotate(agent)
    root = _active_root(agent)
    accepted(_configure(agent, {"PrivateKey": key, "LeafCertTTL": "5h"}))
    assert _active_root(agent) == root
    assert accepted(agent.api.get(CONFIGURATION)).json["Config"]["LeafCertTTL"] == "5h"


@requirement("authority/configuration/04")
def check_read_change_write(lab: Lab) -> None:
    """Give the authority a key, read the configuration, change the lifetime in it and write it back.

    It is accepted, and the root is the same. Source: hardening.
    """
    agent = lab.agent()
    _ready(lab, agent)
    _rotate(agent)
    root = _active_root(agent)
    shown = accepted(agent.api.get(CONFIGURATION)).json["Config"]
    accepted(_configure(agent, {**shown, "LeafCertTTL": "5h"}))
    assert _active_root(agent) == root


@requirement("authority/configuration/05")
def check_errors_do_not_quote_keys(lab: Lab) -> None:
    """Give the authority a private key that was cut in two.

    It is refused, and the refusal holds nothing of it. Source: hardening.
    """
    agent = lab.agent()
    _ready(lab, agent)
    half = "\n".join(_private_key().splitlines()[1:3])
    answer = _configure(agent, {"PrivateKey": half})
    assert refused(answer)
    assert not _quotes(answer.text, half), "the refusal quotes the private key"


@requirement("authority/root/01")
def check_own_root(lab: Lab) -> None:
    """Start an agent with ``private_key`` and ``root_cert`` of an authority of the suite.

    This root is the active one, and leaves are signed by it. Source: catalogue.
    """
    own = Authority()
    agent = lab.agent(
        definitions=[lab.service("web")],
        options={"connect": {"ca_config": {"private_key": own.key_pem, "root_cert": own.root_pem}}},
    )
    leaf = _first_leaf(lab, agent)
    assert _active_root(agent).strip() == own.root_pem.strip(), "the active root is another one"
    assert _believed(leaf, own.root_pem)


@requirement("authority/root/02")
def check_root_of_another_key(lab: Lab) -> None:
    """Start an agent with the ``root_cert`` of one authority and the ``private_key`` of another.

    It refuses to start, and does not print the key. Source: hardening.
    """
    one, other = Authority(), Authority()
    ended = lab.start_expecting_failure(
        options={"connect": {"ca_config": {"private_key": one.key_pem, "root_cert": other.root_pem}}}
    )
    assert ended.exit_code != 0
    assert not _quotes(ended.output, one.key_pem), "the private key is printed"


def _ready(lab: Lab, agent: AgentUnderTest) -> tuple[str, str]:
    """Id of the active root, and trust domain, as soon as there are any."""
    roots = lab.until("authority", lambda: _listed(agent), what="there is a root")
    assert roots is not None
    return str(roots["ActiveRootID"]), str(roots["TrustDomain"])


def _listed(agent: AgentUnderTest) -> Mapping[str, Any] | None:
    answer = agent.api.get(ROOTS)
    return answer.json if answer.status == 200 and answer.json["Roots"] else None


def _first_leaf(lab: Lab, agent: AgentUnderTest) -> str:
    return str(first_leaf(lab, agent, "web").json["CertPEM"])


def _leaf(agent: AgentUnderTest, service: str) -> str:
    """The chain of certificates that a service presents."""
    return str(accepted(agent.api.get(f"/v1/agent/connect/ca/leaf/{service}")).json["CertPEM"])


def _active_root(agent: AgentUnderTest) -> str:
    roots = accepted(agent.api.get(ROOTS)).json["Roots"]
    return str(only([root["RootCert"] for root in roots if root["Active"]]))


def _configure(agent: AgentUnderTest, config: Mapping[str, Any]) -> Response:
    return agent.api.put(CONFIGURATION, {"Provider": "consul", "Config": config})


def _rotate(agent: AgentUnderTest, **more: str) -> str:
    """Give the authority a key that nobody has had; returns it."""
    key = _private_key()
    accepted(_configure(agent, {"LeafCertTTL": "72h", "RotationPeriod": "2160h", **more, "PrivateKey": key}))
    return key


def _private_key() -> str:
    return (
        ec.generate_private_key(ec.SECP256R1())
        .private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
        .decode()
    )


def _quotes(text: str, key: str) -> bool:
    """Whether ``text`` holds a line of a key."""
    return any(line in text for line in key.splitlines() if line and not line.startswith("-----"))


def _assert_valid_for(chain: str, *, hours: int) -> None:
    certificate = x509.load_pem_x509_certificate(chain.encode())
    now = datetime.now(UTC)
    assert certificate.not_valid_before_utc <= now
    remaining = certificate.not_valid_after_utc - now
    assert abs(remaining - timedelta(hours=hours)) < timedelta(minutes=10)


def _believed(chain: str, root: str) -> bool:
    """Whether somebody who knows this root alone believes the first certificate of a chain."""
    leaf, *between = x509.load_pem_x509_certificates(chain.encode())
    return _verifies(leaf, between, x509.load_pem_x509_certificate(root.encode()))


def _verifies(leaf: x509.Certificate, between: Sequence[x509.Certificate], root: x509.Certificate) -> bool:
    verifier = verification.PolicyBuilder().store(verification.Store([root])).build_client_verifier()
    try:
        verifier.verify(leaf, list(between))
    except verification.VerificationError:
        return False
    return True
