"""An agent of ours as a process, with whatever it starts; nothing of it is left afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx

from tests.ports import free_port, free_ports
from tests.waiting import DEADLINE, eventually

SLEEP = ["/bin/sleep", "1000"]
#: What the processes of one agent are known by; inherited, and the same each time the agent is started.
_MARK = "PROXYPROOF_TEST_AGENT"


class Agent:
    """One agent in one folder, on ports of its own; may be ended and started again.

    ``config`` is added to its configuration; ``reached_by`` asks it where that is not plain HTTP on ``port``, with
    ``token`` where it wants one. What it says is in ``said``.
    """

    def __init__(
        self,
        folder: Path,
        *services: Mapping[str, Any],
        dev: bool = False,
        data: bool = True,
        reached_by: httpx.Client | None = None,
        token: str = "",
        **config: Any,
    ) -> None:
        self.folder = folder
        self.said = folder / "said.log"
        self.port = free_port()
        self.client = reached_by or httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=DEADLINE)
        self.client.headers.update({"X-Consul-Token": token} if token else {})
        self.arguments = ["-dev"] if dev else []
        self.arguments += ["-data-dir", str(folder / "data")] if data else []
        low, high = (ports := free_ports(8))[0], ports[-1]
        self.config: dict[str, Any] = {
            "bind_addr": "127.0.0.1",
            # The tests of a container or a build machine run as root.
            "connect": {"enabled": True, "proxy": {"allow_managed_root": True}},
            **config,
            "ports": {
                "http": self.port,
                "dns": -1,
                "proxy_min_port": low,
                "proxy_max_port": high,
                **config.get("ports", {}),
            },
        }
        self.process: subprocess.Popen[bytes] | None = None
        self._said_before = 0
        self.define(*services)

    def define(self, *services: Mapping[str, Any]) -> None:
        """Write the configuration, with these services."""
        (self.folder / "agent.json").write_text(json.dumps({**self.config, "services": services}))

    def command(self) -> list[str]:
        agent = [sys.executable, "-m", "proxyproof", "agent", "-config-file", str(self.folder / "agent.json")]
        return agent + self.arguments

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start it, and do not wait until it answers."""
        # A changed environment is a reason to replace a proxy, and pytest's changes from one moment to the next.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        environment[_MARK] = str(self.folder)
        with self.said.open("ab") as said:
            self._said_before = said.tell()
            self.process = subprocess.Popen(
                self.command(), stdout=said, stderr=said, stdin=subprocess.DEVNULL, env=environment
            )
        return self.process

    def start(self) -> None:
        process = self.spawn()

        def answers() -> object:
            assert process.poll() is None, f"the agent has ended:\n{self.output()}"
            return self.get("/v1/agent/self")

        eventually(answers, "the agent's answer")

    def output(self) -> str:
        """What it has said since it was started last."""
        return self.said.read_bytes()[self._said_before :].decode()

    def fails(self) -> str:
        """What it says when it is started and ends with an error, as is expected here."""
        assert self.spawn().wait(DEADLINE) == 1, self.output()
        return self.output()

    def end(self, number: int) -> tuple[int, str]:
        """Send a signal that ends it: exit code and output."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(DEADLINE), self.output()

    def kill(self) -> None:
        self.end(signal.SIGKILL)

    def get(self, path: str) -> Any:
        """The decoded answer, or ``None`` while there is none."""
        try:
            answer = self.client.get(path)
        except httpx.TransportError:
            return None
        return answer.json() if answer.is_success else None

    def put(self, path: str, body: Any = None) -> httpx.Response:
        return self.client.put(path, json=body)

    def healthy(self, service: str) -> None:
        """Wait until a proxy of the service is."""
        eventually(lambda: self.get(f"/v1/health/connect/{service}?passing"), f"a healthy proxy of {service}")

    def running(self) -> dict[str, tuple[int, str]]:
        """Pid and token of each proxy of this agent, by id; without what proxies have started."""
        found = {}
        mine = f"{_MARK}={self.folder}\0".encode()
        for entry in Path("/proc").iterdir():
            if not entry.name.isdecimal():
                continue
            pid = int(entry.name)
            try:
                environment = (entry / "environ").read_bytes()
                if mine not in environment or os.getsid(pid) != pid:
                    continue
            except OSError:
                continue
            pairs = dict(
                pair.partition("=")[::2] for pair in environment.decode(errors="replace").split("\0")
            )
            if "CONNECT_PROXY_ID" in pairs:
                found[pairs["CONNECT_PROXY_ID"]] = (pid, pairs["CONNECT_PROXY_TOKEN"])
        return found

    def runs(self, *proxy_ids: str) -> dict[str, tuple[int, str]]:
        """Its proxies, once they are exactly these."""

        def exactly() -> tuple[dict[str, tuple[int, str]]] | None:
            running = self.running()
            return (running,) if set(running) == set(proxy_ids) else None

        return eventually(exactly, f"proxies {proxy_ids}")[0]

    def close(self) -> None:
        """End it, and everything that it left running."""
        self.client.close()
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        for pid, _ in self.running().values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)


@contextlib.contextmanager
def closing(one: Agent) -> Iterator[Agent]:
    """Close an agent at the end; when the test fails, print the end of what it and its proxies said."""
    try:
        yield one
    except BaseException:
        for log in (one.said, *(one.folder / "data/proxy/logs").glob("*.log")):
            if log.exists():
                print(f"--- {log.name}", *log.read_text(errors="replace").splitlines()[-25:], sep="\n")
        raise
    finally:
        one.close()


@contextlib.contextmanager
def agent(folder: Path, *services: Mapping[str, Any], **options: Any) -> Iterator[Agent]:
    """An agent that is not running yet; ``options`` as of :class:`Agent`."""
    with closing(Agent(folder, *services, **options)) as one:
        yield one


@contextlib.contextmanager
def running_agent(folder: Path, *services: Mapping[str, Any], **options: Any) -> Iterator[Agent]:
    """An agent that answers."""
    with agent(folder, *services, **options) as one:
        one.start()
        yield one


def service(name: str, command: list[str] | None = None, **config: Any) -> dict[str, Any]:
    """A service with a proxy that is no proxy: it sleeps."""
    proxy = {"command": command or SLEEP, "config": config}
    return {"name": name, "port": 1, "connect": {"proxy": proxy}}


def connect(port: int) -> socket.socket:
    """A connection through a port that may not be listening yet."""

    def attempt() -> socket.socket | None:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=DEADLINE)
        except OSError:
            return None

    return eventually(attempt, f"a connection to port {port}")
