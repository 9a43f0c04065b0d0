"""What is recorded can be published: tokens and keys are not in it, wherever they stood."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from conformance.instruments.history import REDACTED, History, without_secrets
from conformance.instruments.identities import Authority

SECRET = "d2c4e0a8-1111-2222-3333-444455556666"


def record(tmp_path: Path, **fields: Any) -> str:
    history = History(tmp_path / "history.jsonl")
    history.record("event", **fields)
    history.close()
    return (tmp_path / "history.jsonl").read_text()


@pytest.mark.parametrize(
    "fields",
    [
        {"headers": {"X-Consul-Token": SECRET}},
        {"query": {"token": SECRET}},
        {"answer": {"Config": {"ACLToken": SECRET}}},
        {"answer": [{"SecretID": SECRET}]},
        {"environment": {"CONNECT_PROXY_TOKEN": SECRET}},
        {"answer": {"PrivateKeyPEM": SECRET}},
        {"text": f"GET /v1/agent/self?token={SECRET}&pretty"},
        {"argv": ["agent", f"-hcl=acl_token = '{SECRET}'"]},
    ],
)
def test_a_secret_is_known_by_its_place(tmp_path: Path, fields: dict[str, Any]) -> None:
    text = record(tmp_path, **fields)
    assert SECRET not in text
    assert REDACTED in text


def test_a_private_key_is_known_anywhere() -> None:
    key = Authority().leaf().key_pem
    body = "".join(key.splitlines()[1:-1])
    assert body[:40] not in without_secrets(f"before {key} after").replace("\n", "")
    assert without_secrets(f"before {key}after") == f"before {REDACTED}\nafter"
    assert key.splitlines()[1] not in without_secrets(key[: len(key) // 2])


def test_a_named_secret_is_hidden_everywhere(tmp_path: Path) -> None:
    history = History(tmp_path / "history.jsonl")
    history.hide(SECRET)
    history.record("event", text=f"it said {SECRET}!", more=[{"deep": SECRET}])
    history.close()
    assert SECRET not in (tmp_path / "history.jsonl").read_text()
    assert history.redact_text(f"<{SECRET}>") == f"<{REDACTED}>"


def test_what_is_no_secret_stays(tmp_path: Path) -> None:
    event = json.loads(record(tmp_path, path="/v1/agent/self", status=200, answer={"Name": "web"}))
    assert (event["kind"], event["path"], event["status"], event["answer"]) == (
        "event",
        "/v1/agent/self",
        200,
        {"Name": "web"},
    )


def test_repetitions_are_counted(tmp_path: Path) -> None:
    history = History(tmp_path / "history.jsonl")
    for took in (0.1, 0.2, 0.3):
        history.record("request", path="/", took=took)
    history.record("request", path="/other", took=0.1)
    history.close()
    events = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert [(event["kind"], event.get("path"), event.get("times")) for event in events] == [
        ("request", "/", None),
        ("repeated", None, 2),
        ("request", "/other", None),
    ]
