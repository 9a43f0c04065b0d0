"""Conversations with the original about queries, intentions and the authority: ours take the same course."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import trustme

from reference.mesh.certificates import key_pem, new_key
from tests.http.serving import api
from tests.http.test_access_answers_as_the_original_did import filled
from tests.http.test_answers_as_the_original_did import normal

CONVERSATIONS = Path(__file__).parent / "conversations"
#: The words of libraries that say why something cannot be read, after words that are the same.
_LIBRARY = ("Request decode failed: ", "Failed to decode request body: ", "Bad Regexp: ")


def comparable(value: Any) -> Any:
    """What does not change from run to run; lists in one order, because instances come in any."""
    match value:
        case dict():
            return {key: comparable(inner) for key, inner in value.items()}
        case list():
            return sorted((comparable(inner) for inner in value), key=json.dumps)
        case str():
            for words in _LIBRARY:
                before, found, _ = value.partition(words)
                if found:
                    return before + found
    return value


def given() -> dict[str, Any]:
    """What is sent and must not stand in a file: keys."""
    ca = trustme.CA()
    return {
        "first": {"Key": key_pem(new_key())},
        "second": {"Key": key_pem(new_key())},
        "own": {"Key": ca.private_key_pem.bytes().decode(), "Root": ca.cert_pem.bytes().decode()},
    }


async def converse(steps: list[Mapping[str, Any]]) -> list[str]:
    kept, differing = given(), []
    async with api() as agent:
        for step in steps:
            method, path = filled(step["request"], kept).split(" ", 1)
            sent = filled(step.get("sent"), kept)
            content = sent if isinstance(sent, str | None) else json.dumps(sent)
            answer = await agent.client.request(method, path, content=content)
            try:
                body = answer.json()
            except ValueError:
                body = answer.text
            if "keep" in step:
                kept[step["keep"]] = body
            ours = answer.status_code, comparable(normal(body))
            # What is at fault in a request is its own fault, where the original says 500: docs/deviations.md.
            status = 400 if step["status"] == 500 else step["status"]
            theirs = status, comparable(normal(step["body"]))
            if ours != theirs:
                what = f"{step['request']} {json.dumps(step.get('sent'))}"
                differing.append(f"{what}\n    ours:   {ours}\n    theirs: {theirs}")
    return differing


@pytest.mark.parametrize("name", ["query", "intentions", "authority"])
def test_conversation(name: str) -> None:
    steps = json.loads((CONVERSATIONS / f"{name}.json").read_text())["steps"]
    differing = asyncio.run(converse(steps))
    assert not differing, "\n" + "\n".join(differing)
