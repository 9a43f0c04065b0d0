"""What each endpoint takes and gives, for the published description of the API. Data; the words are the docstrings'.

A key is a method and a path of the table of routes, where a test sees that there is one for each of them and none
besides.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """``query`` are the names of parameters (:data:`PARAMETERS`), ``body`` that of a body; ``answer`` is what comes.

    ``answer`` is ``list``, ``object``, ``any`` (JSON), ``text``, or empty for an answer without content. ``statuses``
    come besides 200 and the refusals that every endpoint has.
    """

    query: str = ""
    body: str = ""
    answer: str = ""
    statuses: tuple[int, ...] = ()


_BLOCKING = "index wait"
_CONSISTENT = "dc stale consistent"
_READ = f"{_BLOCKING} {_CONSISTENT}"
_CACHED = f"{_READ} cached"
_HASH = "hash wait"
_NODES = "node-meta near"

#: Each parameter of the query: its type, and what it says. ``flag`` ones count when they are there.
PARAMETERS: Mapping[str, tuple[str, str]] = {
    "by": ("source", "Whose side the names are on."),
    "cached": ("flag", "An answer that is at hand will do."),
    "connect": ("flag", "The proxies that speak for the service, not its instances."),
    "consistent": ("flag", "Nothing but the latest will do."),
    "dc": ("datacenter", "The datacenter to ask; there is the agent's own."),
    "destination": ("name", "The service that is connected to."),
    "enable": ("boolean", "Whether to begin or to end."),
    "format": ("string", "Another form of the answer."),
    "hash": ("string", "The hash of the last answer: wait for another."),
    "index": ("index", "The index of the last answer: wait for a later one."),
    "limit": ("integer", "At most so many."),
    "loglevel": ("level", "The lowest level that is shown."),
    "name": ("name", "A service."),
    "near": ("name", "The node whose records come first."),
    "node-meta": ("pair", "Metadata that the nodes must have, key:value."),
    "note": ("string", "A note for whoever reads the result."),
    "passing": ("flag", "Only instances without a check that says otherwise."),
    "policy": ("string", "The id of a policy."),
    "reason": ("string", "Why, for whoever finds it."),
    "segment": ("string", "The part of the network; there is the whole."),
    "source": ("name", "The service that connects."),
    "source-type": ("string", "What the source is; a service of the mesh."),
    "stale": ("flag", "An older answer will do."),
    "tag": ("string", "A tag that the instances must have."),
    "wait": ("duration", "How long to wait at most."),
    "wan": ("string", "The members in other datacenters."),
}

OPERATIONS: Mapping[tuple[str, str], Operation] = {
    ("GET", "/v1/agent/self"): Operation(answer="object"),
    ("GET", "/v1/agent/members"): Operation(query="wan segment", answer="list"),
    ("PUT", "/v1/agent/join/{address:path}"): Operation(query="wan"),
    ("PUT", "/v1/agent/force-leave/{node:path}"): Operation(),
    ("GET", "/v1/agent/monitor"): Operation(query="loglevel", answer="text"),
    ("GET", "/v1/agent/metrics"): Operation(query="format", answer="object", statuses=(415,)),
    ("GET", "/v1/agent/services"): Operation(answer="object"),
    ("GET", "/v1/agent/checks"): Operation(answer="object"),
    ("PUT", "/v1/agent/reload"): Operation(statuses=(500,)),
    ("PUT", "/v1/agent/leave"): Operation(),
    ("PUT", "/v1/agent/maintenance"): Operation(query="enable reason"),
    ("PUT", "/v1/agent/token/{name:path}"): Operation(body="AgentToken"),
    ("PUT", "/v1/agent/service/register"): Operation(body="Service"),
    ("PUT", "/v1/agent/service/deregister/{id:path}"): Operation(),
    ("PUT", "/v1/agent/service/maintenance/{id:path}"): Operation(query="enable reason"),
    ("GET", "/v1/agent/service/{id:path}"): Operation(query=_HASH, answer="object", statuses=(500,)),
    ("GET", "/v1/agent/health/service/id/{id:path}"): Operation(
        query="format", answer="object", statuses=(429, 503)
    ),
    ("GET", "/v1/agent/health/service/name/{name:path}"): Operation(
        query="format", answer="list", statuses=(429, 503)
    ),
    ("PUT", "/v1/agent/check/register"): Operation(body="Check"),
    ("PUT", "/v1/agent/check/deregister/{id:path}"): Operation(),
    ("PUT", "/v1/agent/check/pass/{id:path}"): Operation(query="note"),
    ("PUT", "/v1/agent/check/warn/{id:path}"): Operation(query="note"),
    ("PUT", "/v1/agent/check/fail/{id:path}"): Operation(query="note"),
    ("PUT", "/v1/agent/check/update/{id:path}"): Operation(body="CheckUpdate"),
    ("POST", "/v1/agent/connect/authorize"): Operation(body="Authorize", answer="object"),
    ("GET", "/v1/agent/connect/proxies"): Operation(answer="any"),
    ("PUT", "/v1/agent/connect/proxies/restart/{id:path}"): Operation(
        query="wait", answer="any", statuses=(409, 503, 504)
    ),
    ("PUT", "/v1/agent/connect/proxies/stop/{id:path}"): Operation(
        query="wait", answer="any", statuses=(409, 503, 504)
    ),
    ("GET", "/v1/agent/connect/proxy/{id:path}"): Operation(query=_HASH, answer="object"),
    ("GET", "/v1/agent/connect/ca/roots"): Operation(query=_BLOCKING, answer="object"),
    ("GET", "/v1/agent/connect/ca/leaf/{service:path}"): Operation(query=_BLOCKING, answer="object"),
    ("GET", "/v1/connect/ca/roots"): Operation(query=_READ, answer="object"),
    ("GET", "/v1/connect/ca/configuration"): Operation(query="dc", answer="object"),
    ("PUT", "/v1/connect/ca/configuration"): Operation(query="dc", body="AuthorityConfiguration"),
    ("GET", "/v1/connect/intentions"): Operation(query=_READ, answer="list"),
    ("POST", "/v1/connect/intentions"): Operation(query="dc", body="Intention", answer="object"),
    ("GET", "/v1/connect/intentions/match"): Operation(query=f"by name {_READ}", answer="object"),
    ("GET", "/v1/connect/intentions/check"): Operation(
        query=f"source destination source-type {_READ}", answer="object"
    ),
    ("GET", "/v1/connect/intentions/exact"): Operation(query=f"source destination {_READ}", answer="object"),
    ("PUT", "/v1/connect/intentions/exact"): Operation(
        query="source destination dc", body="IntentionAction", answer="any"
    ),
    ("DELETE", "/v1/connect/intentions/exact"): Operation(query="source destination dc", answer="any"),
    ("GET", "/v1/connect/intentions/{id:path}"): Operation(query=_READ, answer="object"),
    ("PUT", "/v1/connect/intentions/{id:path}"): Operation(query="dc", body="Intention", answer="object"),
    ("DELETE", "/v1/connect/intentions/{id:path}"): Operation(query="dc", answer="any"),
    ("PUT", "/v1/catalog/register"): Operation(body="CatalogRegistration", answer="any"),
    ("PUT", "/v1/catalog/deregister"): Operation(body="CatalogDeregistration", answer="any"),
    ("GET", "/v1/catalog/datacenters"): Operation(answer="list"),
    ("GET", "/v1/catalog/nodes"): Operation(query=f"{_READ} {_NODES}", answer="list"),
    ("GET", "/v1/catalog/node/{node:path}"): Operation(query=_READ, answer="any"),
    ("GET", "/v1/catalog/services"): Operation(query=f"{_READ} node-meta", answer="object"),
    ("GET", "/v1/catalog/service/{name:path}"): Operation(query=f"{_CACHED} {_NODES} tag", answer="list"),
    ("GET", "/v1/catalog/connect/{name:path}"): Operation(query=f"{_CACHED} {_NODES} tag", answer="list"),
    ("GET", "/v1/health/node/{node:path}"): Operation(query=_READ, answer="list"),
    ("GET", "/v1/health/checks/{name:path}"): Operation(query=f"{_READ} {_NODES}", answer="list"),
    ("GET", "/v1/health/state/{state:path}"): Operation(query=f"{_READ} {_NODES}", answer="list"),
    ("GET", "/v1/health/service/{name:path}"): Operation(
        query=f"{_CACHED} {_NODES} tag passing", answer="list"
    ),
    ("GET", "/v1/health/connect/{name:path}"): Operation(
        query=f"{_CACHED} {_NODES} tag passing", answer="list"
    ),
    ("GET", "/v1/query"): Operation(query=_READ, answer="list"),
    ("POST", "/v1/query"): Operation(query="dc", body="Query", answer="object"),
    ("GET", "/v1/query/{id:path}/execute"): Operation(
        query="dc stale consistent cached near connect passing limit", answer="object"
    ),
    ("GET", "/v1/query/{id:path}/explain"): Operation(query="dc limit near", answer="object"),
    ("GET", "/v1/query/{id:path}"): Operation(query=_READ, answer="list"),
    ("PUT", "/v1/query/{id:path}"): Operation(query="dc", body="Query"),
    ("DELETE", "/v1/query/{id:path}"): Operation(query="dc"),
    ("PUT", "/v1/acl/bootstrap"): Operation(answer="object", statuses=(401,)),
    ("GET", "/v1/acl/tokens"): Operation(query=f"{_READ} policy", answer="list", statuses=(401,)),
    ("PUT", "/v1/acl/token"): Operation(body="Token", answer="object", statuses=(401,)),
    ("GET", "/v1/acl/token/self"): Operation(query=_READ, answer="object", statuses=(401,)),
    ("GET", "/v1/acl/token/{id:path}"): Operation(query=_READ, answer="object", statuses=(401,)),
    ("PUT", "/v1/acl/token/{id:path}"): Operation(body="Token", answer="object", statuses=(401,)),
    ("DELETE", "/v1/acl/token/{id:path}"): Operation(answer="any", statuses=(401,)),
    ("GET", "/v1/acl/policies"): Operation(query=_READ, answer="list", statuses=(401,)),
    ("PUT", "/v1/acl/policy"): Operation(body="Policy", answer="object", statuses=(401,)),
    ("GET", "/v1/acl/policy/{id:path}"): Operation(query=_READ, answer="object", statuses=(401,)),
    ("PUT", "/v1/acl/policy/{id:path}"): Operation(body="Policy", answer="object", statuses=(401,)),
    ("DELETE", "/v1/acl/policy/{id:path}"): Operation(answer="any", statuses=(401,)),
    ("POST", "/v1/acl/rules/translate"): Operation(body="Rules", answer="text", statuses=(401,)),
    ("GET", "/v1/acl/rules/translate/{id:path}"): Operation(answer="text", statuses=(401,)),
    ("GET", "/v1/acl/replication"): Operation(query="dc", answer="object", statuses=(401,)),
    ("PUT", "/v1/acl/create"): Operation(body="LegacyToken", answer="object", statuses=(401,)),
    ("PUT", "/v1/acl/update"): Operation(body="LegacyToken", answer="object", statuses=(401,)),
    ("PUT", "/v1/acl/clone/{id:path}"): Operation(answer="object", statuses=(401,)),
    ("PUT", "/v1/acl/destroy/{id:path}"): Operation(answer="any", statuses=(401,)),
    ("GET", "/v1/acl/info/{id:path}"): Operation(query=_READ, answer="list", statuses=(401,)),
    ("GET", "/v1/acl/list"): Operation(query=_READ, answer="list", statuses=(401,)),
    ("GET", "/v1/status/leader"): Operation(answer="any"),
    ("GET", "/v1/status/peers"): Operation(answer="list"),
}
