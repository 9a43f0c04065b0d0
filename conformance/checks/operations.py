"""Operating managed proxies: seeing them, restarting them, stopping them. The original has nothing of it."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from conformance.checks._situations import (
    HEALTHY_AT_ONCE,
    IDLE,
    accepted,
    only,
    recorded,
    starts,
    supervision,
    token_of,
)
from conformance.plugin.lab import AgentUnderTest, Lab
from conformance.plugin.marks import requirement

PROXIES = "/v1/agent/connect/proxies"


@requirement("operations/list/01")
def check_proxies_are_listed(lab: Lab) -> None:
    """Start an agent with two services that have a managed proxy, and ask for the list.

    It has both, each with its service, its state, its process and its log files. Source: hardening.
    """
    agent = lab.agent(definitions=[lab.service(name, proxy={"command": IDLE}) for name in ("redis", "web")])
    processes = {name: agent.proxy(f"{name}-proxy") for name in ("redis", "web")}
    recorded(lab, agent, *processes.values())
    views = accepted(agent.api.get(PROXIES)).json
    assert [view["ProxyID"] for view in views] == ["redis-proxy", "web-proxy"]
    for view, (name, process) in zip(views, processes.items(), strict=True):
        assert (view["TargetServiceID"], view["State"], view["PID"]) == (name, "running", process.pid)
        assert view["Logs"] == {
            "Stdout": str(agent.log_dir / f"{name}-proxy-stdout.log"),
            "Stderr": str(agent.log_dir / f"{name}-proxy-stderr.log"),
        }


@requirement("operations/list/02")
def check_crash_loop_is_listed(lab: Lab) -> None:
    """Let a proxy exit with code 3 as often as it is started, and ask for the list while it waits.

    It is in a crash loop, with the reason, and the time of its next start lies ahead. Source: hardening.
    """
    probe = lab.probe_proxy(exit_after=0.01, exit_code=3)
    agent = lab.agent(definitions=[lab.service("web", proxy={"command": probe.command})])
    starts(lab, probe, 4)

    def waits() -> bool:
        view = _view(agent)
        assert view["State"] == "backoff", f"the proxy is {view['State']}"
        assert view["CrashLoop"] is True
        assert "exited with code 3" in view["Reason"]
        return datetime.fromisoformat(view["NextStart"]) > datetime.now(UTC)

    lab.until("proxy_restart", waits, what="the proxy waits for its next start")


@requirement("operations/list/03")
def check_root_refusal_is_listed(lab: Lab) -> None:
    """Start an agent as root with a service that has a managed proxy, and ask for the list.

    The proxy is refused, and the reason names ``allow_managed_root``. Source: hardening.
    """
    agent = lab.agent(definitions=[lab.service("web", proxy={})], as_user="root")
    view = _view(agent)
    assert view["State"] == "refused"
    assert "allow_managed_root" in view["Reason"]
    assert "PID" not in view


@requirement("operations/restart/01")
def check_restart_replaces_the_process(lab: Lab) -> None:
    """Ask for a restart of one of two proxies.

    The answer has the old and the new pid; the new process has the token of the old one, which has ended, and the
    other proxy is left alone. Source: hardening.
    """
    agent = lab.agent(
        definitions=[
            lab.service(name, proxy={"command": IDLE, "config": HEALTHY_AT_ONCE}) for name in ("web", "redis")
        ]
    )
    old, other = agent.proxy("web-proxy"), agent.proxy("redis-proxy")
    token = token_of(old)
    answer = accepted(agent.api.put(f"{PROXIES}/restart/web-proxy")).json
    new = agent.proxy("web-proxy", other_than=old)
    assert (answer["OldPID"], answer["NewPID"]) == (old.pid, new.pid)
    assert token_of(new) == token
    assert not old.alive()
    assert agent.proxies("redis-proxy") == [other]


@requirement("operations/restart/02")
def check_restart_awaits_readiness(lab: Lab) -> None:
    """Restart a proxy that sends ``READY=1`` to ``NOTIFY_SOCKET`` when it is told to, and not before.

    The restart is not answered before that, and at once afterwards. Source: hardening.
    """
    probe = lab.probe_proxy(announce=True)
    agent = lab.agent(definitions=[lab.service("web", proxy={"command": probe.command})])
    starts(lab, probe, 1)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(agent.api.put, f"{PROXIES}/restart/web-proxy")
        starts(lab, probe, 2)
        lab.holds("quiet", lambda: not answer.done(), what="the restart is not answered")
        probe.permit()
        lab.until("proxy_start", answer.done, what="the restart is answered")
    assert accepted(answer.result()).json["ReadyBy"] == "notice"
    assert _view(agent)["Ready"] is True


@requirement("operations/stop/01")
def check_stopped_proxy_stays_stopped(lab: Lab) -> None:
    """Stop a proxy, reload the agent, and ask for a restart.

    Its process has ended when the answer is there, none is started until the restart, and then one is.
    Source: hardening.
    """
    agent = lab.agent(definitions=[lab.service("web", proxy={"command": IDLE, "config": HEALTHY_AT_ONCE})])
    proxy = agent.proxy("web-proxy")
    answer = accepted(agent.api.put(f"{PROXIES}/stop/web-proxy")).json
    assert answer["OldPID"] == proxy.pid
    assert not proxy.alive()
    agent.reload()
    lab.holds("observation", lambda: not agent.proxies("web-proxy"), what="the proxy stays stopped")
    assert _view(agent)["State"] == "stopped"
    accepted(agent.api.put(f"{PROXIES}/restart/web-proxy"))
    assert agent.proxy("web-proxy").alive()


@requirement("operations/critical/01", takes=5)
def check_critical_proxy_is_restarted(lab: Lab) -> None:
    """Have proxies whose check is critical for two seconds restarted; of two proxies one listens and one does not.

    The one that does not listen is restarted, more than once, and the other is left alone. Source: hardening.
    """
    wedged, sound = lab.probe_proxy("wedged"), lab.probe_proxy("sound", listen=True)
    agent = lab.agent(
        definitions=[
            lab.service("web", proxy={"command": wedged.command}),
            lab.service("redis", proxy={"command": sound.command}),
        ],
        options=supervision(restart_critical_after="2s"),
    )
    starts(lab, sound, 1)
    first, second, third = starts(lab, wedged, 3)
    assert min(second.time - first.time, third.time - second.time) > 1.5
    assert len(sound.starts()) == 1
    assert agent.proxy("redis-proxy").alive()


@requirement("operations/critical/01")
def check_critical_proxy_is_left_alone(lab: Lab) -> None:
    """Start an agent without further options, with a proxy that does not listen.

    It is not restarted, however critical its check. Source: hardening.
    """
    agent = lab.agent(definitions=[lab.service("web", proxy={"command": IDLE})])
    proxy = agent.proxy("web-proxy")
    lab.holds("observation", lambda: agent.proxies("web-proxy") == [proxy], what="the proxy is left alone")


def _view(agent: AgentUnderTest) -> Mapping[str, Any]:
    """The one proxy of the list."""
    view = only(accepted(agent.api.get(PROXIES)).json)
    assert isinstance(view, dict)
    return view
