"""What each kind of token opened at the original with a default policy of deny: it opens the same at ours."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from reference.agent.services import Remembered
from reference.config.model import AccessOptions, AgentTokens, ManagedProxy, ServiceDefinition
from tests.http.serving import api
from tests.http.test_answers_as_the_original_did import normal

FOLDER = Path(__file__).parent / "conversations"
MATRIX = json.loads((FOLDER / "acl-token-matrix.json").read_text())["body"]

WEB_PROXY, NT_PROXY = "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa", "bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb"
TOKENS = {
    "web-proxytoken": WEB_PROXY,
    "nt-proxytoken": NT_PROXY,
    "webtok": "webtok",
    "norules": "norules",
    "bogus": "bogus",
    "none": "",
}
RULES = {
    "webtok": 'service_prefix "web" { policy = "write" } node_prefix "" { policy = "read" }',
    "deftok": 'service_prefix "nt" { policy = "write" } agent_prefix "" { policy = "read" }',
    "norules": "",
}
#: docs/deviations.md says why: a proxy's token reads, and what belongs to Connect.
DIFFERENT = {("GET /v1/agent/self", "nt-proxytoken"): (403, "Permission denied")}
#: The reference keeps no keys.
REQUESTS = [request for request in MATRIX if "/v1/kv/" not in request]


async def ask(request: str) -> dict[str, tuple[int, str]]:
    line, _, body = request.partition(" {")
    method, path = line.split(" ")
    options = AccessOptions(enabled=True, allows_by_default=False, tokens=AgentTokens(default="deftok"))
    definitions = (
        ServiceDefinition(
            id="web", name="web", port=1111, token="webtok", proxy=ManagedProxy(config={"secret": "x"})
        ),
        ServiceDefinition(id="nt", name="nt", port=1112, proxy=ManagedProxy()),
    )
    remembered = {
        "web-proxy": Remembered(token=WEB_PROXY, port=24214),
        "nt-proxy": Remembered(token=NT_PROXY, port=24215),
    }
    async with api(*definitions, remembered=remembered, access=options, bearers=RULES) as agent:
        answers = {}
        for name, token in TOKENS.items():
            answer = await agent.client.request(
                method,
                path,
                content="{" + body if body else None,
                headers={"X-Consul-Token": token} if token else {},
            )
            answers[name] = (answer.status_code, answer.text)
    return answers


@pytest.mark.parametrize("request_line", REQUESTS)
def test_what_each_token_opens(request_line: str) -> None:
    """MP-TOK-003 to MP-TOK-009, MP-TOK-012, MP-INT-021."""
    answers = asyncio.run(ask(request_line))
    for token, expected in MATRIX[request_line].items():
        status, text = DIFFERENT.get((request_line, token), (expected["status"], expected["body"]))
        assert answers[token][0] == status, token
        if status != 200:
            assert answers[token][1] == text, token
        elif not text.startswith("<"):
            assert same(answers[token][1], text), token


def same(ours: str, theirs: str) -> bool:
    """Whether the answers have the same form; the recorded ones were cut after 700 characters."""
    if len(theirs) < 700:
        return bool(json_of(ours) == json_of(theirs))
    if theirs.lstrip().startswith("["):
        return bool(json.loads(ours))
    return (
        list(json.loads(ours))[:2]
        == [line.split('"')[1] for line in theirs.splitlines() if line[:5] == '    "'][:2]
    )


def json_of(text: str) -> Any:
    return normal(json.loads(text))


@pytest.mark.parametrize("carrier", json.loads((FOLDER / "acl-token-carriers.json").read_text())["body"])
def test_a_proxys_token_can_be_carried_in_several_ways(carrier: str) -> None:
    """MP-TOK-010."""

    async def carried() -> int:
        options = AccessOptions(enabled=True, allows_by_default=False)
        definition = ServiceDefinition(id="web", name="web", port=1111, proxy=ManagedProxy())
        remembered = {"web-proxy": Remembered(token=WEB_PROXY, port=24214)}
        async with api(definition, remembered=remembered, access=options) as agent:
            leaf = "/v1/agent/connect/ca/leaf/web"
            ways: dict[str, tuple[str, dict[str, str]]] = {
                "query": (f"{leaf}?token={WEB_PROXY}", {}),
                "bearer": (leaf, {"Authorization": f"Bearer {WEB_PROXY}"}),
            }
            path, headers = ways[carrier]
            return (await agent.client.get(path, headers=headers)).status_code

    assert asyncio.run(carried()) == 200
