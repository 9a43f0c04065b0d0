"""Tokens, whatever their kind, reach no log, no command line, and no file that others can read; and they last."""

from __future__ import annotations

import json
import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.agents import SLEEP, Agent, closing

MASTER, AGENT_MASTER, DEFAULT, AGENT, REPLICATION, SERVICE = (str(uuid.uuid4()) for _ in range(6))


class Closed(Agent):
    """An agent with access control, which is asked with its master token."""

    def ask(self, method: str, path: str, body: Any = None, *, token: str = MASTER, **headers: str) -> Any:
        carried = {"X-Consul-Token": token, **headers} if token else headers
        url = f"http://127.0.0.1:{self.port}{path}"
        return httpx.request(method, url, json=body, headers=carried, timeout=60)


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Closed]:
    access = {
        "enabled": True,
        "default_policy": "deny",
        "enable_token_persistence": True,
        "tokens": {
            "master": MASTER,
            "agent_master": AGENT_MASTER,
            "default": DEFAULT,
            "agent": AGENT,
            "replication": REPLICATION,
        },
    }
    services = [
        {"name": "web", "port": 80, "token": SERVICE, "connect": {"proxy": {"command": SLEEP}}},
        {"name": "builtin", "port": 81, "token": SERVICE, "connect": {"proxy": {}}},
    ]
    with closing(Closed(tmp_path, *services, token=MASTER, acl=access, log_level="TRACE")) as closed:
        # The files of the administrator are his to protect.
        (tmp_path / "agent.json").chmod(0o600)
        closed.start()
        yield closed


def exposed(agent: Closed, secrets: set[str]) -> list[str]:
    """Files of the agent that hold a secret and can be read by others."""
    return [
        str(path)
        for path in agent.folder.rglob("*")
        if path.is_file()
        and path.stat().st_mode & 0o077
        and any(secret.encode() in path.read_bytes() for secret in secrets)
    ]


def test_secrets_are_told_to_nobody_and_outlive_a_kill(agent: Closed) -> None:
    running = agent.runs("web-proxy", "builtin-proxy")
    secrets = {MASTER, AGENT_MASTER, DEFAULT, AGENT, REPLICATION, SERVICE}
    secrets |= {token for _, token in running.values()}
    rules = 'service_prefix "" { policy = "write" }'
    policy = agent.ask("PUT", "/v1/acl/policy", {"Name": "writer", "Rules": rules}).json()
    made = agent.ask("PUT", "/v1/acl/token", {"Policies": [{"ID": policy["ID"]}]}).json()
    legacy = agent.ask("PUT", "/v1/acl/create", {"ID": SERVICE, "Rules": 'service "" { policy = "write" }'})
    renewed = str(uuid.uuid4())
    secrets |= {made["SecretID"], renewed}
    assert legacy.status_code == 200

    for secret in sorted(secrets):
        agent.ask("GET", f"/v1/agent/self?token={secret}", token="")
        agent.ask("GET", "/v1/catalog/services?index=1&wait=1ms", token=secret)
        agent.ask("GET", "/v1/agent/connect/ca/leaf/web", token="", Authorization=f"Bearer {secret}")
        agent.ask("GET", f"/v1/acl/info/{secret}")
        agent.ask("PUT", f"/v1/acl/clone/{secret}")
        agent.ask("PUT", "/v1/acl/token", {"SecretID": secret, "Policies": [{"ID": secret}], "Local": secret})
        agent.ask("PUT", "/v1/acl/policy", {"Name": "broken", "Rules": f'service "a" {{ # {secret}'})
        agent.ask("PUT", "/v1/agent/service/register", {"Name": "x", "Port": "no port", "Token": secret})
    assert agent.ask("PUT", "/v1/agent/token/default", {"Token": renewed}).status_code == 200
    agent.ask("GET", f"/v1/agent/connect/ca/leaf/{'a' * 5}", token=REPLICATION)

    for pid, _ in running.values():
        command = Path(f"/proc/{pid}/cmdline").read_text()
        assert not [secret for secret in secrets if secret in command]
    assert agent.process is not None
    assert not [s for s in secrets if s in Path(f"/proc/{agent.process.pid}/cmdline").read_text()]
    assert not exposed(agent, secrets)
    _, output = agent.end(signal.SIGKILL)
    lines = [line for line in output.splitlines() if any(secret in line for secret in secrets)]
    assert not lines, "\n".join(lines)

    agent.start()
    assert (
        agent.ask("GET", "/v1/acl/token/self", token=made["SecretID"]).json()["AccessorID"]
        == made["AccessorID"]
    )
    assert agent.ask("GET", "/v1/acl/token/self", token=SERVICE).status_code == 200
    kept = json.loads((agent.folder / "data" / "acl-tokens.json").read_text())
    assert kept == {"default": renewed}
    assert os.stat(agent.folder / "data" / "acl-tokens.json").st_mode & 0o777 == 0o600
    assert {name: token for name, (_, token) in agent.runs("web-proxy", "builtin-proxy").items()} == {
        name: token for name, (_, token) in running.items()
    }
    _, output = agent.end(signal.SIGKILL)
    assert not [line for line in output.splitlines() if any(secret in line for secret in secrets)]
