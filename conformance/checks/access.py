"""Access control: who may see and change what."""

from __future__ import annotations

import uuid
from typing import Any

from conformance.checks._situations import accepted, closed, may_register, only
from conformance.instruments.dns import DnsClient
from conformance.instruments.identities import spiffe_id
from conformance.plugin.lab import AgentUnderTest, Lab
from conformance.plugin.marks import requirement

#: What must not be open to everybody: method, path and body.
CHANGES: tuple[tuple[str, str, Any], ...] = (
    ("PUT", "/v1/agent/service/register", {"Name": "intruder", "Port": 1}),
    ("PUT", "/v1/agent/service/deregister/web", None),
    ("PUT", "/v1/agent/reload", None),
    ("GET", "/v1/agent/connect/proxy/web-proxy", None),
    ("GET", "/v1/agent/connect/ca/leaf/web", None),
    ("PUT", "/v1/catalog/register", {"Node": "intruder", "Address": "127.0.0.1"}),
    ("GET", "/v1/connect/ca/configuration", None),
    ("POST", "/v1/connect/intentions", {"SourceName": "a", "DestinationName": "web", "Action": "allow"}),
    ("PUT", "/v1/acl/create", {"Name": "intruder", "Type": "management"}),
    # Last, for an agent that does it answers no more.
    ("PUT", "/v1/agent/leave", None),
)
#: Lists that have something about ``web`` for whoever may see it.
LISTS = (
    "/v1/agent/services",
    "/v1/agent/checks",
    "/v1/catalog/services",
    "/v1/catalog/nodes",
    "/v1/catalog/service/web",
    "/v1/catalog/connect/web",
    "/v1/health/service/web",
    "/v1/health/connect/web",
    "/v1/health/state/any",
    "/v1/connect/intentions",
)
OWNER, READER = "secret-of-the-owner", "secret-of-a-reader"
OWNS_WEB = may_register("web")
READS = 'service "" { policy = "read" } node "" { policy = "read" }'


@requirement("access/closed/01")
def check_nobody_changes_anything(lab: Lab) -> None:
    """Send changes without token to an agent with a default policy of deny and service ``web`` with a managed proxy.

    Registration, removal, reload, end, intentions, tokens and the certificate of ``web`` are each refused with 403, and
    ``web`` is still there. Source: document, Managed Proxy Documentation.
    """
    agent = closed(lab, _web(lab), rules={OWNER: OWNS_WEB})
    agent.proxy("web-proxy")
    open_doors = {
        f"{method} {path}": status
        for method, path, body in CHANGES
        if (status := agent.api.request(method, path, body, token="").status) != 403
    }
    assert not open_doors, f"not refused with 403: {open_doors}"
    assert "web" in agent.services()


@requirement("access/closed/02")
def check_nobody_sees_anything(lab: Lab) -> None:
    """Ask for every list of services, nodes, instances, checks and intentions, with a management token and without one.

    The first has ``web`` in it, the second is empty. Source: catalogue.
    """
    agent = closed(lab, _web(lab), rules={OWNER: OWNS_WEB})
    _known(lab, agent)
    seen = [path for path in LISTS if agent.api.get(path, token="").json]
    assert not seen, f"not empty without a token: {seen}"


@requirement("access/closed/03")
def check_unknown_tokens_are_refused(lab: Lab) -> None:
    """Ask for the same lists with a token that does not exist.

    Each is refused with 403. Source: catalogue.
    """
    agent = closed(lab, _web(lab), rules={OWNER: OWNS_WEB})
    unknown = str(uuid.uuid4())
    taken = {path: status for path in LISTS if (status := agent.api.get(path, token=unknown).status) != 403}
    assert not taken, f"not refused with 403: {taken}"


@requirement("access/rules/01")
def check_write_is_for_one_name(lab: Lab) -> None:
    """Register and remove services ``web`` and ``db`` over HTTP with a token that may write ``web``.

    That works for ``web``; for ``db``, and for an id that belongs to ``db``, the answer is 403. Source: catalogue.
    """
    agent = closed(lab, lab.service("db", port=1), rules={OWNER: OWNS_WEB})
    register, remove = "/v1/agent/service/register", "/v1/agent/service/deregister"
    accepted(agent.api.put(register, {"Name": "web", "Port": 1}, token=OWNER))
    assert agent.api.put(register, {"Name": "other", "Port": 1}, token=OWNER).status == 403
    assert agent.api.put(register, {"ID": "db", "Name": "web", "Port": 1}, token=OWNER).status == 403
    assert agent.api.put(f"{remove}/db", token=OWNER).status == 403
    accepted(agent.api.put(f"{remove}/web", token=OWNER))
    assert set(agent.services()) == {"db"}


@requirement("access/rules/02")
def check_read_is_not_write(lab: Lab) -> None:
    """Ask as someone who may read services and nodes for the proxies of ``web``, their configuration and the leaf.

    The proxy is found; configuration and leaf are refused with 403. Source: catalogue.
    """
    agent = closed(lab, _web(lab), rules={OWNER: OWNS_WEB, READER: READS})
    found = lab.until(
        "check_passes",
        lambda: agent.api.get("/v1/health/connect/web", token=READER).json,
        what="the proxy of web is found",
    )
    assert only(found)["Service"]["Service"] == "web-proxy"
    for path in ("/v1/agent/connect/proxy/web-proxy", "/v1/agent/connect/ca/leaf/web"):
        answer = agent.api.get(path, token=READER)
        assert answer.status == 403, f"{path} answered {answer.status}"
        assert "PRIVATE KEY" not in answer.text


@requirement("access/rules/03")
def check_the_most_specific_rule_decides(lab: Lab) -> None:
    """Give a token rules for one name and for prefixes of it that say otherwise, and list the services.

    The exact rule decides, then the longest prefix. Source: catalogue.
    """
    names = ("web", "web-api", "web-admin", "db")
    agent = closed(
        lab, *(lab.service(name, port=1, token=OWNER) for name in names), rules={OWNER: may_register("")}
    )
    secret = _token(
        agent,
        """
        service_prefix ""    { policy = "read" }
        service_prefix "web" { policy = "deny" }
        service "web-api"    { policy = "read" }
        """,
    )
    _listed(lab, agent, *names)
    assert set(agent.api.get("/v1/catalog/services", token=secret).json) - {"consul"} == {"web-api", "db"}


@requirement("access/rules/04")
def check_deny_wins_over_write(lab: Lab) -> None:
    """Give a token two policies that disagree about ``web`` and about ``db``, and list and register services.

    ``web``, denied by one and open by the other, is denied; ``db``, to read and to write, can be written.
    Source: catalogue.
    """
    agent = closed(lab, lab.service("web", port=1, token=OWNER), rules={OWNER: may_register("")})
    secret = _token(
        agent,
        'service "web" { policy = "write" } service "db" { policy = "read" }',
        'service "web" { policy = "deny" } service "db" { policy = "write" }',
    )
    _listed(lab, agent, "web")
    assert "web" not in agent.api.get("/v1/catalog/services", token=secret).json
    register = "/v1/agent/service/register"
    assert agent.api.put(register, {"Name": "web", "Port": 2}, token=secret).status == 403
    accepted(agent.api.put(register, {"Name": "db", "Port": 2}, token=secret))


@requirement("access/rules/05")
def check_authorize_takes_write(lab: Lab) -> None:
    """Ask the authorize endpoint about ``web`` and about ``db`` with a token that may write ``web`` and read all else.

    It decides about ``web``, and refuses with 403 to decide about ``db``. Source: catalogue.
    """
    agent = closed(lab, rules={OWNER: f'{OWNS_WEB} service "" {{ policy = "read" }}'})
    uri = spiffe_id("11111111-2222-3333-4444-555555555555.consul", "client")

    def asked(target: str) -> int:
        body = {"Target": target, "ClientCertURI": uri, "ClientCertSerial": "01"}
        return agent.api.post("/v1/agent/connect/authorize", body, token=OWNER).status

    assert asked("web") == 200
    assert asked("db") == 403


@requirement("access/registration/01")
def check_services_register_with_their_token(lab: Lab) -> None:
    """Define ``web`` with a token that may write it, and ``db`` with the same token.

    Both run; only ``web`` comes to be found in the catalog. Source: catalogue.
    """
    agent = closed(lab, _web(lab), lab.service("db", port=1, token=OWNER), rules={OWNER: OWNS_WEB})
    _listed(lab, agent, "web")
    lab.holds("blink", lambda: "db" not in agent.api.get("/v1/catalog/services").json, what="db is not found")
    assert {"web", "db"} <= set(agent.services())


@requirement("access/registration/02")
def check_proxies_register_with_the_token_of_their_service(lab: Lab) -> None:
    """Define an instance ``first`` of ``web`` with a managed proxy and a token that may write what begins with ``web``.

    The catalog comes to have instance and proxy: what counts is the name of the service, not the id of its instance.
    Source: hardening; releases before 1.2.3 named proxies after ids.
    """
    agent = closed(lab, rules={OWNER: OWNS_WEB})
    service = lab.service("web", id="first", token=OWNER, proxy={"command": ["/bin/sleep", "600"]})
    agent.reload(definitions=[service])

    def found() -> bool:
        proxies = accepted(agent.api.get("/v1/catalog/connect/web")).json
        return [(each["ServiceID"], each["ServiceName"]) for each in proxies] == [
            ("first-proxy", "web-proxy")
        ]

    lab.until("check_passes", found, what="the catalog has the proxy of web")
    _listed(lab, agent, "web")


@requirement("access/dns/01")
def check_dns_sees_what_the_default_token_sees(lab: Lab) -> None:
    """Give the agent a default token that may read ``web`` and its node, and ask DNS for ``web`` and ``db``.

    The first has an address, the second, which is in the catalog, has none. Source: catalogue.
    """
    agent = closed(
        lab,
        *(lab.service(name, port=1, token=OWNER) for name in ("web", "db")),
        rules={
            READER: 'service "web" { policy = "read" } node "" { policy = "read" }',
            OWNER: may_register(""),
        },
        options={"acl_token": READER},
    )
    _listed(lab, agent, "web", "db")
    resolver = DnsClient(port=agent.dns_port, history=lab.history, timeout=lab.budget("http"))
    lab.until("check_passes", lambda: resolver.ask("web.service.consul").data("A"), what="DNS knows web")
    assert not resolver.ask("db.service.consul").answers


@requirement("access/persist/01")
def check_tokens_survive_a_kill(lab: Lab) -> None:
    """Make a token, kill the agent, start it again, and register a service with the token.

    It is accepted. Source: catalogue.
    """
    agent = closed(lab, rules={OWNER: OWNS_WEB}, dev=False)
    agent.crash()
    agent.start()
    lab.until(
        "agent_ready",
        lambda: accepted(
            agent.api.put("/v1/agent/service/register", {"Name": "web", "Port": 1}, token=OWNER)
        ),
        what="the token is good",
    )


@requirement("access/bootstrap/01")
def check_bootstrap_works_once(lab: Lab) -> None:
    """Start an agent without a management token and ask for the first one twice.

    The first answer has a token that lists all tokens; the second is 403. Source: catalogue.
    """
    agent_master = str(uuid.uuid4())
    options = {"acl": {"enabled": True, "default_policy": "deny", "tokens": {"agent_master": agent_master}}}
    agent = lab.agent(options=options, token=agent_master)
    first = lab.until(
        "authority",
        lambda: accepted(agent.api.put("/v1/acl/bootstrap", token="")).json,
        what="the first token is made",
    )
    lab.history.hide(first["SecretID"])
    assert accepted(agent.api.get("/v1/acl/tokens", token=first["SecretID"])).json
    assert agent.api.put("/v1/acl/bootstrap", token="").status == 403


@requirement("access/secret/01")
def check_the_log_shows_no_token(lab: Lab) -> None:
    """At log level DEBUG, show a token in the query, in either header, in the paths that name tokens, and in bodies.

    It stands nowhere in what the agent printed. Source: catalogue.
    """
    agent = closed(lab, _web(lab), rules={OWNER: OWNS_WEB}, options={"log_level": "DEBUG"})
    path = "/v1/agent/service/web"
    accepted(agent.api.get(path, query={"token": OWNER}, token=""))
    accepted(agent.api.get(path, token=OWNER))
    accepted(agent.api.get(path, token="", headers={"Authorization": f"Bearer {OWNER}"}))
    accepted(agent.api.get(f"/v1/acl/info/{OWNER}"))
    accepted(agent.api.put(f"/v1/acl/clone/{OWNER}"))
    accepted(agent.api.put("/v1/acl/update", {"ID": OWNER, "Name": "renamed", "Rules": OWNS_WEB}))
    accepted(agent.api.put(f"/v1/acl/destroy/{OWNER}"))
    agent.api.get(path, token=OWNER)
    shown = [line for line in agent.output().splitlines() if OWNER in line or agent.api.own_token in line]
    assert not shown, f"a token stands in the log, {len(shown)} times"


def _web(lab: Lab) -> dict[str, Any]:
    """Service ``web`` with a proxy that does nothing, and a token that may register it."""
    return lab.service("web", port=1, token=OWNER, proxy={"command": ["/bin/sleep", "600"]})


def _known(lab: Lab, agent: AgentUnderTest) -> None:
    """Wait until every list has something about ``web`` for who may see it."""
    intention = {"SourceName": "a", "DestinationName": "web", "Action": "allow"}
    accepted(agent.api.post("/v1/connect/intentions", intention))
    lab.until(
        "check_passes",
        lambda: all(agent.api.get(path).json for path in LISTS),
        what="web is in every list",
    )


def _listed(lab: Lab, agent: AgentUnderTest, *names: str) -> None:
    lab.until(
        "check_passes",
        lambda: set(names) <= set(agent.api.get("/v1/catalog/services").json),
        what=f"the catalog has {', '.join(names)}",
    )


def _token(agent: AgentUnderTest, *rules: str) -> str:
    """A token of the form of version 1.4 with a policy for each of these rules."""
    links = []
    for number, text in enumerate(rules):
        policy = {"Name": f"policy-{number}", "Rules": text}
        links.append({"ID": accepted(agent.api.put("/v1/acl/policy", policy)).json["ID"]})
    return str(accepted(agent.api.put("/v1/acl/token", {"Policies": links})).json["SecretID"])
