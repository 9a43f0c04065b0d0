"""The HTTP API: which path and method is answered by which function."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

from reference.catalog.model import Status
from reference.http import (
    acl,
    acl_legacy,
    acl_policies,
    agent,
    agent_checks,
    agent_health,
    agent_services,
    agent_tokens,
    authority,
    catalog,
    cluster,
    connect,
    health,
    intentions,
    intentions_exact,
    managed,
    metrics,
    monitor,
    query,
    status,
)
from reference.http.backend import Backend
from reference.http.exchange import Endpoint, Handler
from reference.http.gate import Gate
from reference.http.paths import Paths

#: Below this (bytes) an answer does not get shorter; above, the fastest level already brings most of what can be had.
_WORTH_COMPRESSING, _COMPRESSION = 1024, 1

#: ``{id:path}`` because ids may hold slashes, and may be missing. See :class:`reference.http.paths.Paths`.
ROUTES: tuple[tuple[str, Mapping[str, Handler]], ...] = (
    ("/v1/agent/self", {"GET": agent.self_}),
    ("/v1/agent/members", {"GET": cluster.members}),
    ("/v1/agent/join/{address:path}", {"PUT": cluster.join}),
    ("/v1/agent/force-leave/{node:path}", {"PUT": cluster.force_leave}),
    ("/v1/agent/monitor", {"GET": monitor.monitor}),
    ("/v1/agent/metrics", {"GET": metrics.metrics}),
    ("/v1/agent/services", {"GET": agent_services.services}),
    ("/v1/agent/checks", {"GET": agent_checks.checks}),
    ("/v1/agent/reload", {"PUT": agent.reload}),
    ("/v1/agent/leave", {"PUT": cluster.leave}),
    ("/v1/agent/token/{name:path}", {"PUT": agent_tokens.update}),
    ("/v1/agent/maintenance", {"PUT": agent_checks.maintain}),
    ("/v1/agent/check/register", {"PUT": agent_checks.register}),
    ("/v1/agent/check/deregister/{id:path}", {"PUT": agent_checks.deregister}),
    ("/v1/agent/check/pass/{id:path}", {"PUT": agent_checks.told(Status.PASSING)}),
    ("/v1/agent/check/warn/{id:path}", {"PUT": agent_checks.told(Status.WARNING)}),
    ("/v1/agent/check/fail/{id:path}", {"PUT": agent_checks.told(Status.CRITICAL)}),
    ("/v1/agent/check/update/{id:path}", {"PUT": agent_checks.update}),
    ("/v1/agent/service/register", {"PUT": agent_services.register}),
    ("/v1/agent/service/deregister/{id:path}", {"PUT": agent_services.deregister}),
    ("/v1/agent/service/maintenance/{id:path}", {"PUT": agent_services.maintain}),
    ("/v1/agent/service/{id:path}", {"GET": agent_services.service}),
    ("/v1/agent/health/service/id/{id:path}", {"GET": agent_health.by_id}),
    ("/v1/agent/health/service/name/{name:path}", {"GET": agent_health.by_name}),
    ("/v1/agent/connect/authorize", {"POST": connect.authorize_peer}),
    ("/v1/agent/connect/proxies", {"GET": managed.list_}),
    ("/v1/agent/connect/proxies/restart/{id:path}", {"PUT": managed.restart}),
    ("/v1/agent/connect/proxies/stop/{id:path}", {"PUT": managed.stop}),
    ("/v1/agent/connect/proxy/{id:path}", {"GET": connect.proxy_config}),
    ("/v1/agent/connect/ca/roots", {"GET": authority.agent_roots}),
    ("/v1/agent/connect/ca/leaf/{service:path}", {"GET": connect.leaf}),
    ("/v1/connect/ca/roots", {"GET": authority.roots}),
    ("/v1/connect/ca/configuration", {"GET": authority.configuration, "PUT": authority.configure}),
    ("/v1/connect/intentions", {"GET": intentions.list_, "POST": intentions.create}),
    ("/v1/connect/intentions/match", {"GET": intentions.match}),
    ("/v1/connect/intentions/check", {"GET": intentions.check}),
    (
        "/v1/connect/intentions/exact",
        {"GET": intentions_exact.get, "PUT": intentions_exact.put, "DELETE": intentions_exact.delete},
    ),
    (
        "/v1/connect/intentions/{id:path}",
        {"GET": intentions.get, "PUT": intentions.replace, "DELETE": intentions.delete},
    ),
    ("/v1/catalog/register", {"PUT": catalog.register}),
    ("/v1/catalog/deregister", {"PUT": catalog.deregister}),
    ("/v1/query", {"GET": query.list_, "POST": query.create}),
    ("/v1/query/{id:path}/execute", {"GET": query.execute}),
    ("/v1/query/{id:path}/explain", {"GET": query.explain}),
    ("/v1/query/{id:path}", {"GET": query.get, "PUT": query.replace, "DELETE": query.delete}),
    ("/v1/catalog/datacenters", {"GET": catalog.datacenters}),
    ("/v1/catalog/nodes", {"GET": catalog.nodes}),
    ("/v1/catalog/node/{node:path}", {"GET": catalog.node}),
    ("/v1/catalog/services", {"GET": catalog.services}),
    ("/v1/catalog/service/{name:path}", {"GET": catalog.service}),
    ("/v1/catalog/connect/{name:path}", {"GET": catalog.connect}),
    ("/v1/health/node/{node:path}", {"GET": health.node}),
    ("/v1/health/checks/{name:path}", {"GET": health.checks}),
    ("/v1/health/state/{state:path}", {"GET": health.state}),
    ("/v1/health/service/{name:path}", {"GET": health.service}),
    ("/v1/health/connect/{name:path}", {"GET": health.connect}),
    ("/v1/acl/bootstrap", {"PUT": acl.bootstrap}),
    ("/v1/acl/tokens", {"GET": acl.tokens}),
    ("/v1/acl/token", {"PUT": acl.create_token}),
    ("/v1/acl/token/self", {"GET": acl.token_self}),
    ("/v1/acl/token/{id:path}", {"GET": acl.get_token, "PUT": acl.put_token, "DELETE": acl.delete_token}),
    ("/v1/acl/policies", {"GET": acl_policies.policies}),
    ("/v1/acl/policy", {"PUT": acl_policies.create_policy}),
    (
        "/v1/acl/policy/{id:path}",
        {
            "GET": acl_policies.get_policy,
            "PUT": acl_policies.put_policy,
            "DELETE": acl_policies.delete_policy,
        },
    ),
    ("/v1/acl/rules/translate", {"POST": acl_policies.translate}),
    ("/v1/acl/rules/translate/{id:path}", {"GET": acl_policies.translate_token}),
    ("/v1/acl/replication", {"GET": acl.replication}),
    ("/v1/acl/create", {"PUT": acl_legacy.create}),
    ("/v1/acl/update", {"PUT": acl_legacy.update}),
    ("/v1/acl/clone/{id:path}", {"PUT": acl_legacy.clone}),
    ("/v1/acl/destroy/{id:path}", {"PUT": acl_legacy.destroy}),
    ("/v1/acl/info/{id:path}", {"GET": acl_legacy.info}),
    ("/v1/acl/list", {"GET": acl_legacy.list_}),
    ("/v1/status/leader", {"GET": status.leader}),
    ("/v1/status/peers", {"GET": status.peers}),
)


def create_app(backend: Backend) -> Starlette:
    """The API of one agent, as an ASGI application."""
    endpoints = Paths((path, Endpoint(backend, handlers, path=path)) for path, handlers in ROUTES)
    return Starlette(
        routes=[Route("/", _root), Mount("", endpoints)],
        middleware=[
            Middleware(Gate, backend.config.http, backend.metrics),
            Middleware(GZipMiddleware, minimum_size=_WORTH_COMPRESSING, compresslevel=_COMPRESSION),
        ],
    )


async def _root(request: Request) -> Response:
    return PlainTextResponse("Consul Agent")
