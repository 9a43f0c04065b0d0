"""Logs: what proxies print is captured in two files each, and the built-in one speaks at the agent's level."""

from __future__ import annotations

import re
import socket
from contextlib import suppress
from pathlib import Path

from conformance.checks._situations import accepted, connects, content, deregister, end, mesh, supervision
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


@requirement("logs/level/03")
def check_debug_log_tells_refusals(lab: Lab) -> None:
    """Deny ``web`` to ``redis`` by an intention at ``log_level`` DEBUG, connect, and read the log of redis-proxy.

    It names ``web`` in a line that tells of a refusal. Source: document, Managed Proxy Logs ("authorization
    information").
    """
    pair = mesh(lab, lab.use(EchoServer()), options={"log_level": "DEBUG"})
    denial = {"SourceName": "web", "DestinationName": "redis", "Action": "deny"}
    accepted(pair.agent.api.post("/v1/connect/intentions", denial))
    lab.until("intention", lambda: not pair.exchange(b"?"), what="new connections are refused")
    # A connection that was there before the denial is another matter.
    before = len(_text(pair.agent, "redis-proxy"))
    assert pair.exchange(b"?") == b""

    def told() -> bool:
        return any(
            "/svc/web" in line and re.search("refus|den[iy]|not authorized|unauthorized", line, re.IGNORECASE)
            for line in _text(pair.agent, "redis-proxy")[before:].splitlines()
        )

    lab.until("log_written", told, what="the refusal of /svc/web in the log of the proxy of redis")


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


@requirement("logs/rotate/01")
def check_log_of_the_builtin_proxy_stays_small(lab: Lab) -> None:
    """Configure a log size of 8 KiB at log level DEBUG, and connect to the built-in proxy 400 times without TLS.

    Its log tells each refused connection by its port, across the files that were put aside, and none of these is much
    larger than it may be, or open to others than its owner. Source: hardening.
    """
    agent = lab.agent(
        definitions=[lab.service("redis", proxy={})],
        options={
            "log_level": "DEBUG",
            **supervision(log_rotate_bytes=8192, log_rotate_max_files=1000),
        },
    )
    port = agent.services()["redis-proxy"]["Port"]
    agent.proxy("redis-proxy")
    lab.until("proxy_listens", lambda: connects(port), what="the proxy listens")
    sources = [_intrude(port) for _ in range(400)]

    def told() -> bool:
        text = b"".join(content(path) for path in agent.log_dir.glob("redis-proxy-stdout.log*")).decode()
        missing = [source for source in sources if f":{source} " not in text]
        assert not missing, f"{len(missing)} of {len(sources)} refusals are not logged"
        return True

    lab.until("log_written", told, what="every refusal is in the logs")
    _are_small(agent, "redis-proxy-stdout.log", 8192)


@requirement("logs/rotate/02", takes=20)
def check_log_of_a_custom_proxy_stays_small(lab: Lab) -> None:
    """Configure a log size of 8 KiB, and let a custom proxy count aloud to 60,000, which takes about 12 seconds.

    All numbers stand, in order, in the log and in at least two files that were put aside, and the log is small in the
    end. Source: hardening.
    """
    script = (
        "i=0; while [ $i -lt 60000 ]; do i=$((i+1)); echo $i; [ $((i % 50)) = 0 ] && sleep 0.01; done;"
        "exec sleep 600"
    )
    agent = lab.agent(
        definitions=[lab.service("web", proxy={"command": ["/bin/sh", "-c", script]})],
        options=supervision(log_rotate_bytes=8192, log_rotate_max_files=1000),
    )
    log = agent.log_dir / "web-proxy-stdout.log"
    lab.until("log_written", lambda: content(log), what="the first number is logged")
    counted = b"".join(b"%d\n" % number for number in range(1, 60_001))
    length = len(counted)

    def small() -> bool:
        paths = sorted(agent.log_dir.glob(f"{log.name}.*"), key=_number, reverse=True)
        text = b"".join(content(path) for path in (*paths, log))
        assert len(text) >= length, f"{len(text)} of {length} bytes are there"
        complete = text == counted  # compared here, because pytest would explain the difference for minutes
        assert complete, "a number is lost, or out of order"
        return len(paths) > 1 and len(content(log)) < 2 * 8192

    lab.until("log_rotated", small, what="all numbers are there, and the log is small")


def _intrude(port: int) -> int:
    """Say something that is no TLS to a listener; the port from which it was said."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        source: int = connection.getsockname()[1]
        connection.sendall(b"hello\r\n\r\n")
        with suppress(OSError):
            while connection.recv(1024):
                pass
    return source


def _number(path: Path) -> int:
    """Of a file that was put aside: the newest has the lowest number."""
    return int(path.suffix[1:]) if path.suffix[1:].isdigit() else 0


def _are_small(agent: AgentUnderTest, name: str, limit: int) -> None:
    sizes = {path.name: path.stat().st_size for path in agent.log_dir.glob(f"{name}*")}
    assert len(sizes) > 1, "nothing was put aside"
    assert max(sizes.values()) < 2 * limit, sizes
    modes = {path.stat().st_mode & 0o777 for path in agent.log_dir.glob(f"{name}*")}
    assert modes == {0o600}, f"modes {sorted(map(oct, modes))}"


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
