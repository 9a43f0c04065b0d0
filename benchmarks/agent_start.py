"""What the start of an agent costs: ``python -m benchmarks.agent_start [--rounds N] [--binary CONSUL]``.

A bare ``python -c pass``, the agent with one service, and with ``--binary`` a release of Consul are started in
turn, round after round. Told are the medians of the time until the agent answers: of the processors, which another
load on the machine disturbs least, with the ratio to the bare interpreter, and by the clock.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

_PATIENCE = 60.0
_PORTS = ("http", "dns", "server", "serf_lan", "serf_wan")


class Start(NamedTuple):
    """One start: seconds of processor time, and by the clock."""

    cpu: float
    clock: float


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rounds", type=int, default=9)
    options.add_argument("--binary", help="a release of Consul to compare with")
    given = options.parse_args()
    agents = {"agent": (sys.executable, "-m", "proxyproof")}
    if given.binary:
        agents["consul"] = (given.binary,)
    starts: dict[str, list[Start]] = {"python -c pass": [], **{name: [] for name in agents}}
    for _ in range(given.rounds):
        starts["python -c pass"].append(_ended((sys.executable, "-c", "pass")))
        for name, command in agents.items():
            starts[name].append(_answering(command))
    bare = statistics.median(start.cpu for start in starts["python -c pass"])
    print(f"{'':<16}{'CPU':>10}{'to bare':>9}{'clock':>11}")
    for name, found in starts.items():
        cpu, clock = (statistics.median(figures) for figures in zip(*found, strict=True))
        print(f"{name:<16}{cpu * 1000:>7.0f} ms{cpu / bare:>9.1f}{clock * 1000:>8.0f} ms")
    return 0


def _ended(command: Sequence[str]) -> Start:
    began = time.monotonic()
    cpu = _collected(subprocess.Popen(command))
    return Start(cpu, time.monotonic() - began)


def _answering(command: Sequence[str]) -> Start:
    """Start an agent, wait until it answers, and end it at once."""
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "output").open("wb") as output:
        ports = _free_ports()
        configuration = Path(folder) / "agent.json"
        configuration.write_text(json.dumps(_configuration(folder, ports)))
        began = time.monotonic()
        agent = subprocess.Popen(
            [*command, "agent", "-dev", "-config-file", str(configuration)],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            while not _answers(ports["http"]):
                if agent.poll() is not None or time.monotonic() - began > _PATIENCE:
                    raise SystemExit(f"{command[0]} does not start: {(Path(folder) / 'output').read_text()}")
                time.sleep(0.005)
            clock = time.monotonic() - began
        finally:
            agent.kill()
        return Start(_collected(agent), clock)


def _collected(child: subprocess.Popen[bytes]) -> float:
    """Wait for its end; what it took of the processors."""
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_utime + usage.ru_stime


def _configuration(folder: str, ports: Mapping[str, int]) -> Mapping[str, object]:
    return {
        "data_dir": f"{folder}/data",
        "bind_addr": "127.0.0.1",
        "connect": {"enabled": True},
        "ports": dict(ports),
        "services": [{"name": "web", "port": 8080}],
    }


def _free_ports() -> Mapping[str, int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in _PORTS]
    try:
        return {name: each.getsockname()[1] for name, each in zip(_PORTS, sockets, strict=True)}
    finally:
        for each in sockets:
            each.close()


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/agent/self", timeout=_PATIENCE) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(main())
