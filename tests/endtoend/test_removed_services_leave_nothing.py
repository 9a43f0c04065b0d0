"""A service can go in many ways, and each takes everything of it along: records, checks, process and files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reference.supervisor import linux
from tests.agents import SLEEP, Agent, agent
from tests.waiting import eventually

WAYS = ("api", "reload", "renamed", "file", "reaped")
OPTIONS = {
    "check_reap_interval": "100ms",
    "check_deregister_interval_min": "100ms",
}


def definition(name: str) -> dict[str, Any]:
    check = {"id": f"own-{name}", "ttl": "1h", "status": "passing"}
    proxy = {"proxy": {"command": SLEEP}, "sidecar_service": {}}
    return {"name": name, "port": 80, "check": check, "connect": proxy}


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Agent]:
    """An agent that reads a folder of definitions, too."""
    folder = tmp_path / "definitions"
    folder.mkdir()
    (folder / "file.json").write_text(json.dumps({"service": definition("file")}))
    others = [definition(name) for name in WAYS if name != "file"]
    with agent(tmp_path, *others, **OPTIONS) as one:
        one.arguments += ["-config-dir", str(folder)]
        one.start()
        yield one


def files(agent: Agent) -> set[str]:
    data = agent.folder / "data"
    kept = (data / "services", data / "proxies", data / "checks", data / "proxy" / "pids")
    return {str(path.relative_to(data)) for folder in kept for path in folder.rglob("*") if path.is_file()}


def pid_files(agent: Agent) -> dict[str, int]:
    return {path.stem: int(path.read_text()) for path in (agent.folder / "data/proxy/pids").glob("*.pid")}


def traces(agent: Agent, name: str) -> list[str]:
    """Everything at the agent and in the mesh that still speaks of a service."""
    found = []
    for path in ("/v1/agent/services", "/v1/agent/checks", "/v1/catalog/services"):
        found += [key for key in agent.get(path) if name in key]
    for path in (f"/v1/catalog/connect/{name}", f"/v1/health/checks/{name}"):
        found += [path for _ in agent.get(path)]
    found += [each["CheckID"] for each in agent.get("/v1/health/state/any") if name in each["CheckID"]]
    return found


def test_every_way_to_go_leaves_nothing(running: Agent) -> None:
    pids = eventually(
        lambda: found if len(found := pid_files(running)) == len(WAYS) else None, "a process of each proxy"
    )
    for name in WAYS:
        added = {"Name": f"added-{name}", "ServiceID": name, "TTL": "1h"}
        running.put("/v1/agent/check/register", added).raise_for_status()
        running.put(f"/v1/agent/check/pass/added-{name}").raise_for_status()
        assert len(traces(running, name)) > 10
    before = files(running)

    running.put("/v1/agent/service/deregister/api").raise_for_status()
    (running.folder / "definitions" / "file.json").unlink()
    running.define(definition("new-name"), definition("reaped"))
    running.put("/v1/agent/reload").raise_for_status()
    fatal = {
        "Name": "fatal-reaped",
        "ServiceID": "reaped",
        "TTL": "50ms",
        "DeregisterCriticalServiceAfter": "50ms",
    }
    running.put("/v1/agent/check/register", fatal).raise_for_status()

    for name in WAYS:
        eventually(lambda name=name: not traces(running, name), f"the end of {name}")
        pid = pids[f"{name}-proxy"]
        eventually(lambda pid=pid: linux.environment(pid) is None, f"the end of the process of {name}")
    assert {"new-name", "new-name-proxy", "new-name-sidecar-proxy"} <= set(running.get("/v1/agent/services"))
    eventually(lambda: set(pid_files(running)) == {"new-name-proxy"}, "the removal of the pid files")
    # Of each there were the definition, record and pid of its proxy, the added check and what it was told.
    assert len(before) == len(WAYS) * 5
    assert len(files(running)) == 3
