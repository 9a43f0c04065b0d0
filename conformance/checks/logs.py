"""Logs: what proxies print is captured in two files each, and the built-in one speaks at the agent's level."""

from __future__ import annotations

from pathlib import Path

from conformance.checks._situations import accepted, connects, content, deregister, end, mesh
from conformance.instruments.echo import EchoServer
from conformance.plugin.lab import AgentUnderTest, Lab
from conformance.plugin.marks import requirement

#: Bytes that a line-oriented or decoding capture would change: no final newline, no UTF-8, a carriage return.
AWKWARD = b"first\nsecond\r\n\xff\xfe no newline"
_OCTAL = "".join(f"\\{byte:03o}" for byte in AWKWARD)


@requirement("logs/capture/01")
def check_stdout_is_captured(lab: Lab) -> None:
    """Let a managed proxy write bytes to standard output that are neither lines nor UTF-8.

    They stand, exactly, in ``<data_dir>/proxy/logs/web-proxy-stdout.log``, and not in the other file.
    Source: document, Managed Proxy Logs.
    """
    agent = _saying(lab, f"printf '{_OCTAL}'; exec sleep 600")
    _logged(lab, agent.log_dir / "web-proxy-stdout.log", AWKWARD)
    assert content(agent.log_dir / "web-proxy-stderr.log") == b""


@requirement("logs/capture/02")
def check_stderr_is_captured(lab: Lab) -> None:
    """Let a managed proxy write bytes to standard error that are neither lines nor UTF-8.

    They stand, exactly, in ``<data_dir>/proxy/logs/web-proxy-stderr.log``, and not in the other file.
    Source: document, Managed Proxy Logs.
    """
    agent = _saying(lab, f"printf '{_OCTAL}' >&2; exec sleep 600")
    _logged(lab, agent.log_dir / "web-proxy-stderr.log", AWKWARD)
    assert content(agent.log_dir / "web-proxy-stdout.log") == b""


@requirement("logs/append/01")
def check_logs_are_continued(lab: Lab) -> None:
    """Let a managed proxy write a line, kill it, and kill it again after a restart of the agent.

    The log holds the lines of all three starts. Source: catalogue.
    """
    agent = _saying(lab, "echo line; exec sleep 600")
    log = agent.log_dir / "web-proxy-stdout.log"
    first = agent.proxy("web-proxy")
    _logged(lab, log, b"line\n")
    end(first)
    second = agent.proxy("web-proxy", other_than=first)
    _logged(lab, log, b"line\n" * 2)
    agent.stop()
    end(second)
    agent.start()
    agent.proxy("web-proxy", other_than=second)
    _logged(lab, log, b"line\n" * 3)


@requirement("logs/append/02")
def check_logs_stay_after_deregistration(lab: Lab) -> None:
    """Let a managed proxy write a line, deregister its service, and look for the line.

    It is still there, for whoever wants to know why. Source: catalogue.
    """
    agent = _saying(lab, "echo line; exec sleep 600")
    log = agent.log_dir / "web-proxy-stdout.log"
    _logged(lab, log, b"line\n")
    accepted(deregister(agent, "web"))
    lab.until("proxy_stop", lambda: not agent.proxies("web-proxy"), what="the proxy is stopped")
    assert content(log) == b"line\n"


@requirement("logs/mode/01")
def check_logs_are_private(lab: Lab) -> None:
    """Look at the log files of a managed proxy.

    Their mode is 0600. Source: catalogue.
    """
    agent = _saying(lab, "echo line; exec sleep 600")
    _logged(lab, agent.log_dir / "web-proxy-stdout.log", b"line\n")
    modes = {path.name: path.stat().st_mode & 0o777 for path in agent.log_dir.glob("web-proxy-std*.log")}
    assert set(modes.values()) == {0o600}, {name: oct(mode) for name, mode in modes.items()}


@requirement("logs/level/01")
def check_debug_level_is_inherited(lab: Lab) -> None:
    """Start an agent with ``log_level`` DEBUG and an empty ``connect.proxy`` with an upstream; use the upstream.

    The log of the proxy has DEBUG lines. Source: document, Managed Proxy Logs.
    """
    pair = mesh(lab, lab.use(EchoServer()), options={"log_level": "DEBUG"})
    lab.until(
        "log_written", lambda: "DEBUG" in _text(pair.agent, "web-proxy"), what="a DEBUG line of the proxy"
    )


@requirement("logs/level/01")
def check_quiet_level_is_inherited(lab: Lab) -> None:
    """Start an agent with ``log_level`` WARN and an empty ``connect.proxy``, and connect to its listener.

    The log of the proxy has neither DEBUG nor INFO lines. Source: document, Managed Proxy Logs.
    """
    agent = lab.agent(definitions=[lab.service("redis", proxy={})], options={"log_level": "WARN"})
    port = agent.services()["redis-proxy"]["Port"]
    agent.proxy("redis-proxy")
    lab.until("proxy_listens", lambda: connects(port), what="the proxy listens")
    text = _text(agent, "redis-proxy")
    assert "[DEBUG]" not in text
    assert "[INFO]" not in text


@requirement("logs/level/02")
def check_debug_log_tells_discovery_and_identity(lab: Lab) -> None:
    """Let ``web`` reach ``redis`` through both proxies at ``log_level`` DEBUG, and read the log of web's proxy.

    It tells the identity of web and that redis was discovered. Source: document, Managed Proxy Logs.
    """
    pair = mesh(lab, lab.use(EchoServer()), options={"log_level": "DEBUG"})

    def told() -> bool:
        text = _text(pair.agent, "web-proxy")
        return "/svc/web" in text and "/svc/redis" in text

    lab.until("log_written", told, what="the identities /svc/web and /svc/redis in the log of web's proxy")


@requirement("logs/survive/01")
def check_output_is_captured_without_an_agent(lab: Lab) -> None:
    """Let a managed proxy count aloud, and kill its agent.

    The log goes on growing, without a gap. Source: document, Managed Proxy Logs and Lifecycle.
    """
    agent = _saying(lab, "i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done")
    log = agent.log_dir / "web-proxy-stdout.log"
    lab.until("log_written", lambda: content(log), what="the first number is logged")
    agent.crash()
    written = len(log.read_text().splitlines())
    lab.until(
        "log_written", lambda: len(log.read_text().splitlines()) >= written + 10, what="ten numbers more"
    )
    numbers = [int(line) for line in log.read_text().splitlines(keepends=True) if line.endswith("\n")]
    assert numbers == list(range(1, len(numbers) + 1))


def _saying(lab: Lab, script: str) -> AgentUnderTest:
    return lab.agent(definitions=[lab.service("web", proxy={"command": ["/bin/sh", "-c", script]})])


def _logged(lab: Lab, path: Path, expected: bytes) -> None:
    lab.until(
        "log_written",
        lambda: content(path) == expected,
        what=f"{expected!r} in {path.name}",
    )


def _text(agent: AgentUnderTest, proxy_id: str) -> str:
    return "".join(path.read_text(errors="replace") for path in agent.log_dir.glob(f"{proxy_id}-std*.log"))
