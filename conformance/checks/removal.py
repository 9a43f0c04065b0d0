"""Moving away from managed proxies."""

from __future__ import annotations

import shutil

from conformance.checks._situations import accepted, recorded, register
from conformance.plugin.lab import AgentUnderTest, Lab
from conformance.plugin.marks import requirement


@requirement("removal/cleanup/01")
def check_proxy_folder_can_be_deleted(lab: Lab) -> None:
    """Take the managed proxy out of a definition as the document advises, then delete ``<data_dir>/proxy``.

    The running agent goes on: it answers, keeps its services and takes new ones. Source: document, Introduction.
    """
    agent = _transitioned(lab)
    assert agent.data_dir is not None
    shutil.rmtree(agent.data_dir / "proxy")
    lab.holds("blink", lambda: "web" in agent.services(), what="the agent goes on")
    accepted(register(agent, "db", port=5432, proxy=None))
    assert {"web", "db"} <= set(agent.services())


@requirement("removal/cleanup/02")
def check_agent_starts_without_its_proxy_folder(lab: Lab) -> None:
    """Take the managed proxy out of a definition, stop the agent, delete ``<data_dir>/proxy`` and start it.

    It comes up with the services that it had, those registered over HTTP too. Source: document, Introduction.
    """
    agent = _transitioned(lab)
    accepted(register(agent, "db", port=5432, proxy=None))
    agent.stop()
    assert agent.data_dir is not None
    shutil.rmtree(agent.data_dir / "proxy")
    agent.start()
    lab.until("registration", lambda: {"web", "db"} <= set(agent.services()), what="no service is lost")
    lab.holds("blink", lambda: not agent.proxies(), what="no proxy comes back")


def _transitioned(lab: Lab) -> AgentUnderTest:
    """An agent that had a managed proxy for ``web`` until its definition was changed and it was restarted."""
    agent = lab.agent(definitions=[lab.service("web", port=8080, proxy={"command": ["/bin/sleep", "600"]})])
    proxy = agent.proxy("web-proxy")
    recorded(lab, agent, proxy)
    agent.stop()
    agent.configure(definitions=[lab.service("web", port=8080)])
    agent.start()
    lab.until("proxy_stop", lambda: not proxy.alive(), what="the proxy is stopped")
    return agent
