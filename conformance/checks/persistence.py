"""What the agent stores about its proxies, and what it makes of a damaged store."""

from __future__ import annotations

from conformance.checks._situations import ALLOW_API, accepted, content, end, recorded, register, token_of
from conformance.plugin.lab import AgentUnderTest, Lab
from conformance.plugin.marks import requirement

IDLE = ["/bin/sleep", "600"]


@requirement("persistence/pidfile/01")
def check_pid_file(lab: Lab) -> None:
    """Start an agent with a managed proxy and read ``<data_dir>/proxy/pids/<proxy id>.pid``.

    It holds the pid of the process. Source: document, Lifecycle (operators are to locate the processes).
    """
    agent = lab.agent(definitions=[lab.service("web", proxy={"command": IDLE})])
    proxy = agent.proxy("web-proxy")
    lab.until("state_written", lambda: _pid(agent) == proxy.pid, what="the pid file holds the pid")


@requirement("persistence/pidfile/02")
def check_pid_file_follows_the_proxy(lab: Lab) -> None:
    """Kill a managed proxy and read its pid file when its successor runs.

    It holds the pid of the successor. Source: catalogue.
    """
    agent = lab.agent(definitions=[lab.service("web", proxy={"command": IDLE})])
    proxy = agent.proxy("web-proxy")
    lab.until("state_written", lambda: _pid(agent) == proxy.pid, what="the pid file holds the pid")
    end(proxy)
    successor = agent.proxy("web-proxy", other_than=proxy)
    lab.until("state_written", lambda: _pid(agent) == successor.pid, what="the pid file holds the new pid")


@requirement("persistence/snapshot/01")
def check_agent_starts_with_a_corrupt_snapshot(lab: Lab) -> None:
    """Stop the agent, overwrite its record of running proxies with garbage, and start it.

    It comes up, with its services, and a proxy runs. Source: catalogue.
    """
    agent = _with_corrupt_snapshot(lab)
    agent.start()
    assert {"web", "web-proxy"} <= set(agent.services())
    assert agent.proxy("web-proxy").alive()


@requirement("persistence/snapshot/02")
def check_corrupt_snapshot_makes_no_double(lab: Lab) -> None:
    """Stop the agent, overwrite its record of running proxies with garbage, and start it.

    When it has settled, one process of the proxy runs, not two. Source: hardening; two would fight for the port.
    """
    agent = _with_corrupt_snapshot(lab)
    agent.start()
    agent.proxy("web-proxy")
    lab.holds("quiet", lambda: len(agent.proxies("web-proxy")) <= 1, what="there are not two processes")


@requirement("persistence/definition/01")
def check_registration_over_http_comes_back(lab: Lab) -> None:
    """Register a service with a managed proxy over HTTP, kill agent and proxy, and start the agent.

    Service and proxy service are registered, and a proxy runs with the same command and token. Source: catalogue.
    """
    agent = lab.agent(options=ALLOW_API)
    accepted(register(agent, "web", port=8080, proxy={"Command": IDLE}))
    proxy = agent.proxy("web-proxy")
    token = token_of(proxy)
    recorded(lab, agent, proxy)
    agent.crash()
    end(proxy)
    agent.start()
    successor = agent.proxy("web-proxy", other_than=proxy)
    assert token_of(successor) == token
    assert successor.argv() == IDLE
    assert {"web", "web-proxy"} <= set(agent.services())


@requirement("persistence/location/01")
def check_running_state_is_in_the_proxy_folder(lab: Lab) -> None:
    """Start an agent with a managed proxy whose id is unlikely, and search its data directory for log and pid.

    They are below ``<data_dir>/proxy`` and nowhere else. Source: document, Introduction.
    """
    agent = lab.agent(definitions=[lab.service("unlikely", proxy={"command": IDLE})])
    recorded(lab, agent, agent.proxy("unlikely-proxy"))
    assert agent.data_dir is not None
    names = {path.relative_to(agent.data_dir).parts[0] for path in agent.data_dir.rglob("unlikely-proxy*")}
    assert names == {"proxy"}


def _pid(agent: AgentUnderTest) -> int | None:
    assert agent.data_dir is not None
    path = agent.data_dir / "proxy" / "pids" / "web-proxy.pid"
    text = content(path).decode().strip()
    return int(text) if text.isdigit() else None


def _with_corrupt_snapshot(lab: Lab) -> AgentUnderTest:
    agent = lab.agent(definitions=[lab.service("web", proxy={"command": IDLE})])
    recorded(lab, agent, agent.proxy("web-proxy"))
    agent.stop()
    assert agent.data_dir is not None
    (agent.data_dir / "proxy" / "snapshot.json").write_text('{"Version":1,"Proxies":{"web-pro')
    return agent
