"""The HTTP API: which path and method is answered by which function."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from reference.http import agent, catalog, connect, intentions
from reference.http.backend import Backend
from reference.http.exchange import Endpoint, Handler

#: In the order in which they are tried. ``{id:path}`` because ids may hold slashes, and may be missing.
ROUTES: tuple[tuple[str, Mapping[str, Handler]], ...] = (
    ("/v1/agent/self", {"GET": agent.self_}),
    ("/v1/agent/members", {"GET": agent.members}),
    ("/v1/agent/services", {"GET": agent.services}),
    ("/v1/agent/checks", {"GET": agent.checks}),
    ("/v1/agent/reload", {"PUT": agent.reload}),
    ("/v1/agent/leave", {"PUT": agent.leave}),
    ("/v1/agent/service/register", {"PUT": agent.register}),
    ("/v1/agent/service/deregister/{id:path}", {"PUT": agent.deregister}),
    ("/v1/agent/service/{id:path}", {"GET": agent.service}),
    ("/v1/agent/health/service/id/{id:path}", {"GET": agent.service_health}),
    ("/v1/agent/connect/authorize", {"POST": connect.authorize_peer}),
    ("/v1/agent/connect/proxy/{id:path}", {"GET": connect.proxy_config}),
    ("/v1/agent/connect/ca/roots", {"GET": connect.agent_roots}),
    ("/v1/agent/connect/ca/leaf/{service:path}", {"GET": connect.leaf}),
    ("/v1/connect/ca/roots", {"GET": connect.roots}),
    ("/v1/connect/intentions", {"GET": intentions.list_, "POST": intentions.create}),
    ("/v1/connect/intentions/match", {"GET": intentions.match}),
    ("/v1/connect/intentions/check", {"GET": intentions.check}),
    (
        "/v1/connect/intentions/{id:path}",
        {"GET": intentions.get, "PUT": intentions.replace, "DELETE": intentions.delete},
    ),
    ("/v1/catalog/datacenters", {"GET": catalog.datacenters}),
    ("/v1/catalog/nodes", {"GET": catalog.nodes}),
    ("/v1/catalog/services", {"GET": catalog.services}),
    ("/v1/catalog/service/{name:path}", {"GET": catalog.service}),
    ("/v1/catalog/connect/{name:path}", {"GET": catalog.connect}),
    ("/v1/health/service/{name:path}", {"GET": catalog.service_health}),
    ("/v1/health/connect/{name:path}", {"GET": catalog.connect_health}),
    ("/v1/status/leader", {"GET": catalog.leader}),
    ("/v1/status/peers", {"GET": catalog.peers}),
)


def create_app(backend: Backend) -> Starlette:
    """The API of one agent, as an ASGI application."""
    routes = [Route(path, Endpoint(backend, handlers)) for path, handlers in ROUTES]
    return Starlette(routes=[*routes, Route("/", _root)], exception_handlers={404: _not_found})


async def _root(request: Request) -> Response:
    return PlainTextResponse("Consul Agent")


async def _not_found(request: Request, error: Exception) -> Response:
    return Response(status_code=404)
