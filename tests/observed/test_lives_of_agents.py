"""Agents that are stopped, killed, reloaded and started again, and the proxies that live on."""

from __future__ import annotations

from signal import SIGINT, SIGKILL, SIGTERM
from typing import Any

import pytest

from conformance.checks._situations import content, deregister, end, reloaded
from conformance.checks._situations import recorded as stored
from conformance.instruments.probe_proxy import ProbeProxy
from conformance.instruments.processes import Process
from conformance.plugin.lab import AgentUnderTest, Lab
from tests.observed.replay import comparable, recorded, replays, seen

NAMES = ("a-proxy", "c-proxy", "ign-proxy")


class Household:
    """The three proxies of the recordings: ``a`` and ``c`` end when they are asked to, ``ign`` does not."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.probes = {name: lab.probe_proxy(name, ignore_sigint=name == "ign") for name in ("a", "c", "ign")}
        self.agent = lab.agent(definitions=self.definitions())

    def definitions(self, **changes: dict[str, Any]) -> list[dict[str, Any]]:
        """The definitions, with changes to some proxies; ``None`` for a proxy leaves the service out."""
        return [
            self.lab.service(
                name, port=1110 + number, proxy={"command": probe.command, **changes.get(name, {})}
            )
            for number, (name, probe) in enumerate(self.probes.items(), 1)
        ]

    def proxies(self) -> dict[str, Process]:
        return {name: self.agent.proxy(name) for name in NAMES}


@pytest.fixture
def household(lab: Lab) -> Household:
    made = Household(lab)
    for name, probe in made.probes.items():
        lab.until("proxy_start", probe.starts, what=f"{name}-proxy handles signals")
    stored(lab, made.agent, *made.proxies().values())
    return made


def tokens(proxies: dict[str, Process]) -> dict[str, str]:
    return {name: proxy.environment()["CONNECT_PROXY_TOKEN"] for name, proxy in proxies.items()}


def ports(agent: AgentUnderTest) -> dict[str, int]:
    return {name: entry["Port"] for name, entry in agent.services().items()}


@replays("agent-sigterm", "agent-sigint", "agent-restart-adopt", "restart-unchanged-nondev", "v1.3.1-restart")
def test_a_stopped_agent_leaves_its_proxies_and_finds_them_again(household: Household) -> None:
    agent, before = household.agent, household.proxies()
    secrets, given = tokens(before), ports(agent)
    for number, name in ((SIGTERM, "agent-sigterm"), (SIGINT, "agent-sigint")):
        code = agent.stop(number)
        assert recorded(name)["body"]["exit_code"] == 1
        assert code == 0  # deviation: MP-LIFE-007
        assert all(proxy.alive() for proxy in before.values())
        agent.start()
    after = household.proxies()
    assert {
        "same_pid": {name: after[name] == before[name] for name in NAMES},
        "same_token": {name: tokens(after)[name] == secrets[name] for name in NAMES},
        "same_ports": ports(agent) == given,
    } == seen("agent-restart-adopt")
    assert set(seen("restart-unchanged-nondev")["same_pid"].values()) == {True}
    earlier = recorded("v1.3.1-restart")["body"]
    assert earlier["before"]["c-proxy"] == earlier["after"]["c-proxy"]


@replays("agent-sigkill-proxies-survive", "proxy-crash-restart", "reload-unchanged")
def test_a_killed_agent_and_a_killed_proxy(lab: Lab, household: Household) -> None:
    agent, before = household.agent, household.proxies()
    secrets = tokens(before)
    agent.crash()
    assert set(seen("agent-sigkill-proxies-survive")) == {"cust-proxy", "web-proxy"}
    assert all(proxy.alive() for proxy in before.values())
    agent.start()
    assert household.proxies() == before

    given, health = ports(agent), {name: check["Status"] for name, check in agent.checks().items()}
    reloaded(lab, agent, *household.definitions())
    after = household.proxies()
    unchanged = recorded("reload-unchanged")["body"]
    assert {name: after[name] == before[name] for name in NAMES} == dict.fromkeys(NAMES, True)
    assert set(unchanged["same_pid"].values()) == set(unchanged["same_token"].values()) == {True}
    assert {name: port for name, port in ports(agent).items() if name != "newcomer"} == given
    assert {name: check["Status"] for name, check in agent.checks().items()} == health

    end(before["a-proxy"], SIGKILL)
    successor = agent.proxy("a-proxy", other_than=before["a-proxy"])
    same = successor.environment()["CONNECT_PROXY_TOKEN"] == secrets["a-proxy"]
    assert same == seen("proxy-crash-restart")["same_token"]


@replays("reload-changed-definition")
def test_a_reload_with_changes(lab: Lab, household: Household) -> None:
    agent, before = household.agent, household.proxies()
    secret = tokens(before)["a-proxy"]
    changed = household.probes["a"].command
    reloaded(
        lab, agent, *household.definitions(a={"command": [*changed, "more"]}, c={"config": {"foo": "bar"}})
    )
    successor = agent.proxy("a-proxy", other_than=before["a-proxy"])
    told = seen("reload-changed-definition")
    config = comparable(agent.api.get("/v1/agent/connect/proxy/c-proxy").json)
    assert {key: config[key] for key in ("ExecMode", "Config")} == {
        "ExecMode": told["c_config"]["ExecMode"],
        "Config": {**told["c_config"]["Config"], "local_service_address": "127.0.0.1:1112"},
    }
    assert {
        "a_restarted": successor != before["a-proxy"],
        "a_same_token": successor.environment()["CONNECT_PROXY_TOKEN"] == secret,
        "c_restarted": not before["c-proxy"].alive(),
        "ign_restarted": not before["ign-proxy"].alive(),
    } == {key: value for key, value in told.items() if key != "c_config"}


@replays("restart-with-removed-service", "orphan-proxy-record")
def test_a_service_is_removed_while_the_agent_is_down(lab: Lab, household: Household) -> None:
    agent, before = household.agent, household.proxies()
    secret = tokens(before)["c-proxy"]
    agent.stop()
    end(before["c-proxy"])
    agent.configure(
        definitions=[entry for entry in household.definitions() if entry["service"]["name"] == "c"]
    )
    agent.start()
    successor = agent.proxy("c-proxy", other_than=before["c-proxy"])
    lab.until("proxy_stop", lambda: not before["ign-proxy"].alive(), what="the proxy without a service ends")
    told = recorded("restart-with-removed-service")["body"]
    assert told["c_same_token"] == (successor.environment()["CONNECT_PROXY_TOKEN"] == secret)
    assert told["ign_alive"] == before["ign-proxy"].alive()
    assert told["running"] == ["c-proxy"] == [p.environment()["CONNECT_PROXY_ID"] for p in agent.proxies()]
    # Deviation: quirk 4, the records of removed proxies go.
    assert {"a-proxy", "ign-proxy"} <= set(told["services"])
    assert "gone-proxy" in recorded("orphan-proxy-record")["body"]["agent_services"]
    assert set(agent.services()) == {"c", "c-proxy"}


@replays("deregister-stop-signals")
def test_deregistration_asks_before_it_kills(lab: Lab, household: Household) -> None:
    agent, before = household.agent, household.proxies()
    for name in ("ign", "a"):
        assert deregister(agent, name).status == recorded("deregister-stop-signals")["status"]
    for name in ("ign-proxy", "a-proxy"):
        lab.until("proxy_stop", lambda name=name: not before[name].alive(), what=f"{name} ends")
    for name in ("ign", "a"):
        assert [signal for _, signal in household.probes[name].signals()] == ["SIGINT"]
    assert agent.data_dir is not None
    pids = agent.data_dir / "proxy" / "pids"
    left = recorded("deregister-stop-signals")["pids"]
    lab.until(
        "proxy_stop",
        lambda: sorted(path.name for path in pids.iterdir()) == left,
        what="pid files are removed",
    )


@replays("snapshot-corrupt", "snapshot-version", "proxies-file-corrupt", "proxies-tmp-file")
def test_files_that_cannot_be_read_cost_nothing(lab: Lab, household: Household) -> None:
    agent, before = household.agent, household.proxies()
    assert agent.data_dir is not None
    snapshot = agent.data_dir / "proxy" / "snapshot.json"
    for text in ("not json", '{"Version": 2, "Proxies": {}}'):
        agent.stop()
        snapshot.write_text(text)
        agent.start()
        # Deviation: MP-SNAP-003, MP-SNAP-004; the original ran two and three processes of one proxy.
        assert household.proxies() == before
        assert len(agent.proxies()) == len(NAMES)
    assert len(recorded("snapshot-corrupt")["body"]["running"]) == 2
    assert len(recorded("snapshot-version")["body"]["running"]) == 3

    agent.stop()
    (agent.data_dir / "proxies" / "abc-123.tmp").write_text("half")
    next(iter((agent.data_dir / "proxies").glob("*"))).write_text("garbage")
    agent.start()  # deviation: quirk 17
    assert {recorded(name)["body"]["started"] for name in ("proxies-file-corrupt", "proxies-tmp-file")} == {
        False
    }
    assert set(agent.services()) >= set(NAMES)


@replays("pid-reuse")
def test_a_stranger_has_the_pid(lab: Lab) -> None:
    stranger_probe, probe = lab.probe_proxy("stranger"), lab.probe_proxy("web")
    other = lab.agent(
        name="other", definitions=[lab.service("stranger", proxy={"command": stranger_probe.command})]
    )
    stranger = other.proxy("stranger-proxy")
    lab.until("proxy_start", stranger_probe.starts, what="the stranger handles signals")
    agent = lab.agent(definitions=[lab.service("web", proxy={"command": probe.command})])
    proxy = next(each for each in agent.proxies("web-proxy"))
    stored(lab, agent, proxy)
    agent.stop()
    end(proxy)
    assert agent.data_dir is not None
    snapshot = agent.data_dir / "proxy" / "snapshot.json"
    snapshot.write_text(content(snapshot).decode().replace(str(proxy.pid), str(stranger.pid)))
    agent.start()
    # Deviation: MP-LIFE-009, quirk 11; the original took the stranger for its proxy, and ended it.
    told = recorded("pid-reuse")["body"]
    assert (told["new_proxy_processes"], told["unrelated_poll_after_dereg"]) == ([], -2)
    successor = agent.proxy("web-proxy", other_than=proxy)
    deregister(agent, "web")
    lab.until("proxy_stop", lambda: not successor.alive(), what="the proxy ends")
    assert stranger.alive()
    assert stranger_probe.signals() == []


@replays("backoff-timings")
def test_a_crash_loop_slows_down_as_it_did(lab: Lab) -> None:
    probe: ProbeProxy = lab.probe_proxy(exit_after=0.0, exit_code=1)
    lab.agent(definitions=[lab.service("crash", proxy={"command": probe.command})])
    lab.until("proxy_restart", lambda: len(probe.starts()) >= 5, what="five starts")
    times = [start.time - probe.starts()[0].time for start in probe.starts()[:5]]
    told = recorded("backoff-timings")["body"]["crash"][:5]
    assert all(time >= earliest - 0.1 for time, earliest in zip(times, told, strict=True)), (times, told)
