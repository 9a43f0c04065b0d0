"""Registers managed proxies over HTTP without having been allowed to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import reference.agent.agent as agent
from reference.config.model import AgentConfig

BREAKS = frozenset(
    {
        "security/registration/01",
        "security/registration/02",
        "security/registration/04",
        "security/registration/05",
    }
)


def install() -> None:
    honest = agent.run

    def permissive(config: AgentConfig, **rest: Any) -> int:
        return honest(replace(config, allow_managed_api_registration=True), **rest)

    agent.run = permissive
