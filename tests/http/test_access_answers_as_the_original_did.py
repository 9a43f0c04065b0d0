"""A conversation with the endpoints of access control that the original had: ours takes the same course."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

from reference.config.model import AccessOptions, AgentTokens
from tests.http.serving import api
from tests.http.test_answers_as_the_original_did import normal

CONVERSATION = json.loads((Path(__file__).parent / "conversations" / "acl.json").read_text())["steps"]
MASTER = "11111111-2222-3333-4444-555555555555"
DENYING = AccessOptions(
    enabled=True, allows_by_default=False, master=MASTER, tokens=AgentTokens(agent_master="agentmaster")
)

#: The texts of libraries differ where they say why a text cannot be read; the words before are the same.
WORDING = re.compile(
    r"(Failed to parse (?:ACL )?rules|Invalid service policy|decoding failed|Request decode failed): .*",
    re.DOTALL,
)
#: What we do otherwise; docs/deviations.md says why.
DIFFERENT = {
    # Rules stay as they were written.
    "POST /v1/acl/rules/translate": re.compile(r"\s+"),
}


def comparable(value: Any) -> Any:
    """What is the same in each run: hashes are, but those of tokens with policies made here; times are not."""
    match value:
        case dict():
            return {key: comparable(inner) for key, inner in value.items()} | (
                {"Hash": len(value["Hash"])} if value.get("Policies") is not None else {}
            )
        case list():
            return sorted((comparable(inner) for inner in value), key=json.dumps)
        case str():
            text = WORDING.sub(r"\1", value)
            return re.sub(r"reset index: \d+", "reset index: <index>", text).replace(
                "0001-01-01T", "2026-01-01T"
            )
    return value


def filled(value: Any, kept: dict[str, Any]) -> Any:
    """With what earlier answers gave for ``$name.Field``."""
    match value:
        case str():
            return re.sub(r"\$(\w+)\.(\w+)", lambda match: str(kept[match[1]][match[2]]), value)
        case dict():
            return {key: filled(inner, kept) for key, inner in value.items()}
        case list():
            return [filled(inner, kept) for inner in value]
    return value


def _without_breakdown(theirs: tuple[int, Any]) -> tuple[int, Any]:
    """What is at fault in a request is its own fault, where the original says 500: docs/deviations.md."""
    status, body = theirs
    return (400 if status == 500 else status), body


def test_the_conversation() -> None:
    async def converse() -> list[tuple[str, tuple[int, Any], tuple[int, Any]]]:
        kept: dict[str, Any] = {}
        compared = []
        async with api(access=DENYING) as agent:
            for step in CONVERSATION:
                method, path = filled(step["request"], kept).split(" ", 1)
                sent = filled(step.get("sent"), kept)
                token = MASTER if step["token"] == "master" else filled(step["token"], kept)
                answer = await agent.client.request(
                    method,
                    path,
                    content=sent if isinstance(sent, str | None) else json.dumps(sent),
                    headers={"X-Consul-Token": token} if token else {},
                )
                try:
                    body = answer.json()
                except ValueError:
                    body = answer.text
                if "keep" in step:
                    kept[step["keep"]] = body
                expected = step["body"]
                if layout := DIFFERENT.get(step["request"]):
                    body, expected = (layout.sub("", comparable(str(text))) for text in (body, expected))
                compared.append(
                    (
                        f"{step['request']} {json.dumps(step.get('sent'))} by {step['token']}",
                        (answer.status_code, comparable(normal(body))),
                        (step["status"], comparable(normal(expected))),
                    )
                )
        return compared

    differing = [
        f"{what}\n    ours:   {ours}\n    theirs: {theirs}"
        for what, ours, theirs in asyncio.run(converse())
        if ours != _without_breakdown(theirs)
    ]
    assert not differing, "\n" + "\n".join(differing)
