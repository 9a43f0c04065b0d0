"""``/v1/agent/self`` tells how the agent is configured, and hides what must not be told."""

from __future__ import annotations

import asyncio
import json

from reference.config.model import AccessOptions, AgentTokens, ProxyDefaults
from tests.http.serving import api


def test_tokens_and_whatever_is_called_a_secret_are_hidden() -> None:
    access = AccessOptions(
        enabled=True,
        allows_by_default=True,
        master="s3cret-m",
        tokens=AgentTokens(default="", agent="s3cret-a", agent_master="s3cret-am", replication="s3cret-r"),
    )
    defaults = ProxyDefaults(
        config={"api_token": "s3cret-1", "plain": "shown", "deep": [{"Password": "s3cret-2", "port": 1}]}
    )

    async def shown() -> dict[str, object]:
        async with api(access=access, proxy_defaults=defaults) as agent:
            answer: dict[str, dict[str, object]] = await agent.get("/v1/agent/self")
            return answer["DebugConfig"]

    config = asyncio.run(shown())
    assert "s3cret" not in json.dumps(config)
    assert config["ACLMasterToken"] == config["ACLToken"] == "hidden"
    assert config["ACLsEnabled"] is True
    assert config["ACLDefaultPolicy"] == "allow"
    assert config["ConnectProxyDefaultConfig"] == {
        "api_token": "hidden",
        "plain": "shown",
        "deep": [{"Password": "hidden", "port": 1}],
    }
