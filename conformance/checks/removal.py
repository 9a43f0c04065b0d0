"""Moving away from managed proxies."""

from __future__ import annotations

import hashlib
import re
import shutil

from conformance.checks._situations import ALLOW_API, IDLE, accepted, content, deregister, recorded, register
from conformance.instruments.processes import Process
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


@requirement("removal/version/01")
def check_version_tells_of_managed_proxies(lab: Lab) -> None:
    """Read the version that an agent with a managed proxy gives in ``/v1/agent/self``.

    It is one before 1.6.0: whoever goes by versions must not take the agent for one that knows no managed proxies.
    Source: document, Introduction.
    """
    agent = lab.agent(definitions=[lab.service("web", proxy={"command": IDLE})])
    if not (told := re.match(r"(\d+)\.(\d+)", agent.version)):
        lab.skip(f"the agent gives no version of the original: {agent.version!r}")
    agent.proxy("web-proxy")
    assert tuple(map(int, told.groups())) < (1, 6), f"it manages proxies, and says that it is {agent.version}"


@requirement("removal/reap/01")
def check_a_reaped_service_takes_its_proxy_with_it(lab: Lab) -> None:
    """Give a service with a managed proxy a check that stays critical, and that asks for its removal.

    Service, proxy service, their checks, the process and its files are gone together. Source: document, Lifecycle.
    """
    agent = lab.agent(
        definitions=[lab.service("web", proxy={"command": ["/bin/sleep", "600"]})],
        options={"check_reap_interval": "1s", "check_deregister_interval_min": "1s"},
    )
    shown = accepted(agent.api.get("/v1/agent/self")).json["DebugConfig"]
    # The original reads these options, and puts its own values in their place.
    budget = "reaped" if shown.get("CheckReapInterval") == "1s" else "reaped_by_default"
    proxy = agent.proxy("web-proxy")
    recorded(lab, agent, proxy)
    check = {"Name": "c", "ServiceID": "web", "TTL": "1s", "DeregisterCriticalServiceAfter": "1s"}
    accepted(agent.api.put("/v1/agent/check/register", check))
    lab.until(budget, lambda: not {"web", "web-proxy"} & set(agent.services()), what="the service is reaped")
    lab.until("proxy_stop", lambda: not proxy.alive(), what="its proxy is stopped")
    assert not {"c", "service:web-proxy"} & set(agent.checks())
    lab.until(
        "state_written",
        lambda: not _traces(agent, "web-proxy"),
        what="pid file, recorded process and definition are removed",
    )
    lab.holds("blink", lambda: not agent.proxies(), what="no other is started")


@requirement("removal/complete/01")
def check_deregistration_removes_everything(lab: Lab) -> None:
    """Register two services with managed proxies over HTTP, and deregister one.

    Process, proxy service, check, pid file, recorded process and persisted definition are gone; the other's are there.
    Source: hardening.
    """
    agent = lab.agent(options=ALLOW_API)
    for name in ("web", "redis"):
        accepted(register(agent, name, port=8080, proxy={"Command": IDLE}))
    proxy = _complete(lab, agent)
    accepted(deregister(agent, "web"))
    _nothing_is_left(lab, agent, proxy)


@requirement("removal/complete/02")
def check_deleted_definition_removes_everything(lab: Lab) -> None:
    """Delete one of two definitions with managed proxies, and reload the agent.

    Process, proxy service, check, pid file, recorded process and persisted definition are gone; the other's are there.
    Source: hardening.
    """
    redis = lab.service("redis", proxy={"command": IDLE})
    agent = lab.agent(definitions=[lab.service("web", proxy={"command": IDLE}), redis])
    proxy = _complete(lab, agent)
    agent.reload(definitions=[redis])
    _nothing_is_left(lab, agent, proxy)


@requirement("removal/complete/03")
def check_renamed_service_leaves_nothing_behind(lab: Lab) -> None:
    """Give another name to one of two services with managed proxies, and reload the agent.

    Under the old name process, proxy service, check, pid file, recorded process and persisted definition are gone; a
    proxy runs under the new one. Source: hardening.
    """
    redis = lab.service("redis", proxy={"command": IDLE})
    agent = lab.agent(definitions=[lab.service("web", proxy={"command": IDLE}), redis])
    proxy = _complete(lab, agent)
    agent.reload(definitions=[lab.service("site", proxy={"command": IDLE}), redis])
    agent.proxy("site-proxy")
    _nothing_is_left(lab, agent, proxy)


@requirement("removal/complete/04")
def check_definition_deleted_meanwhile_removes_everything(lab: Lab) -> None:
    """Delete one of two definitions with managed proxies while the agent is down, and start the agent.

    Process, proxy service, check, pid file, recorded process and persisted definition are gone; the other's are there.
    Source: hardening.
    """
    redis = lab.service("redis", proxy={"command": IDLE})
    agent = lab.agent(definitions=[lab.service("web", proxy={"command": IDLE}), redis])
    proxy = _complete(lab, agent)
    agent.crash()
    agent.configure(definitions=[redis])
    agent.start()
    _nothing_is_left(lab, agent, proxy)


def _complete(lab: Lab, agent: AgentUnderTest) -> Process:
    """The proxy of web, once everything about it and its neighbour is there."""
    proxy = agent.proxy("web-proxy")
    recorded(lab, agent, proxy, agent.proxy("redis-proxy"))
    lab.until(
        "state_written",
        lambda: _traces(agent, "web-proxy") == _ALL_TRACES == _traces(agent, "redis-proxy"),
        what="everything about both proxies is there",
    )
    return proxy


def _nothing_is_left(lab: Lab, agent: AgentUnderTest, proxy: Process) -> None:
    lab.until("proxy_stop", lambda: not proxy.alive(), what="the process ends")

    def gone() -> bool:
        assert not (left := _traces(agent, "web-proxy")), f"there is still its {', '.join(sorted(left))}"
        return True

    lab.until("state_written", gone, what="nothing of the proxy is left")
    # What becomes of its check is another requirement.
    assert _traces(agent, "redis-proxy") >= _ALL_TRACES - {"check"}


_ALL_TRACES = {"service", "check", "pid file", "recorded process", "persisted definition"}


def _traces(agent: AgentUnderTest, proxy_id: str) -> set[str]:
    """What there is of a proxy besides its process and its logs, which stay."""
    assert agent.data_dir is not None
    running = agent.data_dir / "proxy"
    # Files of persisted definitions have the hash of the id for their name.
    name = hashlib.md5(proxy_id.encode(), usedforsecurity=False).hexdigest()
    found = {
        "service": proxy_id in agent.services(),
        "check": f"service:{proxy_id}" in agent.checks(),
        "pid file": (running / "pids" / f"{proxy_id}.pid").exists(),
        "recorded process": proxy_id.encode() in content(running / "snapshot.json"),
        "persisted definition": any((agent.data_dir / "proxies").glob(f"{name}*")),
    }
    return {trace for trace, there in found.items() if there}


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
