"""Custom managed proxies: the command, its mode, and the config that only the proxy understands."""

from __future__ import annotations

from conformance.checks._situations import (
    ALLOW_API,
    IDLE,
    accepted,
    only,
    proxy_config,
    register,
    starts,
    token_of,
    variable,
)
from conformance.instruments.api import ApiClient
from conformance.plugin.lab import Lab
from conformance.plugin.marks import requirement

#: Arguments that a shell, a splitter of words or a stripper of spaces would change.
AWKWARD = [
    "-flag-example",
    "",
    " spaces ",
    "$HOME",
    "a;b",
    "*",
    "\"quoted\" and 'quoted'",
    "line\nbreak",
    "ünïcödé",
]


@requirement("custom/command/01")
def check_command_is_executed_as_written(lab: Lab) -> None:
    """Give a managed proxy a command with empty, spaced, quoted and shell-like arguments.

    The process gets exactly these. Source: document, Custom Managed Proxy.
    """
    probe = lab.probe_proxy()
    command = [*probe.command, *AWKWARD]
    agent = lab.agent(definitions=[lab.service("web", proxy={"command": command})])
    proxy = agent.proxy("web-proxy")
    start = only(starts(lab, probe, 1))
    assert start.argv[-len(AWKWARD) :] == AWKWARD
    assert start.pid == proxy.pid, "something stands between the agent and the command"


@requirement("custom/command/02")
def check_path_is_not_searched(lab: Lab) -> None:
    """Give a managed proxy the command ``sleep`` without a directory.

    No process of it runs. Source: catalogue; what PATH names is not what the operator wrote.
    """
    agent = lab.agent(definitions=[lab.service("web", proxy={"command": ["sleep", "600"]})])
    lab.holds("quiet", lambda: not agent.proxies("web-proxy"), what="no process is started")


@requirement("custom/mode/01")
def check_daemon_mode(lab: Lab) -> None:
    """Give a managed proxy the execution mode ``daemon`` and a command, as in the document's example.

    The command runs as one process. Source: document, Custom Managed Proxy.
    """
    probe = lab.probe_proxy()
    proxy = {"exec_mode": "daemon", "command": [*probe.command, "-flag-example"], "config": {"foo": "bar"}}
    agent = lab.agent(definitions=[lab.service("web", proxy=proxy)])
    running = agent.proxy("web-proxy")
    lab.until("proxy_start", probe.starts, what="the custom proxy runs")
    lab.holds("blink", lambda: agent.proxies("web-proxy") == [running], what="it is one process")
    assert proxy_config(agent, "web-proxy")["ExecMode"] == "daemon"


@requirement("custom/mode/02")
def check_unknown_mode_is_an_error(lab: Lab) -> None:
    """Give a managed proxy the execution mode ``carousel``.

    The agent ends with an exit code above 0 and a message that names it. Source: document, Custom Managed Proxy.
    """
    proxy = {"exec_mode": "carousel", "command": ["/bin/sleep", "600"]}
    finished = lab.start_expecting_failure(definitions=[lab.service("web", proxy=proxy)])
    assert finished.exit_code > 0
    assert "carousel" in finished.output


@requirement("custom/mode/03")
def check_script_mode_starts_nothing(lab: Lab) -> None:
    """Register a service over HTTP whose managed proxy has the execution mode ``script``.

    Whether it is refused or registered, no process is started. Source: document, Custom Managed Proxy.
    """
    probe = lab.probe_proxy()
    agent = lab.agent(options=ALLOW_API)
    register(agent, "web", port=8080, proxy={"ExecMode": "script", "Command": probe.command})
    lab.holds("quiet", lambda: not agent.proxies() and not probe.starts(), what="no process is started")


@requirement("custom/mode/03")
def check_script_mode_by_default_starts_nothing(lab: Lab) -> None:
    """Set ``connect.proxy_defaults.exec_mode`` to ``script``, and define a service with a managed proxy that has none.

    No process is started. Source: document, Custom Managed Proxy.
    """
    probe = lab.probe_proxy()
    agent = lab.agent(
        definitions=[lab.service("web", proxy={"command": probe.command})],
        options={"connect": {"proxy_defaults": {"exec_mode": "script"}}},
    )
    lab.holds("quiet", lambda: not agent.proxies() and not probe.starts(), what="no process is started")


@requirement("custom/mode/04")
def check_unknown_mode_is_refused_over_http(lab: Lab) -> None:
    """Register a service whose managed proxy has an unknown ``exec_mode``, over HTTP, where that is allowed.

    It is answered 400, and nothing of it is registered. Source: catalogue.
    """
    agent = lab.agent(options=ALLOW_API)
    answer = register(agent, "web", port=8080, proxy={"ExecMode": "foo", "Command": IDLE})
    assert answer.status == 400, f"the registration was answered {answer.status}"
    assert not {"web", "web-proxy"} & set(agent.services())


@requirement("custom/mode/05")
def check_unknown_default_mode_is_an_error(lab: Lab) -> None:
    """Set ``connect.proxy_defaults.exec_mode`` to ``foo``, and define a service with a managed proxy.

    The agent gives up with an exit code above 0 and names the mode. Source: catalogue.
    """
    finished = lab.start_expecting_failure(
        definitions=[lab.service("web", proxy={"command": IDLE})],
        options={"connect": {"proxy_defaults": {"exec_mode": "foo"}}},
    )
    assert finished.exit_code > 0
    assert "foo" in finished.output


@requirement("custom/config/01")
def check_config_is_opaque(lab: Lab) -> None:
    """Give a managed proxy a config with strings, numbers, booleans, lists and nested objects.

    Its configuration endpoint gives back each of them unchanged. Source: document, Custom Managed Proxy.
    """
    config = {
        "foo": "bar",
        "Mixed-Case_key": "kept",
        "integer": 9000,
        "fraction": 0.5,
        "yes": True,
        "no": False,
        "list": ["a", 1, True],
        "nested": {"a": [1, 2], "b": {"c": "d"}},
        "text": 'ünïcödé "quoted" $HOME\n',
    }
    probe = lab.probe_proxy()
    agent = lab.agent(definitions=[lab.service("web", proxy={"command": probe.command, "config": config})])
    answer = proxy_config(agent, "web-proxy")["Config"]
    assert {key: answer.get(key) for key in config} == config


@requirement("custom/config/02")
def check_config_is_optional(lab: Lab) -> None:
    """Give a managed proxy a command and nothing else.

    It runs, and its configuration endpoint tells address and port. Source: document, Custom Managed Proxy.
    """
    probe = lab.probe_proxy()
    agent = lab.agent(definitions=[lab.service("web", proxy={"command": probe.command})])
    assert agent.proxy("web-proxy").alive()
    config = proxy_config(agent, "web-proxy")["Config"]
    assert config["bind_address"]
    assert config["bind_port"] == agent.services()["web-proxy"]["Port"]


@requirement("custom/retrieve/01")
def check_environment_is_enough(lab: Lab) -> None:
    """Take the environment that a custom proxy was given, and nothing else, and call the agent with it.

    Configuration, roots and the leaf of the service are answered. Source: document, Custom Managed Proxy.
    """
    probe = lab.probe_proxy()
    lab.agent(definitions=[lab.service("web", proxy={"command": probe.command})])
    start = only(starts(lab, probe, 1))
    address, _, port = variable(start, "CONSUL_HTTP_ADDR").removeprefix("http://").rpartition(":")
    assert address in ("127.0.0.1", "localhost", "[::1]")
    api = ApiClient(port=int(port), history=lab.history, timeout=lab.budget("http"))
    token = token_of(start)
    proxy_id = variable(start, "CONNECT_PROXY_ID")
    config = accepted(api.get(f"/v1/agent/connect/proxy/{proxy_id}", token=token)).json
    paths = [f"/v1/agent/connect/ca/{path}" for path in ("roots", f"leaf/{config['TargetServiceName']}")]
    lab.until(
        "authority",
        lambda: [accepted(api.get(path, token=token)) for path in paths],
        what="roots and leaf are answered",
    )
