"""Intentions over HTTP: made, changed, read, waited for, and at once in force."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from tests.http.serving import Api, api

PATH = "/v1/connect/intentions"
UNKNOWN = "11111111-1111-1111-1111-111111111111"


async def make(agent: Api, source: str, destination: str, action: str = "deny", **more: Any) -> str:
    body = {"SourceName": source, "DestinationName": destination, "Action": action, **more}
    answer = await agent.client.post(PATH, json=body)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["ID"])


async def authorized(agent: Api, source: str, target: str) -> bool:
    uri = f"spiffe://x.consul/ns/default/dc/dc1/svc/{source}"
    answer = await agent.client.post(
        "/v1/agent/connect/authorize", json={"Target": target, "ClientCertURI": uri, "ClientCertSerial": "1"}
    )
    return bool(answer.json()["Authorized"])


def ask(method: str, path: str, content: str | None = None) -> httpx.Response:
    async def asking() -> httpx.Response:
        async with api() as agent:
            return await agent.client.request(method, path, content=content)

    return asyncio.run(asking())


def test_a_change_is_in_force_with_its_answer() -> None:
    """MP-IXN-010: nothing lies between the register and the decision."""

    async def story() -> None:
        async with api() as agent:
            intention = await make(agent, "web", "db")
            assert not await authorized(agent, "web", "db")
            assert await authorized(agent, "db", "web")
            body = {"SourceName": "web", "DestinationName": "db", "Action": "allow"}
            changed = await agent.client.put(f"{PATH}/{intention}", json=body)
            assert changed.json() == {"ID": intention}
            assert await authorized(agent, "web", "db")
            await agent.client.put(f"{PATH}/{intention}", json={**body, "Action": "deny"})
            assert not await authorized(agent, "web", "db")
            assert (await agent.client.delete(f"{PATH}/{intention}")).json() is True
            assert await authorized(agent, "web", "db")

    asyncio.run(story())


@pytest.mark.parametrize(
    "query",
    [
        "",
        "/match?by=destination&name=db",
        "/match?by=source&name=web",
        "/check?source=web&destination=db",
        "/{id}",
    ],
)
def test_reads_wait_for_a_change(query: str) -> None:
    async def story() -> None:
        async with api() as agent:
            intention = await make(agent, "web", "db")
            path = PATH + query.format(id=intention)
            seen = await agent.client.get(path)
            path += f"{'&' if '?' in path else '?'}index={seen.headers['x-consul-index']}&wait=60s"
            waiting = asyncio.ensure_future(agent.client.get(path))
            while agent.backend.watch.waiting == 0:
                await asyncio.sleep(0)
            assert not waiting.done()
            body = {"SourceName": "web", "DestinationName": "db", "Action": "allow"}
            await agent.client.put(f"{PATH}/{intention}", json=body)
            answer = await asyncio.wait_for(waiting, 30)
            assert answer.json() != seen.json()
            assert int(answer.headers["x-consul-index"]) > int(seen.headers["x-consul-index"])

    asyncio.run(story())


def test_a_reader_of_a_deleted_intention_is_released() -> None:
    async def story() -> None:
        async with api() as agent:
            intention = await make(agent, "web", "db")
            index = agent.backend.intentions.index
            waiting = asyncio.ensure_future(agent.client.get(f"{PATH}/{intention}?index={index}&wait=60s"))
            while agent.backend.watch.waiting == 0:
                await asyncio.sleep(0)
            await agent.client.delete(f"{PATH}/{intention}")
            answer = await asyncio.wait_for(waiting, 30)
            assert (answer.status_code, answer.text) == (404, "Intention not found")

    asyncio.run(story())


def test_everything_that_was_given_is_shown() -> None:
    given = {
        "Description": "none of their business",
        "DefaultAddr": "127.0.0.1",
        "DefaultPort": 8080,
        "Meta": {"Who": "me"},
    }

    async def story() -> None:
        async with api() as agent:
            shown = await agent.get(f"{PATH}/{await make(agent, 'web', '*', **given)}")
            assert given.items() <= shown.items()
            assert shown["Precedence"] == 6
            assert shown["CreatedAt"] == shown["UpdatedAt"]
            assert shown["CreateIndex"] == shown["ModifyIndex"] == agent.backend.intentions.index

    asyncio.run(story())


def test_match_answers_for_each_name() -> None:
    """MP-IXN-009."""

    async def story() -> None:
        async with api() as agent:
            exact, wild = await make(agent, "web", "db"), await make(agent, "*", "db", "allow")
            found = await agent.get(f"{PATH}/match?by=destination&name=default/DB&name=web")
            ids = {name: [each["ID"] for each in matches] for name, matches in found.items()}
            assert ids == {"default/DB": [exact, wild], "web": []}

    asyncio.run(story())


def test_keys_come_in_any_case_and_unknown_ones_are_ignored() -> None:
    body = '{"sourcename": "a", "DESTINATIONNAME": "b", "action": "deny", "Meta": null, "Other": 1}'
    assert ask("POST", PATH, body).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "text"),
    [
        ("POST", PATH, "", 400, "Failed to decode request body: EOF"),
        ("POST", PATH, "{", 400, "Failed to decode request body: unexpected EOF"),
        ("POST", PATH, "[]", 400, "Failed to decode request body: '' expected a map"),
        ("POST", PATH, '{"SourceName": 5}', 400, "Failed to decode request body: "),
        ("POST", PATH, "null", 400, "3 error(s) occurred:"),
        ("POST", PATH, '{"ID": "x"}', 400, "ID must be empty when creating a new intention"),
        ("PUT", f"{PATH}/{UNKNOWN}", "{", 400, "Request decode failed: unexpected EOF"),
        ("PUT", f"{PATH}/{UNKNOWN}", "{}", 400, "Cannot modify non-existent intention"),
        (
            "PUT",
            f"{PATH}/abc",
            "{}",
            400,
            "Intention lookup failed: failed intention lookup: index error: UUID",
        ),
        (
            "DELETE",
            f"{PATH}/abc",
            None,
            400,
            "Intention lookup failed: failed intention lookup: index error: UUID",
        ),
        ("GET", f"{PATH}/", None, 400, "Bad request: failed intention lookup: index error: UUID must be 36"),
        (
            "GET",
            f"{PATH}/match?by=x&name=y",
            None,
            400,
            "'by' parameter must be one of 'source' or 'destination'",
        ),
        ("GET", f"{PATH}/match?by=source", None, 400, "required query parameter 'name' not set"),
        (
            "GET",
            f"{PATH}/match?by=source&name=a/b/c",
            None,
            400,
            'name "a/b/c" is invalid: input can contain',
        ),
        ("GET", f"{PATH}/check?source=a", None, 400, "required query parameter 'destination' not set"),
        ("GET", f"{PATH}/check?destination=a", None, 400, "required query parameter 'source' not set"),
        (
            "GET",
            f"{PATH}/check?source=a&destination=b&source-type=x",
            None,
            400,
            'unsupported SourceType: "x"',
        ),
        ("GET", f"{PATH}?dc=other", None, 400, "No path to datacenter"),
        ("DELETE", f"{PATH}/{UNKNOWN}?dc=other", None, 400, "No path to datacenter"),
        ("PATCH", PATH, None, 405, "method PATCH not allowed"),
        ("POST", f"{PATH}/match", None, 405, "method POST not allowed"),
    ],
)
def test_what_is_refused(method: str, path: str, body: str | None, status: int, text: str) -> None:
    """As the original does it, text for text."""
    answer = ask(method, path, body)
    assert answer.status_code == status
    assert answer.text.startswith(text)
