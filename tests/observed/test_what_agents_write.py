"""Files, environments and refusals: with a data directory, without one, and as root."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from signal import SIGKILL
from typing import Any

from conformance.checks._situations import deregister, reloaded
from conformance.checks._situations import recorded as stored
from conformance.instruments.dns import DnsClient
from conformance.plugin.lab import Lab
from tests.observed.replay import comparable, recorded, replays, seen

SLEEP = ["/bin/sleep", "1000"]


def modes(folder: Path) -> dict[str, str]:
    """What is in a folder, with its modes, as the recordings write them."""
    return {
        str(path.relative_to(folder)): oct(stat.S_IMODE(path.stat().st_mode)) for path in folder.rglob("*")
    }


def three(lab: Lab) -> list[dict[str, Any]]:
    """The services of the recordings: ``web`` and ``redis1`` with the built-in proxy, ``cust`` with one of its own."""
    upstream = {"destination_name": "redis", "local_bind_port": lab.port()}
    query = {
        "destination_type": "prepared_query",
        "destination_name": "db",
        "datacenter": "dc1",
        "local_bind_port": lab.port(),
        "config": {"connect_timeout_ms": 1500},
    }
    custom = {"command": SLEEP, "config": {"foo": "bar", "nested": {"a": [1, 2]}}}
    return [
        lab.service("web", port=28080, proxy={"upstreams": [upstream]}),
        lab.service("redis", id="redis1", port=26379, proxy={"config": {"foo": "bar"}, "upstreams": [query]}),
        lab.service("cust", port=27000, proxy=custom),
    ]


@replays("datadir-tree", "persisted-proxies-dc423aea", "persisted-services-dc423aea", "snapshot-json")
def test_the_data_directory(lab: Lab) -> None:
    agent = lab.agent(definitions=three(lab))
    proxies = [agent.proxy(f"{name}-proxy") for name in ("web", "redis1", "cust")]
    stored(lab, agent, *proxies)
    assert agent.data_dir is not None
    ours = modes(agent.data_dir)
    for path, mode in recorded("datadir-tree")["body"].items():
        assert ours.get(path) == mode, path

    expected = seen("persisted-proxies-dc423aea")
    kept = comparable(
        json.loads((agent.data_dir / "proxies" / "dc423aea3c06784969d50dceff8ddb95").read_text())
    )
    # Deviation: MP-CAT-002, the record of a proxy has its upstreams.
    assert kept["Proxy"]["ProxyService"]["Proxy"].pop("Upstreams")
    # Deviation: MP-SNAP-006, which command was the user's own is kept beside it.
    assert {key: value for key, value in kept["Proxy"].items() if key != "OwnCommand"} == expected["Proxy"]
    assert (kept["ProxyToken"], kept["FromFile"]) == (expected["ProxyToken"], expected["FromFile"])
    service = json.loads((agent.data_dir / "services" / "dc423aea3c06784969d50dceff8ddb95").read_text())
    assert service["Service"]["Proxy"].pop("Upstreams")
    assert comparable(service) == seen("persisted-services-dc423aea")

    snapshot = json.loads((agent.data_dir / "proxy" / "snapshot.json").read_text())
    told = recorded("snapshot-json")["body"]
    assert snapshot["Version"] == told["Version"]
    assert set(snapshot["Proxies"]) == set(told["Proxies"])
    for name, entry in snapshot["Proxies"].items():
        assert entry["Mode"] == told["Proxies"][name]["Mode"]
        assert entry["Config"]["Pid"] in {proxy.pid for proxy in proxies}
        # Deviation: MP-SNAP-002, no secret and no environment.
        assert "ProxyToken" not in entry["Config"]


@replays("proxy-env-cust", "proxy-config-blocking-timeout")
def test_what_a_custom_proxy_is_given(lab: Lab) -> None:
    agent = lab.agent(definitions=three(lab)[2:])
    environment = agent.proxy("cust-proxy").environment()
    told = dict(line.partition("=")[::2] for line in recorded("proxy-env-cust")["body"] if line)
    for name, value in told.items():
        if name.startswith("CONSUL_") and name != "CONSUL_HTTP_ADDR":
            assert environment[name] == value, name
    assert environment["CONSUL_HTTP_ADDR"] == f"127.0.0.1:{agent.http_port}"
    assert environment["CONNECT_PROXY_ID"] == told["CONNECT_PROXY_ID"]

    path = "/v1/agent/connect/proxy/cust-proxy"
    config = agent.api.get(path)
    again = agent.api.get(path, query={"hash": config.json["ContentHash"], "wait": "1s"}, timeout=30)
    assert again.headers["X-Consul-ContentHash"] == config.json["ContentHash"]
    expected = seen("proxy-config-blocking-timeout")
    assert comparable(again.json) == {**expected, "Command": SLEEP}


@replays("deregister-service-with-proxy", "catalog-deregister-proxy", "dns-a-web-connect")
def test_what_a_deregistration_removes(lab: Lab) -> None:
    agent = lab.agent(definitions=three(lab))
    for name in ("web", "redis1", "cust"):
        agent.proxy(f"{name}-proxy")
    told = recorded("dns-a-web-connect")["body"]
    client = DnsClient(port=agent.dns_port, history=lab.history)
    found = lab.until(
        "check_passes", lambda: client.ask("web.connect.consul").data("A"), what="DNS finds the healthy proxy"
    )
    assert found == [told[0].split()[-1]]

    removed = recorded("deregister-service-with-proxy")
    assert deregister(agent, "redis1").status == removed["status"]
    lab.until("proxy_stop", lambda: not agent.proxies("redis1-proxy"), what="the process is gone")
    assert "redis1" not in agent.services()
    assert "redis1-proxy" not in agent.services()
    assert removed["checks_after"] == {}
    # Deviation: quirk 3, the checks of other services stay.
    assert set(agent.checks()) == {"service:web-proxy", "service:cust-proxy"}
    assert agent.api.get("/v1/catalog/connect/redis").json == removed["catalog_connect_redis"]
    folder = agent.data_dir
    assert folder is not None
    lab.until(
        "proxy_stop",
        lambda: (
            not [path for path in modes(folder) if "dc423aea" in path or path.endswith("redis1-proxy.pid")]
        ),
        what="its files are gone",
    )

    request = recorded("catalog-deregister-proxy")
    body = {"Node": "agent-under-test", "ServiceID": "web-proxy"}
    taken_out = agent.api.put("/v1/catalog/deregister", body)
    assert (taken_out.status, taken_out.json) == (request["status"], request["body"])
    lab.until(
        "registration",
        lambda: agent.api.get("/v1/catalog/connect/web").json,
        what="the agent puts the record back",
    )


@replays("dev-no-datadir", "dev-no-datadir-sigkill")
def test_dev_without_a_data_directory(lab: Lab) -> None:
    definitions = [lab.service(name, proxy={"command": SLEEP}) for name in ("a", "b")]
    agent = lab.agent(definitions=definitions, data_dir=False)
    before = [agent.proxy(name) for name in ("a-proxy", "b-proxy")]
    told = recorded("dev-no-datadir")["body"]
    # Deviation: MP-LOG-006, quirk 10: no pid file and no log, nothing restarted by a reload.
    assert {"pids", "a-proxy-stdout.log"} <= set(told["files_in_cwd_while_running"])
    assert set(told["reload_restarted"].values()) == {True}
    working_directory = agent.process.directory()
    assert not [path for path in working_directory.rglob("*") if "proxy" in path.name or path.name == "pids"]
    reloaded(
        lab,
        agent,
        *(
            lab.service(name, port=agent.services()[name]["Port"], proxy={"command": SLEEP})
            for name in ("a", "b")
        ),
    )
    assert [agent.proxy(name) for name in ("a-proxy", "b-proxy")] == before
    agent.stop()
    assert told["after_exit"] == {}
    assert not [proxy for proxy in before if proxy.alive()]

    agent.start()
    proxies = [agent.proxy(name) for name in ("a-proxy", "b-proxy")]
    agent.stop(SIGKILL)
    # Deviation: MP-LIFE-015: they end with the agent.
    assert recorded("dev-no-datadir-sigkill")["body"]["survivors"] == ["a-proxy", "b-proxy"]
    for proxy in proxies:
        lab.until("proxy_end_with_agent", lambda proxy=proxy: not proxy.alive(), what="the proxy ends")


@replays("root-default", "root-allowed-then-disallowed")
def test_root(lab: Lab) -> None:
    definitions = [lab.service("a", port=1111, proxy={"command": SLEEP})]
    agent = lab.agent(definitions=definitions, as_user="root", name="refusing")
    told = recorded("root-default")["body"]
    assert sorted(agent.services()) == told["services"]
    config = agent.api.get("/v1/agent/connect/proxy/a-proxy").json
    assert comparable(config) == comparable(told["proxy_config"])
    assert agent.proxies() == []
    assert told["log"][0].partition("] ")[2].partition(": ")[2] in agent.output()
    agent.end()

    allowed = lab.agent(
        definitions=definitions,
        as_user="root",
        name="allowed",
        options={"connect": {"proxy": {"allow_managed_root": True}}},
    )
    proxy = allowed.proxy("a-proxy")
    stored(lab, allowed, proxy)
    allowed.stop()
    folder = allowed.data_dir
    assert folder is not None
    again = lab.agent(
        definitions=definitions,
        as_user="root",
        name="withdrawn",
        data_dir=False,
        flags=["-data-dir", str(folder)],
    )
    # Deviation: quirk 9: what was started while it was allowed is stopped.
    assert recorded("root-allowed-then-disallowed")["body"]["disallowed_restart_running"]
    lab.until("proxy_stop", lambda: not proxy.alive(), what="the proxy of the permitted agent ends")
    assert again.proxies() == []


@replays("non-dev-connect-disabled", "restart-loglevel-changed", "http-disabled")
def test_servers(lab: Lab) -> None:
    options: dict[str, Any] = {"connect": {"enabled": None}, "log_level": "INFO"}
    definitions = [lab.service("bi", port=2, proxy={}), lab.service("custom", proxy={"command": SLEEP})]
    agent = lab.agent(
        definitions=definitions,
        dev=False,
        options=options,
        environment={"CONSUL_HTTP_TOKEN": "fromagentenv"},
    )
    told = recorded("non-dev-connect-disabled")["body"]
    builtin, custom = agent.proxy("bi-proxy"), agent.proxy("custom-proxy")
    config = agent.api.get("/v1/agent/connect/proxy/bi-proxy").json
    assert config["Command"][-2:] == told["bi_cmd"][-2:]
    assert custom.environment()["CONSUL_HTTP_TOKEN"] == told["env"]["CONSUL_HTTP_TOKEN"]
    for path, name in (
        ("/v1/agent/connect/ca/leaf/bi", "leaf"),
        ("/v1/agent/connect/ca/roots", "roots"),
        ("/v1/connect/ca/roots", "ca_roots"),
    ):
        assert agent.api.get(path).text == told[name][1]
    body = {"Target": "bi", "ClientCertURI": "spiffe://x/ns/default/dc/dc1/svc/web", "ClientCertSerial": "1"}
    authorized = agent.api.post("/v1/agent/connect/authorize", body)
    assert [authorized.status, authorized.json] == [told["authorize"][0], json.loads(told["authorize"][1])]

    configuration = agent.process.directory() / "agent.json"
    agent.stop()
    configuration.write_text(json.dumps(json.loads(configuration.read_text()) | {"log_level": "DEBUG"}))
    agent.start()
    successor = agent.proxy("bi-proxy", other_than=builtin)
    expected = recorded("restart-loglevel-changed")["body"]
    assert successor.argv()[-4:] == expected["bi_cmd"][-4:]
    assert custom.alive() != expected["custom_restarted"]

    off = lab.prepare(
        name="off", definitions=[lab.service("x", proxy={"command": SLEEP})], options={"ports": {"http": -1}}
    )
    off.launch()
    text = "Connect managed proxies are disabled due to providing an invalid HTTP configuration"
    assert text in recorded("http-disabled")["body"]["log"][0]
    lab.until("agent_ready", lambda: text in off.output(), what="the agent says why")
    assert len(off.proxies("x-proxy")) == recorded("http-disabled")["body"]["running"]
