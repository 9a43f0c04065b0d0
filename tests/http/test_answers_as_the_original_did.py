"""Requests that the original was asked, and its answers: ours are the same but for what differs at each run."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from reference.agent.services import Remembered
from reference.config.model import ManagedProxy, ServiceDefinition, Upstream
from reference.mesh.intentions import Intention, Party, Rule
from tests.http.serving import api

OBSERVED = Path(__file__).parent / "observed"
RECORDINGS = sorted(path.stem for path in OBSERVED.glob("*.json") if not path.stem.startswith("persisted-"))

WEB_TOKEN, OTHER_TOKEN = "11111111-aaaa-4aaa-8aaa-111111111111", "22222222-bbbb-4bbb-8bbb-222222222222"
DEFINITIONS = (
    ServiceDefinition(
        id="web",
        name="web",
        port=28080,
        proxy=ManagedProxy(upstreams=(Upstream(destination_name="redis", local_bind_port=21234),)),
    ),
    ServiceDefinition(id="redis1", name="redis", port=26379, proxy=ManagedProxy()),
    ServiceDefinition(
        id="cust",
        name="cust",
        port=27000,
        proxy=ManagedProxy(
            command=("<work>/e1/fake.sh", "-flag-example"),
            config={"foo": "bar", "nested": {"a": [1, 2]}},
        ),
    ),
)
REMEMBERED = {
    "web-proxy": Remembered(token=WEB_TOKEN, port=20052),
    "redis1-proxy": Remembered(token="33333333-cccc-4ccc-8ccc-333333333333", port=20046),
    "cust-proxy": Remembered(token=OTHER_TOKEN, port=20171),
}
TOKENS = {
    "agent-connect-proxy-web-proxy-with-proxytoken": WEB_TOKEN,
    "agent-connect-proxy-web-proxy-other-proxytoken": OTHER_TOKEN,
    "leaf-web-owntoken": WEB_TOKEN,
    "leaf-redis-randomtoken": "no-token-of-anybody",
}
MADE = datetime(2026, 11, 22, 22, 31, 29, 83729, tzinfo=UTC)
FOO_TO_WEB, ALL_TO_ALL = (
    Intention(
        id=intention_id,
        rule=Rule(source=Party(source), destination=Party(destination), action="deny"),
        created=1,
        modified=1,
        created_at=MADE,
        updated_at=MADE,
    )
    for intention_id, source, destination in (
        ("9ff187e2-3312-5a5a-3665-42ca83699c26", "foo", "web"),
        ("29c10137-d5e8-19c6-e5c4-40d1bd71dfa0", "*", "*"),
    )
)
#: The intentions that were there when the original was asked.
INTENTIONS = {
    "authorize-deny": (FOO_TO_WEB,),
    "intention-check-denied": (FOO_TO_WEB,),
    "intention-create-dup": (FOO_TO_WEB,),
    "intention-delete": (FOO_TO_WEB,),
    "intention-get": (FOO_TO_WEB,),
    "intention-list": (ALL_TO_ALL, FOO_TO_WEB),
    "intention-match": (ALL_TO_ALL, FOO_TO_WEB),
}
#: docs/deviations.md says why.
DEVIATING_STATUS = {
    "api-register-managed-proxy-disallowed": 400,
    "intention-create-bad": 400,
    "intention-create-dup": 400,
    "intention-delete-missing": 400,
    "intention-match-noby": 400,
}
WEB_UPSTREAM = {"DestinationType": "service", "DestinationName": "redis", "LocalBindPort": 21234}
#: Checks of the recorded service itself, which the definitions above do not have.
NOT_DEFINED = {"custchk"}

#: What differs from run to run, by key, and by form inside text.
VARIABLE_KEYS = {
    "ContentHash": "<hash>",
    "CreateIndex": 0,
    "ModifyIndex": 0,
    "SerialNumber": "<serial>",
    "SigningKeyID": "<key id>",
    # The original looks later: there is no result yet when it is asked.
    "Output": "<output>",
}
VARIABLE_TEXT = (
    (re.compile(r"-----BEGIN ([A-Z ]+)-----.*-----END \1-----\n", re.DOTALL), r"<\1>"),
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "<uuid>"),
    (re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){19}"), "<fingerprint>"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "<time>"),
)
#: Headers whose value is the same in each run; of the others only the presence counts.
STABLE_HEADERS = {"x-consul-knownleader", "x-consul-lastcontact", "x-consul-reason"}
#: A cached answer of the original is a matter of who asked before.
UNCOMPARED_HEADERS = {"x-cache"}


def normal(value: Any) -> Any:
    """The same value for all runs."""
    match value:
        case dict():
            return {key: VARIABLE_KEYS.get(key, normal(inner)) for key, inner in value.items()}
        case list():
            return [normal(inner) for inner in value]
        case str():
            for pattern, replacement in VARIABLE_TEXT:
                value = pattern.sub(replacement, value)
    return value


def with_upstreams(value: Any) -> Any:
    """Deviation: MP-CAT-002, the record of a managed proxy has its upstreams, in the form of catalog or agent."""
    if isinstance(value, list):
        return [with_upstreams(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    if value.get("DestinationServiceName") == "web" and "DestinationServiceID" not in value:
        more = {} if "Upstreams" in value else {"Datacenter": "", "Config": None}
        return {**value, "Upstreams": [WEB_UPSTREAM | more]}
    return {key: with_upstreams(inner) for key, inner in value.items()}


async def ask(
    recording: Mapping[str, Any], token: str = "", intentions: Iterable[Intention] = ()
) -> httpx.Response:
    line, _, body = recording["request"].partition(" body=")
    method, path = line.split(" ")
    async with api(*DEFINITIONS, remembered=REMEMBERED, intentions=intentions) as agent:
        headers = {"X-Consul-Token": token} if token else {}
        return await agent.client.request(method, path, content=body or None, headers=headers)


@pytest.mark.parametrize("name", RECORDINGS)
def test_answer(name: str) -> None:
    recording = json.loads((OBSERVED / f"{name}.json").read_text())
    answer = asyncio.run(ask(recording, TOKENS.get(name, ""), INTENTIONS.get(name, ())))

    assert answer.status_code == DEVIATING_STATUS.get(name, recording["status"])
    expected = recording["body"]
    if isinstance(expected, str):
        assert normal(answer.text) == normal(expected)
    else:
        if isinstance(expected, dict):
            expected = {key: value for key, value in expected.items() if key not in NOT_DEFINED}
        assert normal(answer.json()) == normal(with_upstreams(expected))
    for header, value in recording.get("headers", {}).items():
        header = header.lower()
        if header in UNCOMPARED_HEADERS:
            continue
        assert header in answer.headers
        if header in STABLE_HEADERS:
            assert answer.headers[header] == value


@pytest.mark.parametrize("name", ["agent-service-web-proxy", "intention-get"])
def test_field_order_is_the_originals(name: str) -> None:
    """Fields come in the original's order, so that answers can be read side by side."""
    recording = json.loads((OBSERVED / f"{name}.json").read_text())
    answer = asyncio.run(ask(recording, intentions=INTENTIONS.get(name, ())))
    assert list(answer.json()) == list(recording["body"])


def test_nothing_answers_with_a_token_of_a_proxy() -> None:
    """MP-TOK-001: no endpoint shows the token of a proxy."""

    async def collect() -> str:
        paths = (
            "/v1/agent/self",
            "/v1/agent/services",
            "/v1/agent/checks",
            "/v1/agent/service/web",
            "/v1/agent/service/web-proxy",
            "/v1/agent/connect/proxy/web-proxy",
            "/v1/catalog/connect/web",
            "/v1/health/connect/web",
        )
        async with api(*DEFINITIONS, remembered=REMEMBERED) as agent:
            answers = [await agent.client.get(path, headers={"X-Consul-Token": WEB_TOKEN}) for path in paths]
        assert all(answer.status_code == 200 for answer in answers)
        return "".join(answer.text for answer in answers)

    assert WEB_TOKEN not in asyncio.run(collect())
