"""Under a default policy of deny each endpoint gives nothing to nobody, and what it should to whoever has the rule."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from reference.access import legacy
from reference.access.control import Enforced
from reference.access.register import AccessRegister
from reference.config.checks import CheckDefinition
from reference.config.model import AccessOptions, ManagedProxy, ServiceDefinition
from reference.http.app import ROUTES
from reference.mesh.intentions import Party, Rule
from reference.query.model import Definition, ServiceQuery
from tests.http.serving import Api, api

DENYING = AccessOptions(enabled=True, allows_by_default=False)
WEB = ServiceDefinition(
    id="web1",
    name="web",
    port=80,
    token="registrar",
    proxy=ManagedProxy(),
    checks=(CheckDefinition(id="c", ttl=600, status="passing"),),
)
#: What is there for every case: the service web with its proxy, a check and an intention towards it.
REGISTRAR = 'service_prefix "web" { policy = "write" }'

NODE_READ, NODE_WRITE = 'node "vm" { policy = "read" }', 'node "vm" { policy = "write" }'
SERVICE_READ = 'service_prefix "web" { policy = "read" }'
SERVICE_WRITE = 'service_prefix "web" { policy = "write" }'
INTENTION_WRITE = 'service_prefix "web" { policy = "read" intentions = "write" }'
AGENT_READ, AGENT_WRITE = 'agent "vm" { policy = "read" }', 'agent "vm" { policy = "write" }'
ACL_READ, ACL_WRITE = 'acl = "read"', 'acl = "write"'
OPERATOR_READ, OPERATOR_WRITE = 'operator = "read"', 'operator = "write"'
QUERY_READ, QUERY_WRITE = 'query_prefix "q" { policy = "read" }', 'query_prefix "q" { policy = "write" }'
DISCOVERY = NODE_READ + SERVICE_READ


@dataclass(frozen=True)
class Case:
    """A request, and the rules that it takes. ``filtered`` ones leave out what must not be seen, others are refused."""

    method: str
    path: str
    rules: str
    body: Any = None
    filtered: bool = False
    #: What the status is with the rules: 200 but where a test has nothing that it could work on.
    opens: int = 200

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


#: The last part of ``{intention}`` is the id of the one that is there.
CASES = [
    Case("GET", "/v1/agent/self", AGENT_READ),
    Case("GET", "/v1/agent/members", NODE_READ, filtered=True),
    Case("GET", "/v1/agent/services", SERVICE_READ, filtered=True),
    Case("GET", "/v1/agent/checks", SERVICE_READ, filtered=True),
    Case("PUT", "/v1/agent/reload", AGENT_WRITE),
    Case("PUT", "/v1/agent/leave", AGENT_WRITE),
    Case("GET", "/v1/agent/metrics", AGENT_READ),
    # Refused for what it asks, once it may ask.
    Case("GET", "/v1/agent/monitor?loglevel=loud", AGENT_READ, opens=400),
    Case("PUT", "/v1/agent/join/192.0.2.1", AGENT_WRITE, opens=400),
    Case("PUT", "/v1/agent/force-leave/other", AGENT_WRITE, opens=400),
    Case("PUT", "/v1/agent/token/agent", AGENT_WRITE, {"Token": "t"}),
    Case("PUT", "/v1/agent/service/register", SERVICE_WRITE, {"Name": "web-two", "Port": 1}),
    Case("PUT", "/v1/agent/service/deregister/web1", SERVICE_WRITE),
    Case("GET", "/v1/agent/service/web1", SERVICE_READ),
    Case("GET", "/v1/agent/service/web1-proxy", SERVICE_WRITE),
    Case("GET", "/v1/agent/health/service/id/web1", SERVICE_READ),
    Case("GET", "/v1/agent/health/service/name/web", SERVICE_READ),
    Case("PUT", "/v1/agent/service/maintenance/web1?enable=true", SERVICE_WRITE),
    Case("PUT", "/v1/agent/maintenance?enable=true", NODE_WRITE),
    Case("PUT", "/v1/agent/check/register", SERVICE_WRITE, {"Name": "n", "TTL": "1m", "ServiceID": "web1"}),
    Case("PUT", "/v1/agent/check/register?of=node", NODE_WRITE, {"Name": "n", "TTL": "1m"}),
    Case("PUT", "/v1/agent/check/deregister/c", SERVICE_WRITE),
    Case("PUT", "/v1/agent/check/pass/c", SERVICE_WRITE),
    Case("PUT", "/v1/agent/check/warn/c", SERVICE_WRITE),
    Case("PUT", "/v1/agent/check/fail/c", SERVICE_WRITE),
    Case("PUT", "/v1/agent/check/update/c", SERVICE_WRITE, {"Status": "warning"}),
    Case(
        "POST",
        "/v1/agent/connect/authorize",
        SERVICE_WRITE,
        {"Target": "web", "ClientCertURI": "spiffe://x.consul/ns/default/dc/dc1/svc/a"},
    ),
    Case("GET", "/v1/agent/connect/proxies", AGENT_READ),
    Case("PUT", "/v1/agent/connect/proxies/restart/nosuch", AGENT_WRITE, opens=404),
    Case("PUT", "/v1/agent/connect/proxies/stop/nosuch", AGENT_WRITE, opens=404),
    Case("GET", "/v1/agent/connect/proxy/web1-proxy", SERVICE_WRITE),
    Case("GET", "/v1/agent/connect/ca/leaf/web", SERVICE_WRITE),
    Case("GET", "/v1/connect/ca/configuration", OPERATOR_READ),
    Case("PUT", "/v1/connect/ca/configuration", OPERATOR_WRITE, {"Provider": "consul", "Config": {}}),
    Case("GET", "/v1/connect/intentions", SERVICE_READ, filtered=True),
    Case(
        "POST",
        "/v1/connect/intentions",
        INTENTION_WRITE,
        {"SourceName": "b", "DestinationName": "web", "Action": "deny"},
    ),
    Case("GET", "/v1/connect/intentions/match?by=destination&name=web", SERVICE_READ),
    Case("GET", "/v1/connect/intentions/check?source=a&destination=web", SERVICE_READ),
    Case("GET", "/v1/connect/intentions/{intention}", SERVICE_READ),
    Case(
        "PUT",
        "/v1/connect/intentions/{intention}",
        INTENTION_WRITE,
        {"SourceName": "c", "DestinationName": "web", "Action": "deny"},
    ),
    Case("DELETE", "/v1/connect/intentions/{intention}", INTENTION_WRITE),
    Case("GET", "/v1/connect/intentions/exact?source=a&destination=web", SERVICE_READ),
    Case("PUT", "/v1/connect/intentions/exact?source=a&destination=web", INTENTION_WRITE, {"Action": "deny"}),
    Case("DELETE", "/v1/connect/intentions/exact?source=a&destination=web", INTENTION_WRITE),
    Case(
        "PUT",
        "/v1/catalog/register",
        'node "other" { policy = "write" }' + SERVICE_WRITE,
        {"Node": "other", "Address": "127.0.0.1", "Service": {"Service": "web"}},
    ),
    Case("PUT", "/v1/catalog/deregister", SERVICE_WRITE, {"Node": "vm", "ServiceID": "web1"}),
    Case("GET", "/v1/catalog/nodes", NODE_READ, filtered=True),
    Case("GET", "/v1/catalog/node/vm", NODE_READ, filtered=True),
    Case("GET", "/v1/catalog/services", SERVICE_READ, filtered=True),
    Case("GET", "/v1/catalog/service/web", DISCOVERY, filtered=True),
    Case("GET", "/v1/catalog/connect/web", DISCOVERY, filtered=True),
    Case("GET", "/v1/health/node/vm", DISCOVERY, filtered=True),
    Case("GET", "/v1/health/checks/web-proxy", DISCOVERY, filtered=True),
    Case("GET", "/v1/health/state/any", DISCOVERY, filtered=True),
    Case("GET", "/v1/health/service/web", DISCOVERY, filtered=True),
    Case("GET", "/v1/health/connect/web", DISCOVERY, filtered=True),
    Case("GET", "/v1/query", QUERY_READ, filtered=True),
    Case("POST", "/v1/query", QUERY_WRITE, {"Name": "qq", "Service": {"Service": "web"}}),
    Case("GET", "/v1/query/{query}", QUERY_READ),
    Case("PUT", "/v1/query/{query}", QUERY_WRITE, {"Name": "q", "Service": {"Service": "web"}}),
    Case("DELETE", "/v1/query/{query}", QUERY_WRITE),
    Case("GET", "/v1/query/q/execute", DISCOVERY, filtered=True),
    Case("GET", "/v1/query/q/explain", QUERY_READ),
    Case("GET", "/v1/acl/tokens", ACL_READ),
    Case("PUT", "/v1/acl/token", ACL_WRITE, {}),
    Case("GET", "/v1/acl/token/00000000-0000-0000-0000-000000000002", ACL_READ),
    Case("PUT", "/v1/acl/token/00000000-0000-0000-0000-000000000002", ACL_WRITE, {}),
    Case("DELETE", "/v1/acl/token/00000000-0000-0000-0000-00000000000a", ACL_WRITE),
    Case("GET", "/v1/acl/policies", ACL_READ),
    Case("PUT", "/v1/acl/policy", ACL_WRITE, {"Name": "new"}),
    Case("GET", "/v1/acl/policy/00000000-0000-0000-0000-000000000001", ACL_READ),
    Case("PUT", "/v1/acl/policy/{policy}", ACL_WRITE, {"Name": "new"}),
    Case("DELETE", "/v1/acl/policy/00000000-0000-0000-0000-00000000000a", ACL_WRITE),
    Case("POST", "/v1/acl/rules/translate", ACL_READ),
    Case("GET", "/v1/acl/rules/translate/{legacy}", ACL_READ),
    Case("PUT", "/v1/acl/create", ACL_WRITE, {}),
    Case("PUT", "/v1/acl/update", ACL_WRITE, {"ID": "one"}),
    Case("PUT", "/v1/acl/clone/legacy", ACL_WRITE),
    Case("PUT", "/v1/acl/destroy/legacy", ACL_WRITE),
    Case("GET", "/v1/acl/list", ACL_WRITE),
]
#: What is open to everybody, and why.
OPEN = {
    "GET /v1/agent/connect/ca/roots": "certificates of authorities are public",
    "GET /v1/connect/ca/roots": "certificates of authorities are public",
    "GET /v1/catalog/datacenters": "as in the original",
    "GET /v1/status/leader": "as in the original",
    "GET /v1/status/peers": "as in the original",
    "PUT /v1/acl/bootstrap": "there is no token yet; works once",
    "GET /v1/acl/token/self": "shows a token to whoever has it",
    "GET /v1/acl/info/{id:path}": "shows a token to whoever has it",
    "GET /v1/acl/replication": "as in the original: for health checks",
}


def nothing(answer: httpx.Response) -> bool:
    body = answer.json()
    if isinstance(body, dict):
        body = body.get("Nodes", body)
    return answer.status_code == 200 and not body


def register_of(agent: Api) -> AccessRegister:
    assert isinstance(agent.backend.access, Enforced)
    return agent.backend.access.register


async def ask(agent: Api, case: Case, token: str) -> httpx.Response:
    (intention,) = agent.backend.intentions.known
    register = register_of(agent)
    old, policy = register.bearer("legacy"), register.policy_named("of-registrar")
    assert old is not None
    assert policy is not None
    (query,) = agent.backend.queries
    path = case.path.format(intention=intention.id, policy=policy.id, legacy=old.accessor, query=query.id)
    headers = {"X-Consul-Token": token} if token else {}
    return await agent.client.request(case.method, path, json=case.body, headers=headers)


def answers_to(case: Case, *askers: str, bearer: str) -> list[httpx.Response]:
    """What each of these tokens gets, one after the other; that of ``bearer`` has these rules."""

    async def exchange() -> list[httpx.Response]:
        async with api(WEB, access=DENYING, bearers={"registrar": REGISTRAR, "bearer": bearer}) as agent:
            agent.backend.intentions.create(Rule(source=Party("a"), destination=Party("web"), action="allow"))
            agent.backend.queries.create(Definition(name="q", service=ServiceQuery(service="web")))
            draft = legacy.LegacyDraft(id="legacy", rules='node "" { policy = "deny" }')
            legacy.put(register_of(agent), draft)
            return [await ask(agent, case, token) for token in askers]

    return asyncio.run(exchange())


@pytest.mark.parametrize("case", CASES, ids=str)
def test_it_takes_the_rule(case: Case) -> None:
    """Nobody gets anything, a token that there is not is refused even where others get an empty list."""
    nobody, unknown, bearer = answers_to(case, "", "no-such-token", "bearer", bearer=case.rules)
    if case.filtered:
        assert nothing(nobody), nobody.text
        assert not nothing(bearer), bearer.text
    else:
        assert (nobody.status_code, nobody.text) == (403, "Permission denied")
    assert (unknown.status_code, unknown.text) == (403, "ACL not found")
    assert bearer.status_code == case.opens, bearer.text


@pytest.mark.parametrize(
    ("enough", "weaker"),
    [
        (SERVICE_WRITE, DISCOVERY),
        (INTENTION_WRITE, SERVICE_WRITE + NODE_READ),
        (AGENT_WRITE, AGENT_READ),
        (QUERY_WRITE, QUERY_READ),
        (OPERATOR_WRITE, OPERATOR_READ),
        (ACL_WRITE, ACL_READ),
    ],
    ids=["service", "intentions", "agent", "query", "operator", "acl"],
)
def test_to_read_is_not_to_write(enough: str, weaker: str) -> None:
    cases = [case for case in CASES if case.rules == enough]
    assert cases
    for case in cases:
        (answer,) = answers_to(case, "bearer", bearer=weaker)
        assert (answer.status_code, answer.text) == (403, "Permission denied"), case


def test_every_endpoint_is_accounted_for() -> None:
    """Whoever adds an endpoint says here what opens it."""
    tried = {str(case) for case in CASES}
    missing = []
    for path, handlers in ROUTES:
        prefix = path.partition("{")[0]
        for method in handlers:
            name = f"{method} {path}"
            if name not in OPEN and not any(each.startswith(f"{method} {prefix}") for each in tried):
                missing.append(name)
    assert not missing
