"""What a start imports is what it costs: nothing may creep in that only a few agents or proxies ever need."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.agents import running_agent
from tests.waiting import DEADLINE

_IMPORTED = re.compile(r"^import time: +\d+ \| +\d+ \| *([\w.]+)$", re.MULTILINE)

#: Packages that wait until somebody needs them, and what that is.
_NOT_BY_AGENTS = {
    "cryptography": "the first certificate",
    "dns": "the first DNS query",
    "prometheus_client": "metrics in the form of Prometheus",
    "re2": "a prepared query with a regular expression",
    "jinja2": "reports of the suite",
    "pytest": "runs of the suite",
    "rich": "runs of the suite",
    "trustme": "the suite's authorities",
}
_NOT_BY_PROXIES = {
    **_NOT_BY_AGENTS,
    "asyncio": "the agent",
    "msgspec": "the agent",
    "starlette": "the agent",
    "uvicorn": "the agent",
}
#: Some more than there are (on 3.11: 531 and 130): a module of ours is welcome, another library is a decision.
_MOST_BY_AGENTS = 560
_MOST_BY_PROXIES = 170


@pytest.fixture
def telling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python tells each import on standard error, in this process's children."""
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")


@pytest.mark.usefixtures("telling")
def test_an_agent_imports_what_it_needs_to_run(tmp_path: Path) -> None:
    with running_agent(tmp_path) as one:
        code, said = one.end(signal.SIGTERM)
    assert code == 0, said
    _is_little(_IMPORTED.findall(said), _NOT_BY_AGENTS, _MOST_BY_AGENTS)


@pytest.mark.usefixtures("telling")
def test_a_proxy_imports_what_it_needs_to_run() -> None:
    # Nobody listens there: the proxy says so, and tries again until it is ended.
    command = [
        sys.executable,
        "-m",
        "proxyproof",
        "connect",
        "proxy",
        "-service",
        "web",
        "-upstream",
        "db:9999",
    ]
    proxy = subprocess.Popen(
        [*command, "-http-addr", "127.0.0.1:1"],
        env={**os.environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert proxy.stdout is not None
    said = ""
    while "127.0.0.1:1" not in said and (line := proxy.stdout.readline()):
        said += line
    proxy.terminate()
    said += proxy.communicate(timeout=DEADLINE)[0]
    _is_little(_IMPORTED.findall(said), _NOT_BY_PROXIES, _MOST_BY_PROXIES)


def _is_little(modules: list[str], unwanted: dict[str, str], most: int) -> None:
    assert "proxyproof.start" in modules
    too_early = {name: why for name in modules if (why := unwanted.get(name))}
    assert not too_early, f"imported at the start: {too_early}"
    assert len(modules) <= most
