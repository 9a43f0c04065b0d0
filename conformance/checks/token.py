"""The proxy-specific token: one for each proxy, a secret, good for its own service alone."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from conformance.checks._situations import (
    ALLOW_API,
    accepted,
    closed,
    content,
    deregister,
    end,
    first_leaf,
    may_register,
    recorded,
    register,
    token_of,
)
from conformance.plugin.lab import AgentUnderTest, Lab
from conformance.plugin.marks import requirement

#: A token that may register service ``web``, with its rules.
OWNER, OWNS_WEB = "secret-of-the-owner", may_register("web")
#: Every endpoint that tells something about services, proxies or the agent.
TELLING = (
    "/v1/agent/self",
    "/v1/agent/services",
    "/v1/agent/checks",
    "/v1/agent/members",
    "/v1/agent/service/web",
    "/v1/agent/service/web-proxy",
    "/v1/agent/health/service/id/web-proxy",
    "/v1/agent/connect/proxies",
    "/v1/agent/connect/proxy/web-proxy",
    "/v1/agent/connect/ca/roots",
    "/v1/agent/connect/ca/leaf/web",
    "/v1/catalog/connect/web",
    "/v1/catalog/service/web-proxy",
    "/v1/health/connect/web",
    "/v1/health/service/web-proxy",
)


@requirement("token/unique/01")
def check_every_proxy_has_its_own_token(lab: Lab) -> None:
    """Start an agent with three services that have a managed proxy, and read the proxies' environments.

    Each holds a token of at least 16 characters that no other has. Source: document, Managed Proxy Documentation.
    """
    agent = _agent(lab, "web", "redis", "db")
    tokens = [token_of(agent.proxy(f"{name}-proxy")) for name in ("web", "redis", "db")]
    assert all(len(token) >= 16 for token in tokens), "a token can be guessed"
    assert len(set(tokens)) == 3, "two proxies share a token"


@requirement("token/secret/01")
def check_api_and_log_do_not_show_the_token(lab: Lab) -> None:
    """Read every endpoint that tells about services, with and without the proxy token, and the agent's log.

    The token stands nowhere. Source: document, Managed Proxy Documentation.
    """
    agent = _agent(lab, "web", options={"log_level": "DEBUG"})
    token = token_of(agent.proxy("web-proxy"))
    leaks = [
        path
        for path in TELLING
        for caller in (None, token)
        if token in agent.api.get(path, token=caller).text
    ]
    assert not leaks, f"the token is shown by {leaks}"
    # A request that the agent logs with its query must not carry the secret into the log either.
    agent.api.get("/v1/agent/connect/proxy/web-proxy", query={"token": token})
    assert token not in agent.output(), "the token stands in the agent's log"


@requirement("token/secret/03")
def check_command_lines_and_proxy_logs_do_not_show_the_token(lab: Lab) -> None:
    """At log level DEBUG, read the command lines of an agent and of its default proxy, and that proxy's logs once it
    listens.

    The token stands nowhere: command lines are shown to every user of the machine. Source: hardening.
    """
    agent = lab.agent(definitions=[lab.service("redis", proxy={})], options={"log_level": "DEBUG"})
    proxy = agent.proxy("redis-proxy")
    token = token_of(proxy)
    lab.until("proxy_listens", proxy.listening_ports, what="the proxy listens")
    for process in (proxy, agent.process):
        shown = any(token in argument for argument in process.argv())
        assert not shown, f"the token stands in the command line of process {process.pid}"
    for path in agent.log_dir.glob("redis-proxy-std*.log"):
        assert token.encode() not in content(path), f"the token stands in {path.name}"


@requirement("token/secret/02")
def check_stored_tokens_are_private(lab: Lab) -> None:
    """Search the data directory of an agent with a managed proxy for the proxy's token.

    No file that holds it can be read by group or others. Source: catalogue.
    """
    agent = _agent(lab, "web")
    token = token_of(agent.proxy("web-proxy")).encode()
    assert agent.data_dir is not None
    snapshot = agent.data_dir / "proxy" / "snapshot.json"
    lab.until("state_written", snapshot.exists, what="state is stored")
    exposed = [
        path
        for path in agent.data_dir.rglob("*")
        if path.is_file() and token in path.read_bytes() and path.stat().st_mode & 0o077
    ]
    assert not exposed, f"others may read the token in {exposed}"


@requirement("token/own/01")
def check_token_reads_what_is_its_own(lab: Lab) -> None:
    """Ask with the token of ``web-proxy`` for the leaf of ``web`` and for the configuration of ``web-proxy``.

    Both are answered. Source: document, Managed Proxy Documentation.
    """
    agent = _agent(lab, "web")
    token = token_of(agent.proxy("web-proxy"))
    assert first_leaf(lab, agent, "web", token=token).json["Service"] == "web"
    assert (
        accepted(agent.api.get("/v1/agent/connect/proxy/web-proxy", token=token)).json["TargetServiceID"]
        == "web"
    )


@requirement("token/foreign/01")
def check_token_does_not_read_a_foreign_leaf(lab: Lab) -> None:
    """Ask with the token of ``web-proxy`` for the leaf of ``redis``, both of which have a managed proxy here.

    So for that of ``web-api``, whose name begins alike, and which nobody has registered. Each answer is 403 and holds
    no key. Source: document, Managed Proxy Documentation.
    """
    agent = _agent(lab, "web", "redis")
    token = token_of(agent.proxy("web-proxy"))
    for name in ("redis", "web-api"):
        answer = agent.api.get(f"/v1/agent/connect/ca/leaf/{name}", token=token)
        assert answer.status == 403, f"the leaf of {name} was answered {answer.status}"
        assert "PRIVATE KEY" not in answer.text


@requirement("token/carrier/01")
def check_token_carriers(lab: Lab) -> None:
    """Send the token of ``web-proxy`` as query parameter, as ``X-Consul-Token`` and as bearer authorization.

    Each way it opens the leaf of ``web`` and is refused for that of ``redis``, which shows that it was read.
    Source: catalogue.
    """
    agent = _agent(lab, "web", "redis")
    token = token_of(agent.proxy("web-proxy"))
    first_leaf(lab, agent, "web", token=token)
    carriers: tuple[tuple[str, dict[str, str]], ...] = (
        (f"?{urlencode({'token': token})}", {}),
        ("", {"X-Consul-Token": token}),
        ("", {"Authorization": f"Bearer {token}"}),
    )
    for query, headers in carriers:
        statuses = [
            agent.api.get(f"/v1/agent/connect/ca/leaf/{name}{query}", headers=headers).status
            for name in ("web", "redis")
        ]
        assert statuses == [200, 403], (
            f"carried by {query.partition('=')[0] or next(iter(headers))}: {statuses}"
        )


@requirement("token/stable/01")
def check_token_survives(lab: Lab) -> None:
    """Kill a managed proxy, then stop and start its agent, then kill the proxy again.

    Each new process has the token of the first. Source: catalogue.
    """
    agent = _agent(lab, "web")
    proxy = agent.proxy("web-proxy")
    token = token_of(proxy)
    end(proxy)
    second = agent.proxy("web-proxy", other_than=proxy)
    assert token_of(second) == token
    recorded(lab, agent, second)
    agent.restart()
    end(second)
    assert token_of(agent.proxy("web-proxy", other_than=second)) == token


@requirement("token/stable/02")
def check_new_registration_new_token(lab: Lab) -> None:
    """Register a service with a managed proxy, deregister it, and register it again.

    The second proxy has another token. Source: catalogue.
    """
    agent = lab.agent(options=ALLOW_API)
    tokens = set()
    for _ in range(2):
        accepted(register(agent, "web", port=8080, proxy={"Command": ["/bin/sleep", "600"]}))
        proxy = agent.proxy("web-proxy")
        tokens.add(token_of(proxy))
        accepted(deregister(agent, "web"))
        lab.until("proxy_stop", lambda: not agent.proxies("web-proxy"), what="the proxy is stopped")
    assert len(tokens) == 2


@requirement("token/own/02")
def check_own_token_is_enough_under_deny(lab: Lab) -> None:
    """Under a default policy of deny, ask with the token of ``web-proxy`` for its configuration and for the leaf.

    Both are answered; without a token they are refused. Source: document, Managed Proxy Documentation.
    """
    agent = closed(lab, _sleeping(lab, "web", token=OWNER), rules={OWNER: OWNS_WEB})
    token = token_of(agent.proxy("web-proxy"))
    for path in ("/v1/agent/connect/proxy/web-proxy", "/v1/agent/connect/ca/leaf/web"):
        accepted(agent.api.get(path, token=token))
        assert agent.api.get(path, token="").status == 403, f"{path} is open"


@requirement("token/foreign/02")
def check_token_does_not_read_a_foreign_configuration(lab: Lab) -> None:
    """Under a default policy of deny, ask with the token of ``web-proxy`` for configuration and leaf of another.

    Both are refused with 403. Source: document, Managed Proxy Documentation.
    """
    agent = closed(lab, _sleeping(lab, "web"), _sleeping(lab, "redis"))
    agent.proxy("redis-proxy")
    token = token_of(agent.proxy("web-proxy"))
    for path in ("/v1/agent/connect/proxy/redis-proxy", "/v1/agent/connect/ca/leaf/redis"):
        assert agent.api.get(path, token=token).status == 403, f"{path} is open"


@requirement("token/readonly/01")
def check_token_writes_nothing(lab: Lab) -> None:
    """Under a default policy of deny, with a service that was registered with a token that may do everything, register,
    remove, and make an intention, with the token of its proxy.

    Each is refused with 403. Source: document, Managed Proxy Documentation.
    """
    everything = "secret-for-everything"
    rules = 'service "" { policy = "write" intentions = "write" }'
    agent = closed(lab, _sleeping(lab, "web", token=everything), rules={everything: rules})
    token = token_of(agent.proxy("web-proxy"))
    intention = {"SourceName": "web", "DestinationName": "redis", "Action": "allow"}
    writes: tuple[tuple[str, str, object], ...] = (
        ("PUT", "/v1/agent/service/register", {"Name": "web", "Port": 2}),
        ("PUT", "/v1/agent/service/deregister/web", None),
        ("POST", "/v1/connect/intentions", intention),
    )
    allowed = {
        f"{method} {path}": status
        for method, path, body in writes
        if (status := agent.api.request(method, path, body, token=token).status) != 403
    }
    assert not allowed, f"not refused with 403: {allowed}"


@requirement("token/revoked/01")
def check_token_dies_with_its_service(lab: Lab) -> None:
    """Under a default policy of deny, remove ``web`` and ask with the token that its proxy had.

    The leaf is refused with 403, and so is the list of services, to which nothing that exists gets less than an empty
    answer. Source: catalogue.
    """
    agent = closed(lab, _sleeping(lab, "web", token=OWNER), rules={OWNER: OWNS_WEB})
    token = token_of(agent.proxy("web-proxy"))
    accepted(agent.api.get("/v1/agent/connect/ca/leaf/web", token=token))
    accepted(deregister(agent, "web"))
    for path in ("/v1/agent/connect/ca/leaf/web", "/v1/agent/services"):
        assert agent.api.get(path, token=token).status == 403, f"{path} is open"


@requirement("token/local/01")
def check_the_token_is_known_to_its_agent_alone(lab: Lab) -> None:
    """Under a default policy of deny, list all tokens of access control, and look the token of a proxy up among them.

    It is in no list and stands for nothing there: only the agent that gave it to the proxy knows it. Source: catalogue.
    """
    agent = closed(lab, _sleeping(lab, "web", token=OWNER), rules={OWNER: OWNS_WEB})
    token = token_of(agent.proxy("web-proxy"))
    assert OWNER in [each["ID"] for each in accepted(agent.api.get("/v1/acl/list")).json]
    assert token not in accepted(agent.api.get("/v1/acl/list")).text
    known = accepted(agent.api.get(f"/v1/acl/info/{token}")).json
    assert not known, "the token of the proxy is a token of access control"


def _sleeping(lab: Lab, name: str, **keys: Any) -> dict[str, Any]:
    return lab.service(name, port=1, proxy={"command": ["/bin/sleep", "600"]}, **keys)


def _agent(lab: Lab, *names: str, options: dict[str, object] | None = None) -> AgentUnderTest:
    definitions = [lab.service(name, proxy={"command": ["/bin/sleep", "600"]}) for name in names]
    return lab.agent(definitions=definitions, options=options)
