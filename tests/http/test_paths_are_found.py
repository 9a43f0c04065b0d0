"""Which endpoint answers a path: as it stands, with what varies in it, or none."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from reference.http.paths import Paths


def naming(path: str) -> ASGIApp:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await JSONResponse([path, Request(scope).path_params])(scope, receive, send)

    return application


PATHS = Paths(
    (path, naming(path))
    for path in (
        "/v1/query",
        "/v1/query/{id:path}/execute",
        "/v1/query/{id:path}",
        "/v1/query/self",
        "/v1/query/long/{name:path}",
    )
)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("/v1/query", ["/v1/query", {}]),
        ("/v1/query/self", ["/v1/query/self", {}]),
        ("/v1/query/", ["/v1/query/{id:path}", {"id": ""}]),
        ("/v1/query/a/b", ["/v1/query/{id:path}", {"id": "a/b"}]),
        ("/v1/query/a%20b%2F", ["/v1/query/{id:path}", {"id": "a b/"}]),
        ("/v1/query/long/x", ["/v1/query/{id:path}", {"id": "long/x"}]),
        ("/v1/query/a/execute", ["/v1/query/{id:path}/execute", {"id": "a"}]),
        ("/v1/query//execute", ["/v1/query/{id:path}/execute", {"id": ""}]),
        ("/v1/query/execute", ["/v1/query/{id:path}", {"id": "execute"}]),
    ],
)
def test_a_path_leads_to_its_endpoint(asked: str, found: list[object]) -> None:
    assert get(asked).json() == found


@pytest.mark.parametrize("asked", ["/", "/v1", "/v1/", "/v1/quer", "/v1/queryx", "//v1/query", "/V1/query"])
def test_any_other_path_leads_nowhere(asked: str) -> None:
    answer = get(asked)
    assert (answer.status_code, answer.content) == (404, b"")


def get(path: str) -> httpx.Response:
    async def scenario() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(PATHS), base_url="http://agent") as client:
            return await client.get(f"http://agent{path}")

    return asyncio.run(scenario())
