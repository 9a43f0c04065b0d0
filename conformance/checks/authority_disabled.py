"""An agent without a certificate authority: what it refuses, and what goes on."""

from __future__ import annotations

from conformance.checks._situations import idle_web, refused
from conformance.plugin.lab import Lab
from conformance.plugin.marks import requirement


@requirement("authority/disabled/01")
def check_agent_without_authority(lab: Lab) -> None:
    """Start a server with ``connect.enabled`` false and a service with a custom managed proxy.

    Roots, leaves and the configuration of the authority are refused, and the proxy runs. Source: catalogue.
    """
    agent = lab.agent(definitions=[idle_web(lab)], dev=False, options={"connect": {"enabled": False}})
    assert agent.proxy("web-proxy").alive()
    paths = (
        "/v1/agent/connect/ca/roots",
        "/v1/agent/connect/ca/leaf/web",
        "/v1/connect/ca/roots",
        "/v1/connect/ca/configuration",
    )
    answered = [path for path in paths if not refused(agent.api.get(path))]
    assert not answered, f"not refused: {answered}"
