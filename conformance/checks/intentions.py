"""Intentions: who may talk to whom."""

from __future__ import annotations

from conformance.checks._situations import (
    HEALTHY_AT_ONCE,
    accepted,
    closed,
    connects,
    exchange,
    may_register,
    mesh,
    only,
    refused,
)
from conformance.instruments.echo import EchoServer
from conformance.instruments.identities import agent_roots
from conformance.plugin.lab import AgentUnderTest, Lab
from conformance.plugin.marks import requirement

_PATH = "/v1/connect/intentions"


@requirement("intentions/deny/01")
def check_deny_refuses_the_pair(lab: Lab) -> None:
    """Deny ``web`` to ``redis`` by an intention and ask the authorize endpoint; then delete the intention.

    ``web`` is refused with a reason, ``db`` is not; afterwards ``web`` is allowed again. Source: catalogue.
    """
    agent = lab.agent(definitions=[lab.service("redis")])
    intention = _intend(agent, "web", "redis", "deny")
    lab.until("intention", lambda: not _authorized(agent, "web", "redis"), what="web is refused")
    assert _authorized(agent, "db", "redis")
    assert _authorized(agent, "web", "db")
    accepted(agent.api.delete(f"{_PATH}/{intention}"))
    lab.until("intention", lambda: _authorized(agent, "web", "redis"), what="web is allowed again")


@requirement("intentions/deny/02")
def check_denied_connection_carries_nothing(lab: Lab) -> None:
    """Let ``web`` reach ``redis`` through both proxies, then deny it by an intention and connect anew.

    No byte reaches the application and none comes back. Source: catalogue.
    """
    application = lab.use(EchoServer())
    pair = mesh(lab, application)
    _intend(pair.agent, "web", "redis", "deny")
    lab.until("intention", lambda: not pair.exchange(b"?"), what="new connections are refused")
    # By content: what was let in just before may still be on its way.
    assert pair.exchange(b"denied") == b""
    assert not [word for word in application.beginnings if b"denied".startswith(word)]


@requirement("intentions/default/01")
def check_the_default_policy_decides(lab: Lab) -> None:
    """Ask the authorize endpoint of agents with ACLs and a default policy of deny and of allow, without intentions.

    The pair is refused by the one and allowed by the other. Source: catalogue.
    """
    for number, policy in enumerate(("deny", "allow")):
        agent = closed(lab, lab.service("redis"), name=policy, options={"acl_default_policy": policy})
        lab.until(
            "intention",
            lambda agent=agent, allowed=bool(number): _authorized(agent, "web", "redis") is allowed,  # type: ignore[misc]
            what=f"the default policy of {policy} decides",
        )


@requirement("intentions/default/02")
def check_proxies_work_under_deny(lab: Lab) -> None:
    """Start ``web`` and ``redis`` with default proxies under a default policy of deny.

    The services have tokens that may write them and find the other, the proxies have their own. No byte reaches
    ``redis`` before an intention allows it; then bytes pass. Source: document, Managed Proxy Documentation.
    """
    application, port = lab.use(EchoServer()), lab.port()
    upstreams = [{"destination_name": "redis", "local_bind_port": port}]
    find = ' service "redis" { policy = "read" }'
    agent = closed(
        lab,
        lab.service(
            "redis", port=application.port, token="secret-of-redis", proxy={"config": HEALTHY_AT_ONCE}
        ),
        lab.service("web", token="secret-of-web", proxy={"config": HEALTHY_AT_ONCE, "upstreams": upstreams}),
        rules={
            "secret-of-redis": may_register("redis"),
            "secret-of-web": may_register("web") + find,
        },
    )
    lab.until("data_path", lambda: connects(port), what="the upstream listens")
    lab.until(
        "data_path",
        lambda: only(agent.api.get("/v1/health/connect/redis").json),
        what="the proxy of redis is found",
    )
    # Long enough for proxies that have just begun to become able to do wrong.
    lab.holds(
        "observation", lambda: exchange(port, b"too early") == b"", what="nothing passes before it is allowed"
    )
    assert application.received == 0
    _intend(agent, "web", "redis", "allow")
    lab.until(
        "data_path", lambda: exchange(port, b"now") == b"now", what="an allowed connection carries bytes"
    )


@requirement("intentions/write/01")
def check_writing_a_service_is_not_writing_intentions(lab: Lab) -> None:
    """Make intentions towards ``redis`` with a token that may write the service, and one that may write intentions.

    The first is refused with 403, the second is not. Source: catalogue.
    """
    service, intentions = "secret-of-the-service", "secret-of-intentions"
    agent = closed(
        lab,
        rules={
            service: 'service "redis" { policy = "write" }',
            intentions: 'service "redis" { policy = "read" intentions = "write" }',
        },
    )
    body = {"SourceName": "web", "DestinationName": "redis", "Action": "deny"}
    assert agent.api.post(_PATH, body, token=service).status == 403
    accepted(agent.api.post(_PATH, body, token=intentions))
    other = {**body, "DestinationName": "db"}
    assert agent.api.post(_PATH, other, token=intentions).status == 403


@requirement("intentions/precedence/01")
def check_exact_beats_wildcard(lab: Lab) -> None:
    """Deny everyone to ``redis`` and allow ``web``, in this order.

    ``web`` is allowed, ``db`` is refused. Source: catalogue.
    """
    agent = lab.agent(definitions=[lab.service("redis")])
    _intend(agent, "*", "redis", "deny")
    _intend(agent, "web", "redis", "allow")
    lab.until("intention", lambda: not _authorized(agent, "db", "redis"), what="db is refused")
    lab.until("intention", lambda: _authorized(agent, "web", "redis"), what="web is allowed")


@requirement("intentions/precedence/02")
def check_the_destination_counts_first(lab: Lab) -> None:
    """Deny ``web`` to everybody and allow everyone to ``db``, and ask about ``web`` to ``db`` and ``web`` to ``redis``.

    The first is allowed, by the intention that is more exact about the destination; the second is refused.
    Source: catalogue.
    """
    agent = lab.agent(definitions=[lab.service("db"), lab.service("redis")])
    _intend(agent, "web", "*", "deny")
    _intend(agent, "*", "db", "allow")
    lab.until("intention", lambda: not _authorized(agent, "web", "redis"), what="web is refused to redis")
    lab.until("intention", lambda: _authorized(agent, "web", "db"), what="web is allowed to db")


@requirement("intentions/persist/01")
def check_intentions_outlive_their_agent(lab: Lab) -> None:
    """Make two intentions with an agent that is no development agent, delete one, kill the agent and start it.

    The other one is there, as it was, and decides. Source: hardening.
    """
    agent = lab.agent(definitions=[lab.service("redis")], dev=False)
    lab.until("authority", lambda: agent_roots(agent.api), what="there is a root")
    accepted(agent.api.delete(f"{_PATH}/{_intend(agent, 'db', 'redis', 'deny')}"))
    kept = _intend(agent, "web", "redis", "deny")
    agent.crash()
    agent.start()
    listed = lab.until("authority", lambda: accepted(agent.api.get(_PATH)).json, what="it is listed")
    assert [(each["ID"], each["Action"]) for each in listed] == [(kept, "deny")]
    lab.until("intention", lambda: not _authorized(agent, "web", "redis"), what="web is refused")


@requirement("intentions/invalid/01")
def check_nonsense_is_refused(lab: Lab) -> None:
    """Make intentions without an action, with an unknown one, with a wildcard in part of a name, and with an id.

    Each is refused, and the list of intentions is empty. Source: catalogue.
    """
    agent = lab.agent()
    sound = {"SourceName": "web", "DestinationName": "redis", "Action": "deny"}
    strange: tuple[dict[str, str], ...] = (
        {"Action": ""},
        {"Action": "forbid"},
        {"SourceName": "we*"},
        {"DestinationName": ""},
        {"ID": "11111111-2222-3333-4444-555555555555"},
    )
    answers = {str(change): agent.api.post(_PATH, {**sound, **change}) for change in strange}
    taken = [change for change, answer in answers.items() if not refused(answer)]
    assert not taken, f"not refused: {taken}"
    assert accepted(agent.api.get(_PATH)).json == []


@requirement("intentions/duplicate/01")
def check_second_for_a_pair_is_refused(lab: Lab) -> None:
    """Deny ``web`` to ``redis``, then make another intention for the pair that allows it.

    The second is refused, and the first is as it was. Source: catalogue.
    """
    agent = lab.agent()
    first = _intend(agent, "web", "redis", "deny")
    body = {"SourceName": "web", "DestinationName": "redis", "Action": "allow"}
    answer = agent.api.post(_PATH, body)
    assert refused(answer), f"the second intention was answered {answer.status}"
    kept = only(accepted(agent.api.get(_PATH)).json)
    assert (kept["ID"], kept["Action"]) == (first, "deny")


@requirement("intentions/list/01")
def check_list_goes_by_precedence(lab: Lab) -> None:
    """List the intentions of an agent that has none, then make one for every kind of pair, and list them again.

    The first list is empty. In the second they stand exact before wildcard, the destination first, with the
    precedences 9, 8, 6 and 5. Source: catalogue.
    """
    agent = lab.agent()
    assert accepted(agent.api.get(_PATH)).json == []
    for source, destination in (("*", "*"), ("web", "*"), ("web", "redis"), ("*", "redis")):
        _intend(agent, source, destination, "deny")
    listed = [
        (each["SourceName"], each["DestinationName"], each["Precedence"])
        for each in accepted(agent.api.get(_PATH)).json
    ]
    assert listed == [("web", "redis", 9), ("*", "redis", 8), ("web", "*", 6), ("*", "*", 5)]


@requirement("intentions/change/01")
def check_intention_is_changed_by_its_id(lab: Lab) -> None:
    """Make an intention that denies, read it by its id, replace it by one that allows, and delete it.

    Each step shows in the next; afterwards reading is answered 404, and changing and deleting it are refused, as is
    reading what is no id. Source: catalogue.
    """
    agent = lab.agent()
    path = f"{_PATH}/{_intend(agent, 'web', 'redis', 'deny')}"
    allows = {"SourceName": "web", "DestinationName": "redis", "Action": "allow"}
    assert accepted(agent.api.get(path)).json["Action"] == "deny"
    accepted(agent.api.put(path, allows))
    assert accepted(agent.api.get(path)).json["Action"] == "allow"
    accepted(agent.api.delete(path))
    assert agent.api.get(path).status == 404
    assert agent.api.get(f"{_PATH}/nobody").status == 400
    assert refused(agent.api.put(path, allows)), "an intention that is gone was changed"
    assert refused(agent.api.delete(path)), "an intention that is gone was deleted"
    assert accepted(agent.api.get(_PATH)).json == []


@requirement("intentions/check/01")
def check_what_would_be_decided(lab: Lab) -> None:
    """Deny everyone to ``redis`` but ``web``, and ask what would be decided about ``web``, ``db`` and nobody.

    ``web`` is allowed, ``db`` is not, and a question without a source is refused. Source: catalogue.
    """
    agent = lab.agent()
    _intend(agent, "*", "redis", "deny")
    _intend(agent, "web", "redis", "allow")

    def allowed(source: str) -> bool:
        pair = {"source": source, "destination": "redis"}
        return bool(accepted(agent.api.get(f"{_PATH}/check", query=pair)).json["Allowed"])

    assert allowed("web")
    assert not allowed("db")
    assert refused(agent.api.get(f"{_PATH}/check", query={"destination": "redis"}))


@requirement("intentions/match/01")
def check_what_concerns_a_service(lab: Lab) -> None:
    """Make intentions about ``web``, ``redis`` and everybody, and ask for those that concern ``redis``.

    As a destination those towards it and towards everybody, by precedence; as a source those of everybody; a
    question that does not say as what is refused. Source: catalogue.
    """
    agent = lab.agent()
    for source, destination in (("*", "*"), ("*", "redis"), ("web", "redis"), ("web", "db")):
        _intend(agent, source, destination, "deny")

    def concerning(side: str) -> list[tuple[str, str]]:
        answer = accepted(agent.api.get(f"{_PATH}/match", query={"by": side, "name": "redis"})).json
        return [(each["SourceName"], each["DestinationName"]) for each in answer["redis"]]

    assert concerning("destination") == [("web", "redis"), ("*", "redis"), ("*", "*")]
    assert concerning("source") == [("*", "redis"), ("*", "*")]
    assert refused(agent.api.get(f"{_PATH}/match", query={"name": "redis"}))


def _intend(agent: AgentUnderTest, source: str, destination: str, action: str) -> str:
    body = {"SourceName": source, "DestinationName": destination, "Action": action}
    return str(accepted(agent.api.post(_PATH, body)).json["ID"])


def _authorized(agent: AgentUnderTest, source: str, target: str) -> bool:
    domain = accepted(agent.api.get("/v1/agent/connect/ca/roots")).json["TrustDomain"]
    uri = f"spiffe://{domain}/ns/default/dc/dc1/svc/{source}"
    body = {"Target": target, "ClientCertURI": uri, "ClientCertSerial": "01"}
    verdict = accepted(agent.api.post("/v1/agent/connect/authorize", body)).json
    assert verdict["Reason"]
    return bool(verdict["Authorized"])
