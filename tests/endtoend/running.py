"""What the end-to-end tests run: an agent of ours as a process, and whatever else it needs, all ended afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from reference.supervisor import linux

DEADLINE = 60.0
Found = TypeVar("Found")


def eventually(look: Callable[[], Found | None], what: str) -> Found:
    """Look until there is something to see; the things looked at here send no event."""
    deadline = time.monotonic() + DEADLINE
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < deadline, f"{what} did not happen within {DEADLINE:g} s"
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class Agent:
    """``proxyproof agent`` with a data directory, on free ports; may be killed and started again."""

    def __init__(self, folder: Path, definitions: Sequence[Mapping[str, Any]]) -> None:
        self.folder = folder
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        configuration = {
            "data_dir": str(folder / "data"),
            # The tests of a container or a build machine run as root.
            "connect": {"enabled": True, "proxy": {"allow_managed_root": True}},
            "bind_addr": "127.0.0.1",
            "ports": {"http": self.port, "dns": -1},
            "services": [definition["service"] for definition in definitions],
        }
        (folder / "agent.json").write_text(json.dumps(configuration))

    def start(self) -> None:
        command = [
            sys.executable,
            "-m",
            "proxyproof",
            "agent",
            "-config-file",
            str(self.folder / "agent.json"),
        ]
        # A changed environment is a reason to replace a proxy, and pytest's changes from one moment to the next.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        with (self.folder / "agent.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment
            )
        eventually(lambda: self.get("/v1/agent/self"), "the agent's answer")

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def get(self, path: str) -> Any:
        """The decoded answer, or ``None`` while there is none."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return json.load(answer)
        except (urllib.error.URLError, OSError):
            return None

    def healthy(self, service: str) -> None:
        eventually(lambda: self.get(f"/v1/health/connect/{service}?passing"), f"a healthy proxy of {service}")

    def proxies(self) -> dict[str, int]:
        """The pids in the pid files, by proxy id."""
        return {path.stem: int(path.read_text()) for path in (self.folder / "data/proxy/pids").glob("*.pid")}

    def end(self) -> None:
        """End the agent and every proxy that it left running."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        for proxy_id, pid in self.proxies().items():
            if (linux.environment(pid) or {}).get("CONNECT_PROXY_ID") == proxy_id:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)


@contextlib.contextmanager
def agent(folder: Path, *definitions: Mapping[str, Any]) -> Iterator[Agent]:
    """A running agent; when the test fails, the end of its log is printed."""
    running = Agent(folder, definitions)
    try:
        running.start()
        yield running
    except BaseException:
        for log in (folder / "agent.log", *(folder / "data/proxy/logs").glob("*.log")):
            print(f"--- {log.name}", *log.read_text().splitlines()[-25:], sep="\n")
        raise
    finally:
        running.end()


def connect(port: int) -> socket.socket:
    """A connection through a port that may not be listening yet."""

    def attempt() -> socket.socket | None:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=DEADLINE)
        except OSError:
            return None

    return eventually(attempt, f"a connection to port {port}")
