"""What an end-to-end test needs of an agent, whichever agent it is; and the real one, when there is one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Protocol

from tests.ports import free_ports


@dataclass(frozen=True, kw_only=True)
class Definition:
    """A service with a managed proxy: ``port`` is its application's; ``config`` holds ``bind_port`` at least."""

    name: str
    port: int
    config: Mapping[str, Any]
    upstreams: Sequence[Mapping[str, Any]] = field(default=())


class World(Protocol):
    """An agent that runs and can be changed. ``address`` is what CONSUL_HTTP_ADDR gets."""

    address: str

    def define(self, *definitions: Definition) -> None: ...
    def rotate_root(self) -> None: ...
    def kill(self) -> None: ...
    def start_again(self) -> None: ...


def ask(world: World, method: str, path: str, body: Any = None) -> Any:
    """One request to the agent; the decoded answer, or None when it is empty. Asserts status 200."""
    host, _, port = world.address.rpartition(":")
    connection = HTTPConnection(host, int(port), timeout=30)
    try:
        connection.request(method, path, json.dumps(body) if body is not None else None)
        response = connection.getresponse()
        raw = response.read()
    finally:
        connection.close()
    assert response.status == 200, (method, path, response.status, raw)
    return json.loads(raw) if raw else None


class Consul:
    """A real agent in development mode. Its own proxies stay off: the command that it would start is ``sleep``."""

    def __init__(self, binary: str, directory: Path) -> None:
        self._binary = binary
        self._directory = directory
        self.define()
        for attempt in range(5):  # a port that is free for TCP may be taken for UDP
            self._ports = free_ports(5)
            self.address = f"127.0.0.1:{self._ports[0]}"
            try:
                self.start_again()
            except ChildProcessError:
                if attempt == 4:
                    raise
            else:
                return

    def define(self, *definitions: Definition) -> None:
        services: list[dict[str, Any]] = [
            {
                "name": one.name,
                "port": one.port,
                "connect": {
                    "proxy": {
                        "command": ["/bin/sleep", "3600"],
                        "config": {"bind_address": "127.0.0.1", "disable_tcp_check": True, **one.config},
                        "upstreams": list(one.upstreams),
                    }
                },
            }
            for one in definitions
        ]
        path = self._directory / "services.json"
        path.write_text(json.dumps({"services": services}))
        if hasattr(self, "_process"):
            ask(self, "PUT", "/v1/agent/reload")

    def rotate_root(self) -> None:
        key = subprocess.run(
            ["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        config = {"PrivateKey": key, "LeafCertTTL": "72h", "RotationPeriod": "2160h"}
        ask(self, "PUT", "/v1/connect/ca/configuration", {"Provider": "consul", "Config": config})

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def start_again(self) -> None:
        http, dns, server, lan, wan = map(str, self._ports)
        command = [self._binary, "agent", "-dev", "-config-dir", str(self._directory)]
        command += ["-http-port", http, "-dns-port", dns, "-server-port", server, "-grpc-port", "-1"]
        command += ["-serf-lan-port", lan, "-serf-wan-port", wan]
        with open(self._directory / "agent.log", "ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self._directory, env={"PATH": os.defpath}
            )
        deadline = time.monotonic() + 60
        while True:
            try:
                assert ask(self, "GET", "/v1/agent/connect/ca/roots")["Roots"]
                ask(self, "GET", "/v1/agent/connect/ca/leaf/anybody")
                return
            except (AssertionError, OSError):
                if time.monotonic() > deadline:
                    self.close()
                if self._process.poll() is not None:
                    raise ChildProcessError((self._directory / "agent.log").read_text()) from None
                time.sleep(0.1)

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            self._process.wait()
