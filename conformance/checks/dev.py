"""Development mode: without a data directory proxies end with their agent and leave no trace."""

from __future__ import annotations

import signal

from conformance.checks._situations import IDLE, content, end, token_of
from conformance.plugin.lab import Lab
from conformance.plugin.marks import requirement


@requirement("dev/exit/01")
def check_sigterm_ends_the_proxies(lab: Lab) -> None:
    """Start an agent with ``-dev`` and no data directory, and stop it with SIGTERM.

    Its managed proxies, custom and default, end. Source: document, Lifecycle.
    """
    _ends_proxies(lab, signal.SIGTERM)


@requirement("dev/exit/02")
def check_sigint_ends_the_proxies(lab: Lab) -> None:
    """Start an agent with ``-dev`` and no data directory, and stop it with SIGINT.

    Its managed proxies, custom and default, end. Source: document, Lifecycle.
    """
    _ends_proxies(lab, signal.SIGINT)


@requirement("dev/exit/03")
def check_sigkill_ends_the_proxies(lab: Lab) -> None:
    """Start an agent with ``-dev`` and no data directory, and kill it with SIGKILL.

    Its managed proxies end. Source: hardening; nobody can ever take them over again.
    """
    _ends_proxies(lab, signal.SIGKILL)


@requirement("dev/exit/04", takes=6)
def check_stubborn_proxy_ends_with_its_agent(lab: Lab) -> None:
    """Start an agent with ``-dev`` and no data directory and a proxy that ignores SIGINT, and stop it with SIGTERM.

    The proxy is killed before the agent has ended, or soon after. Source: document, Lifecycle.
    """
    probe = lab.probe_proxy(ignore_sigint=True)
    agent = lab.agent(definitions=[lab.service("web", proxy={"command": probe.command})], data_dir=False)
    lab.until("proxy_start", probe.starts, what="the proxy handles signals")
    agent.stop(signal.SIGTERM)
    lab.until("proxy_end_with_agent", lambda: not agent.proxies(), what="the proxy ends with its agent")


@requirement("dev/logs/01")
def check_no_log_without_a_data_directory(lab: Lab) -> None:
    """Start an agent with ``-dev`` and no data directory, with a managed proxy that prints.

    No log file and no pid file appears in its working directory. Source: document, Managed Proxy Logs.
    """
    command = ["/bin/sh", "-c", "echo loud; echo louder >&2; exec sleep 600"]
    agent = lab.agent(definitions=[lab.service("web", proxy={"command": command})], data_dir=False)
    proxy = agent.proxy("web-proxy")
    directory = agent.process.directory()
    assert proxy.alive()
    lab.holds(
        "blink",
        lambda: not [path for pattern in ("*std*.log", "*.pid") for path in directory.rglob(pattern)],
        what="no log file and no pid file is written",
    )


@requirement("dev/logs/02")
def check_printing_proxy_runs_on_without_a_data_directory(lab: Lab) -> None:
    """Start an agent with ``-dev`` and no data directory, with a managed proxy that prints far more than a pipe holds
    to standard output, then to standard error, and becomes another program.

    It gets so far. Source: document, Managed Proxy Logs (logging is disabled, proxies are not).
    """
    printing = (
        "i=0; while [ $i -lt 5000 ]; do echo 0123456789012345678901234567890123456789; i=$((i+1)); done"
    )
    command = ["/bin/sh", "-c", f"{printing}; {{ {printing}; }} >&2; exec sleep 601"]
    agent = lab.agent(definitions=[lab.service("web", proxy={"command": command})], data_dir=False)
    proxy = agent.proxy("web-proxy")
    lab.until("proxy_start", lambda: proxy.argv() == ["sleep", "601"], what="the proxy has printed all of it")


@requirement("dev/data-dir/01")
def check_data_directory_keeps_proxies(lab: Lab) -> None:
    """Start an agent with ``-dev`` and ``-data-dir``, and stop it with SIGTERM.

    Its managed proxy stays running. Source: document, Managed Proxy Logs.
    """
    agent = lab.agent(definitions=[lab.service("web", proxy={"command": IDLE})])
    proxy = agent.proxy("web-proxy")
    agent.stop()
    lab.holds("blink", proxy.alive, what="the proxy stays running")


@requirement("dev/data-dir/02")
def check_data_directory_gets_logs(lab: Lab) -> None:
    """Start an agent with ``-dev`` and ``-data-dir``, with a managed proxy that prints.

    The line is in the log below that directory. Source: document, Managed Proxy Logs.
    """
    command = ["/bin/sh", "-c", "echo loud; exec sleep 600"]
    agent = lab.agent(definitions=[lab.service("web", proxy={"command": command})])
    log = agent.log_dir / "web-proxy-stdout.log"
    lab.until("log_written", lambda: content(log) == b"loud\n", what="the line is logged")


@requirement("dev/supervise/01")
def check_crash_is_restarted(lab: Lab) -> None:
    """Start an agent with ``-dev`` and no data directory, and kill its managed proxy.

    A new process runs with the same token. Source: document, Lifecycle.
    """
    agent = lab.agent(definitions=[lab.service("web", proxy={"command": IDLE})], data_dir=False)
    proxy = agent.proxy("web-proxy")
    token = token_of(proxy)
    end(proxy)
    assert token_of(agent.proxy("web-proxy", other_than=proxy)) == token


def _ends_proxies(lab: Lab, number: signal.Signals) -> None:
    agent = lab.agent(
        definitions=[lab.service("web", proxy={"command": IDLE}), lab.service("redis", proxy={})],
        data_dir=False,
    )
    agent.proxy("web-proxy")
    agent.proxy("redis-proxy")
    agent.stop(number)
    lab.until("proxy_end_with_agent", lambda: not agent.proxies(), what=f"the proxies end with {number.name}")
