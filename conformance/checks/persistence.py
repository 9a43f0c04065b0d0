"""What the agent stores about its proxies, and what it makes of a damaged store."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from conformance.checks._situations import (
    ALLOW_API,
    IDLE,
    accepted,
    content,
    end,
    idle_web,
    proxy_config,
    recorded,
    refused,
    register,
    token_of,
)
from conformance.plugin.lab import AgentUnderTest, Lab
from conformance.plugin.marks import requirement


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


@requirement("persistence/snapshot/03")
def check_truncated_snapshot_makes_no_double(lab: Lab) -> None:
    """Kill the agent, cut its record of running proxies in the middle, and start it.

    One process of the proxy runs, not two. Source: hardening; that is what a crash of the machine leaves.
    """
    _makes_no_double(lab, lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]))


@requirement("persistence/snapshot/04")
def check_unknown_snapshot_makes_no_double(lab: Lab) -> None:
    """Kill the agent, write another version into its record of running proxies, and start it.

    One process of the proxy runs, not two. Source: hardening; that is what going back to an older release finds.
    """

    def from_the_future(path: Path) -> None:
        text = path.read_text()
        assert re.search(r'"Version": *1\b', text), f"{path.name} has no version 1"
        path.write_text(re.sub(r'"Version": *1\b', '"Version": 99', text))

    _makes_no_double(lab, from_the_future)


@requirement("persistence/snapshot/05")
def check_missing_snapshot_makes_no_double(lab: Lab) -> None:
    """Kill the agent, remove its record of running proxies, and start it.

    One process of the proxy runs, not two. Source: hardening.
    """
    _makes_no_double(lab, Path.unlink)


@requirement("persistence/secrets/01")
def check_running_state_holds_no_secret(lab: Lab) -> None:
    """Give the agent a secret in its environment, and read what it stores below ``<data_dir>/proxy``.

    Neither that secret nor the token of the proxy is in any file. Source: hardening.
    """
    agent = lab.agent(
        definitions=[lab.service("web", proxy={"command": IDLE})], environment={"A_SECRET": "correct-horse"}
    )
    proxy = agent.proxy("web-proxy")
    recorded(lab, agent, proxy)
    assert agent.data_dir is not None
    secrets = {b"correct-horse", token_of(proxy).encode()}
    for path in (agent.data_dir / "proxy").rglob("*"):
        assert not any(secret in content(path) for secret in secrets), f"{path.name} holds a secret"


@requirement("persistence/pidfile/03")
def check_pid_file_is_no_way_out(lab: Lab) -> None:
    """Stop the agent, end its proxy, put a symbolic link to another file in the place of the pid file, and start it.

    The other file is as it was, and the pid of the new proxy stands in its pid file. Source: hardening.
    """
    agent = lab.agent(definitions=[lab.service("web", proxy={"command": IDLE})])
    proxy = agent.proxy("web-proxy")
    recorded(lab, agent, proxy)
    agent.stop()
    end(proxy)
    lab.until("proxy_stop", lambda: not proxy.alive(), what="the proxy has ended")
    precious = lab.write("precious", "precious")
    assert agent.data_dir is not None
    pid_file = agent.data_dir / "proxy" / "pids" / "web-proxy.pid"
    assert pid_file.parent.is_dir(), f"there are no pid files in {pid_file.parent}"
    pid_file.unlink(missing_ok=True)
    pid_file.symlink_to(precious)
    agent.start()
    successor = agent.proxy("web-proxy", other_than=proxy)
    lab.until("state_written", lambda: _pid(agent) == successor.pid, what="the pid file holds the pid")
    assert precious.read_text() == "precious"


@requirement("persistence/definition/01")
def check_registration_over_http_comes_back(lab: Lab) -> None:
    """Register a service with a managed proxy over HTTP, and again with config and an upstream; kill agent and proxy,
    and start the agent.

    Service and proxy service are registered, a proxy runs with the same command and token, and is told the same.
    Source: catalogue.
    """
    agent = lab.agent(options=ALLOW_API)
    accepted(register(agent, "web", port=8080, proxy={"Command": IDLE}))
    proxy = agent.proxy("web-proxy")
    told = {
        "Command": IDLE,
        "Config": {"colour": "green"},
        "Upstreams": [{"DestinationName": "redis", "LocalBindPort": 1234}],
    }
    accepted(register(agent, "web", port=8080, proxy=told))
    before = proxy_config(agent, "web-proxy")
    token = token_of(proxy)
    recorded(lab, agent, proxy)
    agent.crash()
    end(proxy)
    agent.start()
    successor = agent.proxy("web-proxy", other_than=proxy)
    assert token_of(successor) == token
    assert successor.argv() == IDLE
    assert {"web", "web-proxy"} <= set(agent.services())
    after = proxy_config(agent, "web-proxy")
    for key in ("Config", "Upstreams"):
        assert after[key] == before[key], f"{key} was {before[key]}, and is {after[key]}"


@requirement("persistence/damage/01")
def check_one_bad_file_keeps_nobody_from_starting(lab: Lab) -> None:
    """Leave a temporary file and one that is cut off among the stored definitions of proxies, and restart the agent.

    It starts, and its proxy is the same process. Source: hardening; the original refuses to start.
    """
    agent = lab.agent(definitions=[idle_web(lab)])
    proxy = agent.proxy("web-proxy")
    recorded(lab, agent, proxy)
    agent.stop()
    assert agent.data_dir is not None
    folder = (agent.data_dir / "proxies").relative_to(lab.workspace)
    lab.write(f"{folder}/abc-123.tmp", "")
    lab.write(f"{folder}/{'0' * 32}", '{"ProxyToken": "')
    agent.start()
    assert agent.proxy("web-proxy") == proxy
    lab.holds("blink", lambda: agent.proxies("web-proxy") == [proxy], what="there is no second process")


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


@requirement("persistence/location/02")
def check_no_id_leads_out_of_the_data_directory(lab: Lab) -> None:
    """Register services with managed proxies over HTTP whose ids lead elsewhere when they are taken for paths.

    Those that the agent takes have their proxies running, and no file or folder of such a name is to be found outside
    of its data directory. Source: hardening.
    """
    agent = lab.agent(options=ALLOW_API)
    assert agent.data_dir is not None
    for number, leads in enumerate(("../../../stray", f"{agent.data_dir.parent}/stray")):
        answer = register(agent, f"stray-{number}", service_id=leads, port=8080, proxy={"Command": IDLE})
        if refused(answer):
            continue
        agent.proxy(f"{leads}-proxy")
        strays = [path for path in lab.workspace.rglob("*stray*") if not path.is_relative_to(agent.data_dir)]
        assert not strays, f"written outside of the data directory: {', '.join(map(str, strays))}"


def _pid(agent: AgentUnderTest) -> int | None:
    assert agent.data_dir is not None
    path = agent.data_dir / "proxy" / "pids" / "web-proxy.pid"
    text = content(path).decode().strip()
    return int(text) if text.isdigit() else None


def _makes_no_double(lab: Lab, damage: Callable[[Path], object]) -> None:
    agent = lab.agent(definitions=[lab.service("web", proxy={"command": IDLE})])
    recorded(lab, agent, agent.proxy("web-proxy"))
    agent.crash()
    assert agent.data_dir is not None
    damage(agent.data_dir / "proxy" / "snapshot.json")
    agent.start()
    agent.proxy("web-proxy")
    lab.holds("quiet", lambda: len(agent.proxies("web-proxy")) <= 1, what="there are not two processes")


def _with_corrupt_snapshot(lab: Lab) -> AgentUnderTest:
    agent = lab.agent(definitions=[lab.service("web", proxy={"command": IDLE})])
    recorded(lab, agent, agent.proxy("web-proxy"))
    agent.stop()
    assert agent.data_dir is not None
    (agent.data_dir / "proxy" / "snapshot.json").write_text('{"Version":1,"Proxies":{"web-pro')
    return agent
