"""Prepared queries: made over HTTP, executed over HTTP and DNS, and as upstreams of managed proxies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from conformance.checks._situations import (
    HEALTHY_AT_ONCE,
    accepted,
    exchange,
    only,
    proxy_config,
    refused,
)
from conformance.instruments.dns import DnsClient
from conformance.instruments.echo import EchoServer
from conformance.instruments.identities import agent_identity, agent_roots
from conformance.instruments.tls import TlsServer
from conformance.plugin.lab import AgentUnderTest, Lab
from conformance.plugin.marks import requirement

QUERY = "/v1/query"
#: A node without an agent, whose services are registered in the catalog.
OUTSIDE = "outside"


@requirement("query/config/01")
def check_query_upstreams_reach_the_proxy(lab: Lab) -> None:
    """Give one managed proxy an upstream of type ``prepared_query``, and another one the same in the legacy place.

    Both proxies are told the type. Source: document, Prepared Query Upstreams.
    """
    upstream = {
        "destination_name": "nearest-redis",
        "destination_type": "prepared_query",
        "local_bind_port": 1234,
    }
    command = ["/bin/sleep", "600"]
    agent = lab.agent(
        definitions=[
            lab.service("new", proxy={"command": command, "upstreams": [upstream]}),
            lab.service("old", proxy={"command": command, "config": {"upstreams": [upstream]}}),
        ]
    )
    for proxy_id in ("new-proxy", "old-proxy"):
        told = only(proxy_config(agent, proxy_id)["Upstreams"])
        assert told["DestinationName"] == "nearest-redis"
        assert told["DestinationType"] == "prepared_query"


@requirement("query/upstream/01")
def check_query_upstream_carries_bytes(lab: Lab) -> None:
    """Let ``web`` reach ``redis`` through an upstream that names a prepared query by its name, and one by its id.

    Bytes go through both managed proxies and come back. Source: document, Prepared Query Upstreams.
    """
    application, by_name, by_id = lab.use(EchoServer()), lab.port(), lab.port()
    redis = lab.service("redis", port=application.port, proxy={"config": HEALTHY_AT_ONCE})
    agent = lab.agent(definitions=[redis])
    query_id = _make(agent, "find-redis", {"Service": "redis"})
    upstreams = [_query_upstream("find-redis", by_name), _query_upstream(query_id, by_id)]
    web = lab.service("web", proxy={"config": HEALTHY_AT_ONCE, "upstreams": upstreams})
    agent.reload(definitions=[redis, web])
    lab.until(
        "data_path",
        lambda: exchange(by_name, b"ping") == exchange(by_id, b"ping") == b"ping",
        what="bytes go through both upstreams",
    )


@requirement("query/upstream/02")
def check_tags_decide_for_an_upstream(lab: Lab) -> None:
    """Register two Connect-native instances of ``redis`` with different tags, and a query that demands one of them;
    then have it demand the other.

    Connections through the upstream reach the instance with the tag, and never the other; after the change, the other.
    Source: document, Prepared Query Upstreams.
    """
    scene = _two_natives(lab, tags=("primary", "replica"), query={"Service": "redis", "Tags": ["primary"]})
    for _ in range(6):
        assert scene.reached() == 0, "the upstream reached the instance without the tag"
    changed = {"Name": "find-redis", "Service": {"Service": "redis", "Tags": ["replica"]}}
    accepted(scene.agent.api.put(f"{QUERY}/{scene.query_id}", changed))
    lab.until("query", lambda: scene.reached() == 1, what="the upstream follows the changed query")


@requirement("query/upstream/03")
def check_the_nearest_comes_first(lab: Lab) -> None:
    """Register one Connect-native instance of ``redis`` here and one on another node, and a query near this agent.

    Connections through the upstream reach the one here. Source: document, Prepared Query Upstreams.
    """
    scene = _two_natives(lab, tags=("here", "there"), query={"Service": "redis", "Near": "_agent"})
    for _ in range(8):
        assert scene.reached() == 0, "the upstream reached the instance on the other node"


@requirement("query/register/01")
def check_life_of_a_query(lab: Lab) -> None:
    """Make a query, read it, list it, change it, delete it.

    It is shown as it was given, and gone after the end. Source: catalogue.
    """
    agent = lab.agent()
    service = {"Service": "redis", "Tags": ["a", "!b"], "OnlyPassing": True, "NodeMeta": {"Rack": "1"}}
    query_id = _make(agent, "mine", service)
    shown = only(accepted(agent.api.get(f"{QUERY}/{query_id}")).json)
    assert (shown["ID"], shown["Name"]) == (query_id, "mine")
    assert {key: shown["Service"][key] for key in service} == service
    assert [each["ID"] for each in accepted(agent.api.get(QUERY)).json] == [query_id]
    accepted(agent.api.put(f"{QUERY}/{query_id}", {"Name": "mine", "Service": {"Service": "other"}}))
    changed = only(accepted(agent.api.get(f"{QUERY}/{query_id}")).json)
    assert (changed["Service"]["Service"], changed["Service"]["OnlyPassing"]) == ("other", False)
    accepted(agent.api.delete(f"{QUERY}/{query_id}"))
    assert accepted(agent.api.get(QUERY)).json == []
    assert agent.api.get(f"{QUERY}/{query_id}").status == 404


@requirement("query/register/02")
def check_senseless_queries(lab: Lab) -> None:
    """Make queries without a service, with the name of another in another case, and with templates that are none.

    Each is refused, and none is listed. Source: catalogue.
    """
    agent = lab.agent()
    query_id = _make(agent, "taken", {"Service": "redis"})
    template = {"Type": "name_prefix_match"}
    for query in (
        {"Name": "a"},
        {"Service": {"Service": "redis"}},
        {"Name": "TAKEN", "Service": {"Service": "redis"}},
        {"Name": query_id, "Service": {"Service": "redis"}},
        {"Name": "b", "Template": {"Type": "no_such"}, "Service": {"Service": "redis"}},
        {"Name": "c", "Template": template, "Service": {"Service": "${name.full"}},
        {"Name": "d", "Template": template, "Service": {"Service": "${name.unknown}"}},
        {"Name": "e", "Template": {**template, "Regexp": "("}, "Service": {"Service": "redis"}},
        {"Name": "f", "Service": {"Service": "redis"}, "DNS": {"TTL": "soon"}},
    ):
        answer = agent.api.post(QUERY, query)
        assert refused(answer), f"{query} was answered {answer.status}"
    assert [each["ID"] for each in accepted(agent.api.get(QUERY)).json] == [query_id]


@requirement("query/register/03")
def check_queries_outlive_their_agent(lab: Lab) -> None:
    """Make two queries with an agent that is no development agent, delete one, kill the agent and start it.

    The other one is there, as it was. Source: hardening.
    """
    agent = lab.agent(dev=False)
    query_id = _make(agent, "kept", {"Service": "redis", "Tags": ["a"]})
    accepted(agent.api.delete(f"{QUERY}/{_make(agent, 'gone', {'Service': 'redis'})}"))
    before = accepted(agent.api.get(f"{QUERY}/{query_id}")).json
    agent.crash()
    agent.start()
    after = lab.until("authority", lambda: accepted(agent.api.get(QUERY)).json, what="the query is listed")
    assert [_without_indexes(each) for each in after] == [_without_indexes(each) for each in before]


@requirement("query/execute/01")
def check_instances_that_are_not_critical(lab: Lab) -> None:
    """Register instances of ``db`` that are passing, have a warning and are critical; execute a query about them.

    By id and by name, in any case, it finds the first two. Source: catalogue.
    """
    agent = _with_outside_services(lab)
    query_id = _make(agent, "Find-DB", {"Service": "db"})
    for name in (query_id, "Find-DB", "find-db"):
        assert _found(agent, name) == {"passing", "warning"}


@requirement("query/execute/02")
def check_health_options(lab: Lab) -> None:
    """Execute queries about ``db`` with ``OnlyPassing``, and with ``IgnoreCheckIDs`` of the check that is critical.

    The first finds what is passing, the second everything. Source: catalogue.
    """
    agent = _with_outside_services(lab)
    _make(agent, "passing", {"Service": "db", "OnlyPassing": True})
    _make(agent, "ignoring", {"Service": "db", "IgnoreCheckIDs": ["check-critical"]})
    assert _found(agent, "passing") == {"passing"}
    assert _found(agent, "ignoring") == {"passing", "warning", "critical"}


@requirement("query/execute/03")
def check_filters(lab: Lab) -> None:
    """Execute queries about ``db`` that demand tags, the absence of tags, and metadata of service and node.

    Each finds what fits it. Source: catalogue.
    """
    agent = _with_outside_services(lab)
    for name, filters, expected in (
        ("tag", {"Tags": ["common", "IS-passing"]}, {"passing"}),
        ("not-tag", {"Tags": ["!is-passing"]}, {"warning"}),
        ("both", {"Tags": ["is-passing", "!common"]}, set()),
        ("service-meta", {"ServiceMeta": {"version": "warning"}}, {"warning"}),
        ("node-meta", {"NodeMeta": {"rack": "1"}}, {"passing", "warning"}),
        ("other-node-meta", {"NodeMeta": {"rack": "2"}}, set()),
    ):
        _make(agent, name, {"Service": "db", **filters})
        found = _found(agent, name)
        assert found == expected, f"a query with {filters} found {found}"


@requirement("query/execute/04")
def check_mesh_instances(lab: Lab) -> None:
    """Execute a query about ``web``, which has a managed proxy, as it is, with ``connect=true``, and with ``Connect``.

    The first finds the service, the others its proxy. Source: catalogue.
    """
    proxy = {"command": ["/bin/sleep", "600"], "config": HEALTHY_AT_ONCE}
    agent = lab.agent(definitions=[lab.service("web", proxy=proxy)])
    _make(agent, "plain", {"Service": "web"})
    _make(agent, "mesh", {"Service": "web", "Connect": True})
    lab.until("registration", lambda: _found(agent, "mesh"), what="the proxy is found")
    assert _found(agent, "plain") == {"web"}
    assert _found(agent, "plain", connect="true") == {"web-proxy"}
    assert _found(agent, "mesh") == {"web-proxy"}


@requirement("query/execute/05")
def check_limit(lab: Lab) -> None:
    """Execute a query that finds two instances, with a limit of one.

    It finds one of them. Source: catalogue.
    """
    agent = _with_outside_services(lab)
    _make(agent, "db", {"Service": "db"})
    assert len(_found(agent, "db", limit="1")) == 1
    assert len(_found(agent, "db", limit="5")) == 2


@requirement("query/execute/06")
def check_unknown_queries(lab: Lab) -> None:
    """Execute and explain a query that nobody made.

    Both are answered 404. Source: catalogue.
    """
    agent = lab.agent()
    _make(agent, "known", {"Service": "redis"})
    for action in ("execute", "explain"):
        assert agent.api.get(f"{QUERY}/unknown/{action}").status == 404


@requirement("query/execute/07")
def check_near(lab: Lab) -> None:
    """Register instances of ``db`` on two nodes, and execute a query near one of them, many times.

    An instance on that node comes first, whichever of the two it is. Source: catalogue.
    """
    agent = _with_outside_services(lab)
    for number in range(3):
        _register(agent, node="elsewhere", service_id=f"far-{number}", status="passing")
    _make(agent, "db", {"Service": "db"})
    lab.until("query", lambda: len(_found(agent, "db")) == 5, what="all instances are found")
    for node in (OUTSIDE, "elsewhere"):
        for _ in range(6):
            answer = accepted(agent.api.get(f"{QUERY}/db/execute", query={"near": node})).json
            assert answer["Nodes"][0]["Node"]["Node"] == node


@requirement("query/template/01")
def check_template_is_rendered(lab: Lab) -> None:
    """Make a template with a regular expression, and explain and execute it for names that begin with its own.

    The parts of the name stand where the template wants them. Source: catalogue.
    """
    agent = _with_outside_services(lab)
    template = {"Type": "name_prefix_match", "Regexp": "^of-([^-]+)-(.+)$"}
    service = {"Service": "${match(1)}", "Tags": ["is-${match(2)}", "${name.suffix}"]}
    _make(agent, "of-", service, template=template)
    explained = accepted(agent.api.get(f"{QUERY}/of-db-passing/explain")).json["Query"]["Service"]
    assert explained["Service"] == "db"
    assert explained["Tags"] == ["is-passing", "db-passing"]
    _make(
        agent, "find-", {"Service": "db", "Tags": ["is-${name.suffix}"]}, template={"Type": template["Type"]}
    )
    assert _found(agent, "find-passing") == {"passing"}
    assert _found(agent, "find-warning") == {"warning"}


@requirement("query/template/02")
def check_longest_prefix_and_exact_name(lab: Lab) -> None:
    """Make templates for ``a-`` and ``a-b-`` and a query ``a-b-c``, and explain names.

    The exact name goes first, then the longest prefix, and a name without either is not known. Source: catalogue.
    """
    agent = lab.agent()
    template = {"Type": "name_prefix_match"}
    _make(agent, "a-", {"Service": "short"}, template=template)
    _make(agent, "a-b-", {"Service": "long"}, template=template)
    _make(agent, "a-b-c", {"Service": "exact"})
    for name, expected in (("a-x", "short"), ("a-b-x", "long"), ("a-b-c", "exact"), ("a-b-cx", "long")):
        explained = accepted(agent.api.get(f"{QUERY}/{name}/explain")).json
        assert explained["Query"]["Service"]["Service"] == expected, name
    assert agent.api.get(f"{QUERY}/b-a/explain").status == 404


@requirement("query/template/03")
def check_no_template_ends_the_agent(lab: Lab) -> None:
    """Make templates that divide by zero, and that put an operator where an operand belongs.

    Whatever they are answered, the agent answers afterwards. Source: hardening.
    """
    agent = lab.agent()
    _make(agent, "before", {"Service": "redis"})
    for number, text in enumerate(("${1/0}", "${1%0}", "${*1}", "${" * 200)):
        query = {
            "Name": f"t{number}",
            "Template": {"Type": "name_prefix_match"},
            "Service": {"Service": text},
        }
        assert refused(agent.api.post(QUERY, query)), f"a template with {text} was taken"
    assert [each["Name"] for each in accepted(agent.api.get(QUERY)).json] == ["before"]


@requirement("query/dns/01")
def check_query_by_dns(lab: Lab) -> None:
    """Ask DNS for ``<query>.query.consul`` of a query with a TTL of its own, by both kinds of record.

    The addresses and ports are those of the instances that the query finds, and the TTL is its own. Source: catalogue.
    """
    agent = _with_outside_services(lab)
    _make(agent, "db", {"Service": "db", "OnlyPassing": True}, ttl="17s")
    resolver = _resolver(lab, agent)
    answer = resolver.ask("db.query.consul", "SRV")
    assert only(answer.answers).ttl == 17
    assert only(answer.data("SRV")).split()[2] == "1001"
    assert resolver.ask("DB.query.consul").data("A") == ["127.0.0.9"]


@requirement("query/dns/02")
def check_template_by_dns(lab: Lab) -> None:
    """Ask DNS for a name that a template answers for, and for one that nothing answers for.

    The first has the instance that the template demands, the second is not known. Source: catalogue.
    """
    agent = _with_outside_services(lab)
    template = {"Type": "name_prefix_match", "Regexp": r"^by\.(.+)$"}
    _make(agent, "by.", {"Service": "${match(1)}", "Tags": ["is-passing"]}, template=template)
    resolver = _resolver(lab, agent)
    assert only(resolver.ask("by.db.query.consul", "SRV").data("SRV")).split()[2] == "1001"
    assert resolver.ask("nobody.query.consul").status == "NXDOMAIN"


class _Natives:
    """Two Connect-native instances of ``redis``, and an upstream of ``web`` that leads to one of them by a query."""

    def __init__(
        self, agent: AgentUnderTest, query_id: str, servers: Sequence[TlsServer], upstream: int
    ) -> None:
        self.agent = agent
        self.query_id = query_id
        self._servers = servers
        self._upstream = upstream

    def reached(self) -> int | None:
        """Make a connection and send something; the number of the instance that sent it back, if any did."""
        before = [len(server.peers) for server in self._servers]
        if exchange(self._upstream, b"ping") != b"ping":
            return None
        grown = (len(server.peers) > count for server, count in zip(self._servers, before, strict=True))
        return list(grown).index(True)


def _make(
    agent: AgentUnderTest,
    name: str,
    service: Mapping[str, Any],
    *,
    template: Mapping[str, Any] | None = None,
    ttl: str = "",
) -> str:
    """Make a query; returns its id."""
    body = {"Name": name, "Service": service, "DNS": {"TTL": ttl}, "Template": template or {}}
    return str(accepted(agent.api.post(QUERY, body)).json["ID"])


def _found(agent: AgentUnderTest, name: str, **parameters: str) -> set[str]:
    """The ids of the instances that a query finds."""
    answer = accepted(agent.api.get(f"{QUERY}/{name}/execute", query=parameters)).json
    return {node["Service"]["ID"] for node in answer["Nodes"]}


def _with_outside_services(lab: Lab) -> AgentUnderTest:
    """An agent whose catalog has three instances of ``db`` on another node, named by the state of their check."""
    agent = lab.agent()
    for number, status in enumerate(("passing", "warning", "critical"), start=1):
        _register(agent, node=OUTSIDE, service_id=status, status=status, port=1000 + number)
    return agent


def _register(agent: AgentUnderTest, *, node: str, service_id: str, status: str, port: int = 1000) -> None:
    body = {
        "Node": node,
        "Address": "127.0.0.9",
        "NodeMeta": {"rack": "1"},
        "Service": {
            "ID": service_id,
            "Service": "db",
            "Port": port,
            "Tags": ["common", f"is-{service_id}"],
            "Meta": {"version": service_id},
        },
        "Check": {
            "Node": node,
            "CheckID": f"check-{service_id}",
            "Name": "a check",
            "Status": status,
            "ServiceID": service_id,
        },
    }
    accepted(agent.api.put("/v1/catalog/register", body))


def _two_natives(lab: Lab, *, tags: Sequence[str], query: Mapping[str, Any]) -> _Natives:
    """An agent with ``web`` and one native ``redis``, another one on another node, and the query as the upstream."""
    upstream, near, far = lab.port(), lab.port(), lab.port()
    web = lab.service("web", proxy={"upstreams": [_query_upstream("find-redis", upstream)]})
    redis = lab.service("redis", port=near, tags=[tags[0]], connect={"native": True})
    agent = lab.agent(definitions=[web, redis])
    body = {
        "Node": OUTSIDE,
        "Address": "127.0.0.1",
        "Service": {
            "ID": "redis-far",
            "Service": "redis",
            "Port": far,
            "Tags": [tags[1]],
            "Connect": {"Native": True},
        },
    }
    accepted(agent.api.put("/v1/catalog/register", body))
    query_id = _make(agent, "find-redis", query)
    leaf = lab.until("authority", lambda: agent_identity(agent.api, "redis"), what="the leaf of redis")
    roots = agent_roots(agent.api)
    servers = [lab.use(TlsServer(leaf, roots=roots, port=port)) for port in (near, far)]
    lab.until(
        "registration",
        lambda: _found(agent, "find-redis", connect="true"),
        what="the query finds an instance",
    )
    natives = _Natives(agent, query_id, servers, upstream)
    lab.until("data_path", lambda: natives.reached() is not None, what="the upstream reaches an instance")
    return natives


def _query_upstream(name: str, port: int) -> dict[str, Any]:
    return {"destination_name": name, "destination_type": "prepared_query", "local_bind_port": port}


def _without_indexes(query: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in query.items() if key not in ("CreateIndex", "ModifyIndex")}


def _resolver(lab: Lab, agent: AgentUnderTest) -> DnsClient:
    return DnsClient(port=agent.dns_port, history=lab.history, timeout=lab.budget("http"))
