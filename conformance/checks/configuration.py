"""Configuration of managed proxies: the minimal one, upstreams old and new, defaults of the agent, errors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from conformance.checks._situations import only, proxy_config, variable
from conformance.instruments.dns import DnsClient
from conformance.plugin.lab import AgentUnderTest, Lab
from conformance.plugin.marks import requirement
from conformance.plugin.waits import CheckFailure


@requirement("configuration/minimal/01")
def check_empty_proxy_starts_the_default_one(lab: Lab) -> None:
    """Start an agent with a service definition whose ``connect.proxy`` is an empty object.

    A proxy service is registered and one proxy process runs. Source: document, Minimal Configuration.
    """
    agent = lab.agent(definitions=[lab.service("redis", proxy={})])
    assert agent.proxy("redis-proxy").alive()
    assert agent.services()["redis-proxy"]["Kind"] == "connect-proxy"


@requirement("configuration/minimal/02")
def check_no_proxy_object_no_proxy(lab: Lab) -> None:
    """Start an agent with a service without a ``connect`` block and one whose ``connect.proxy`` is null.

    Neither has a proxy service or a process. Source: document, Minimal Configuration.
    """
    agent = lab.agent(definitions=[lab.service("web"), lab.service("redis", connect={"proxy": None})])
    lab.holds("quiet", lambda: not agent.proxies(), what="no proxy is started")
    services = agent.services()
    assert {"web", "redis"} <= set(services)
    assert not {"web-proxy", "redis-proxy"} & set(services)


@requirement("configuration/minimal/03")
def check_default_command_is_built_in(lab: Lab) -> None:
    """Start an agent with an empty ``connect.proxy`` and read the proxy's command.

    It is the program of the agent itself, told to be the proxy. Source: document, Managed Proxy Documentation.
    """
    agent = lab.agent(definitions=[lab.service("redis", proxy={})])
    command = proxy_config(agent, "redis-proxy")["Command"]
    assert "proxy" in command[1:], f"the default command {command} does not name the built-in proxy"
    assert agent.proxy("redis-proxy").executable() == agent.process.executable()


@requirement("configuration/service/01")
def check_each_service_has_its_own_proxy(lab: Lab) -> None:
    """Start an agent with two services that have a managed proxy each.

    Two processes run, each under the id of its own service. Source: document, Minimal Configuration.
    """
    web, redis = lab.probe_proxy("web"), lab.probe_proxy("redis")
    agent = lab.agent(
        definitions=[
            lab.service("web", proxy={"command": web.command}),
            lab.service("redis", proxy={"command": redis.command}),
        ]
    )
    assert agent.proxy("web-proxy") != agent.proxy("redis-proxy")
    for probe, proxy_id in ((web, "web-proxy"), (redis, "redis-proxy")):
        starts = lab.until("proxy_start", probe.starts, what=f"the command of {proxy_id} runs")
        assert [variable(start, "CONNECT_PROXY_ID") for start in starts] == [proxy_id]


def _rejected(lab: Lab, service: Mapping[str, Any], *words: str) -> None:
    finished = lab.start_expecting_failure(definitions=[{"service": {"name": "web", **service}}])
    assert finished.exit_code > 0, f"ended with {finished.exit_code}"
    missing = [word for word in words if word not in finished.output.lower()]
    assert not missing, f"the message does not say {missing}: {finished.output[-500:]}"


@requirement("configuration/errors/01")
def check_unknown_key_is_an_error(lab: Lab) -> None:
    """Start an agent with the unknown key ``colour`` inside ``connect.proxy``.

    It gives up with an exit code above 0 and names the key. Source: catalogue.
    """
    _rejected(lab, {"port": 8080, "connect": {"proxy": {"colour": "red"}}}, "colour")


@requirement("configuration/errors/02")
def check_missing_port_is_an_error(lab: Lab) -> None:
    """Start an agent with a service that has a managed proxy but no port.

    It gives up with an exit code above 0 and a message about the port. Source: catalogue.
    """
    _rejected(lab, {"connect": {"proxy": {}}}, "port")


@requirement("configuration/errors/03")
def check_command_string_is_an_error(lab: Lab) -> None:
    """Start an agent with a ``command`` that is one string instead of a list.

    It gives up and names the key, rather than guess how to split. Source: document, Custom Managed Proxy.
    """
    _rejected(lab, {"port": 8080, "connect": {"proxy": {"command": "/bin/sleep 60"}}}, "command")


@requirement("configuration/errors/04")
def check_native_service_with_proxy_is_an_error(lab: Lab) -> None:
    """Start an agent with a service that is Connect-native and has a managed proxy.

    It gives up and names both. Source: catalogue.
    """
    _rejected(lab, {"port": 8080, "connect": {"native": True, "proxy": {}}}, "native", "proxy")


@requirement("configuration/upstreams/01")
def check_upstreams_reach_the_proxy(lab: Lab) -> None:
    """Give a managed proxy two upstreams, one of them with every key, and read its configuration.

    Both are there with all values; the destination type defaults to ``service``.
    Source: document, Upstream Configuration.
    """
    agent = _configured(
        lab,
        upstreams=[
            {"destination_name": "redis", "local_bind_port": 1234},
            {
                "destination_name": "db",
                "destination_type": "service",
                "datacenter": "dc2",
                "local_bind_address": "127.0.0.2",
                "local_bind_port": 1235,
                "config": {"connect_timeout_ms": 1500},
            },
        ],
    )
    upstreams = proxy_config(agent, "web-proxy")["Upstreams"]
    assert len(upstreams) == 2
    first, second = upstreams
    assert _values(first) == {"DestinationType": "service", "DestinationName": "redis", "LocalBindPort": 1234}
    assert _values(second) == {
        "DestinationType": "service",
        "DestinationName": "db",
        "Datacenter": "dc2",
        "LocalBindAddress": "127.0.0.2",
        "LocalBindPort": 1235,
        "Config": {"connect_timeout_ms": 1500},
    }


@requirement("configuration/legacy/01")
def check_legacy_upstreams_are_copied(lab: Lab) -> None:
    """Give a managed proxy its upstreams in the old place, inside ``config``, and read its configuration.

    They stand in the new place. Source: document, Upstream Configuration, Deprecation Note.
    """
    old = {"destination_name": "redis", "destination_datacenter": "dc2", "local_bind_port": 1234}
    agent = _configured(lab, config={"upstreams": [old]})
    upstream = only(proxy_config(agent, "web-proxy")["Upstreams"])
    assert upstream["DestinationName"] == "redis"
    assert upstream["DestinationType"] == "service"
    assert upstream["Datacenter"] == "dc2"
    assert upstream["LocalBindPort"] == 1234


@requirement("configuration/legacy/02")
def check_new_place_wins_over_legacy(lab: Lab) -> None:
    """Give a managed proxy upstreams in the new place and in the old one, beside another opaque key.

    Only those of the new place count, and the opaque config keeps its other key alone.
    Source: document, Upstream Configuration, Deprecation Note.
    """
    agent = _configured(
        lab,
        config={"upstreams": [{"destination_name": "old", "local_bind_port": 1234}], "foo": "bar"},
        upstreams=[{"destination_name": "new", "local_bind_port": 1235}],
    )
    answer = proxy_config(agent, "web-proxy")
    assert [upstream["DestinationName"] for upstream in answer["Upstreams"]] == ["new"]
    assert answer["Config"]["foo"] == "bar"
    assert "upstreams" not in answer["Config"]


@requirement("configuration/defaults/01")
def check_documented_default_command(lab: Lab) -> None:
    """Set ``connect.proxy_defaults.command`` and start a service with an empty ``connect.proxy``.

    The service's proxy runs that command. Source: document, Custom Managed Proxy.
    """
    _runs_default_command(lab, key="command")


@requirement("configuration/defaults/02")
def check_original_default_command(lab: Lab) -> None:
    """Set ``connect.proxy_defaults.daemon_command`` and start a service with an empty ``connect.proxy``.

    The service's proxy runs that command. Source: catalogue, the spelling that the original reads.
    """
    _runs_default_command(lab, key="daemon_command")


@requirement("configuration/defaults/03")
def check_service_command_beats_default(lab: Lab) -> None:
    """Set a default command for the agent, in a spelling it takes, and a command in the service definition.

    The command of the service runs, that of the agent does not. Source: document, Custom Managed Proxy.
    """
    default, own = lab.probe_proxy("default"), lab.probe_proxy("own")
    agent = _with_default_command(
        lab, command=default.command, definitions=[lab.service("web", proxy={"command": own.command})]
    )
    agent.proxy("web-proxy")
    lab.until("proxy_start", own.starts, what="the command of the service runs")
    assert not default.starts()


@requirement("configuration/defaults/04")
def check_default_config_is_merged(lab: Lab) -> None:
    """Set ``connect.proxy_defaults.config`` to two keys, and one of them in the service as well.

    The proxy sees the service's value of that key and the default of the other. Source: catalogue.
    """
    defaults = {"connect": {"proxy_defaults": {"config": {"shared": "default", "only_default": 1}}}}
    agent = _configured(lab, options=defaults, config={"shared": "service", "only_service": True})
    config = proxy_config(agent, "web-proxy")["Config"]
    assert (config["shared"], config["only_default"], config["only_service"]) == ("service", 1, True)


@requirement("configuration/format/01")
def check_hcl_definitions(lab: Lab) -> None:
    """Write a service definition with command, config and two upstreams in HCL, and start the agent with it.

    The proxy is configured as from JSON. Source: document, Custom Managed Proxy (an example in HCL).
    """
    probe = lab.probe_proxy()
    command = ", ".join(map(json.dumps, probe.command))
    definition = lab.write(
        "web.hcl",
        f"""
        service {{
          name = "web"
          port = 8080
          connect {{
            proxy {{
              command = [{command}]
              config {{
                foo = "bar"
                whole = 9000
                part = 0.5
                on = true
                some = ["a", 1]
              }}
              upstreams = [
                {{ destination_name = "redis", local_bind_port = 1234 }},
                {{ destination_name = "db", local_bind_port = 1235 }},
              ]
            }}
          }}
        }}
        """,
    )
    agent = lab.agent(flags=["-config-file", str(definition)])
    answer = proxy_config(agent, "web-proxy")
    assert answer["Command"] == probe.command
    written = {"foo": "bar", "whole": 9000, "part": 0.5, "on": True, "some": ["a", 1]}
    # As text, since Python takes 1 and True for equal.
    assert str({key: answer["Config"].get(key) for key in written}) == str(written)
    assert [(entry["DestinationName"], entry["LocalBindPort"]) for entry in answer["Upstreams"]] == [
        ("redis", 1234),
        ("db", 1235),
    ]
    lab.until("proxy_start", probe.starts, what="the command of the HCL file runs")


@requirement("configuration/flags/01")
def check_hcl_flag_overrides_files(lab: Lab) -> None:
    """Set one option in a file and again, to another value, with ``-hcl`` on the command line.

    The command line counts. Source: catalogue.
    """
    defaults = {"connect": {"proxy_defaults": {"config": {"origin": "file"}}}}
    agent = _configured(
        lab, options=defaults, hcl='connect { proxy_defaults { config { origin = "command line" } } }'
    )
    assert proxy_config(agent, "web-proxy")["Config"]["origin"] == "command line"


@requirement("configuration/nested/01")
def check_sidecar_cannot_hold_a_managed_proxy(lab: Lab) -> None:
    """Start an agent with a managed proxy inside a ``sidecar_service`` block.

    It gives up with an exit code above 0. Source: catalogue.
    """
    _rejected(lab, {"port": 8080, "connect": {"sidecar_service": {"connect": {"proxy": {}}}}}, "sidecar")


def _configured(
    lab: Lab, *, options: Mapping[str, Any] | None = None, hcl: str | None = None, **proxy: Any
) -> AgentUnderTest:
    """An agent with service ``web``, whose proxy is a probe with the keys given."""
    definition = lab.service("web", proxy={"command": lab.probe_proxy().command, **proxy})
    return lab.agent(definitions=[definition], options=options, hcl=hcl)


def _values(upstream: Mapping[str, Any]) -> dict[str, Any]:
    """An upstream without its empty fields: to leave them out and to show them empty are the same."""
    return {key: value for key, value in upstream.items() if value not in ("", None, 0, {}, [])}


def _runs_default_command(lab: Lab, *, key: str) -> None:
    probe = lab.probe_proxy()
    options = {"connect": {"proxy_defaults": {key: probe.command}}}
    agent = lab.agent(definitions=[lab.service("web", proxy={})], options=options)
    agent.proxy("web-proxy")
    lab.until("proxy_start", probe.starts, what=f"proxy_defaults.{key} runs for a service without a command")


def _with_default_command(
    lab: Lab, *, command: list[str], definitions: list[Mapping[str, Any]]
) -> AgentUnderTest:
    options = [{"connect": {"proxy_defaults": {key: command}}} for key in ("command", "daemon_command")]
    try:
        return lab.agent(definitions=definitions, options=options[0])
    except CheckFailure:
        return lab.agent(definitions=definitions, options=options[1])


@requirement("configuration/disabled/01")
def check_no_api_no_proxy(lab: Lab) -> None:
    """Start an agent with ``ports.http`` of -1 and a service that has a managed proxy.

    The agent runs and answers over DNS; no proxy is started. Source: catalogue; the original's 1.2.2 did not start.
    """
    probe = lab.probe_proxy()
    agent = lab.prepare(
        definitions=[lab.service("web", proxy={"command": probe.command})], options={"ports": {"http": -1}}
    )
    agent.launch()
    client = DnsClient(port=agent.dns_port, history=lab.history)

    def answers() -> bool:
        if agent.exit_code() is not None:
            raise CheckFailure(f"the agent ended with exit code {agent.exit_code()}")
        return bool(client.ask("consul.service.consul").data("A"))

    lab.until("agent_ready", answers, what="the agent answers over DNS")
    lab.holds("quiet", lambda: not agent.proxies() and not probe.starts(), what="no proxy is started")
