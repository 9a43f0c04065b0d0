"""How fast the agent answers, beside the least that a server of the same kind can do.

``python -m benchmarks.agent_api [--seconds S] [--services N]`` measures, in one run and in turn, on loopback: a bare
Starlette application that echoes, on the same server and event loop, then an agent of ours with its state on disk.

====================  ====================================================================================
row                   what is done, by four connections that are kept open
====================  ====================================================================================
echo                  POST of an authorization's body, sent back as it is
authorize             POST /v1/agent/connect/authorize
register              PUT /v1/agent/service/register, a new service each time; each is on disk before it is answered
====================  ====================================================================================

Then an agent is started with N services in its configuration: the time until it answers and shows all of them, and its
memory. Ratios to the echo are what to compare; requests per second belong to the machine of that run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import httptools

_CONNECTIONS = 4
_ROUNDS = 3
_PAGE = os.sysconf("SC_PAGE_SIZE")
_READY_SECONDS = 120.0

_ECHO = """
import sys, uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
async def echo(request):
    return Response(await request.body(), media_type="application/json")
app = Starlette(routes=[Route("/", echo, methods=["POST"])])
uvicorn.run(app, port=int(sys.argv[1]), http="httptools", loop="uvloop", log_level="critical", access_log=False)
"""
_AUTHORIZE = json.dumps(
    {"Target": "web", "ClientCertURI": "spiffe://x.consul/ns/default/dc/dc1/svc/db", "ClientCertSerial": "01"}
).encode()

#: Method, path and body of request number n.
Requests = Callable[[int], tuple[str, str, bytes]]


class _Answers:
    """Counts what comes back on one connection; ``failures`` are answers other than 200."""

    def __init__(self) -> None:
        self.failures = 0
        self.complete = asyncio.Event()
        self.parser = httptools.HttpResponseParser(self)

    def on_message_complete(self) -> None:
        self.failures += self.parser.get_status_code() != 200
        self.complete.set()


async def _converse(port: int, requests: Requests, numbers: Iterator[int], deadline: float) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    done = 0
    while time.perf_counter() < deadline:
        method, path, body = requests(next(numbers))
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        answers = _Answers()
        while not answers.complete.is_set():
            if not (piece := await reader.read(1 << 16)):
                raise SystemExit(f"the server on port {port} closed a connection")
            answers.parser.feed_data(piece)
        if answers.failures:
            raise SystemExit(f"{method} {path} was not answered with 200")
        done += 1
    writer.close()
    await writer.wait_closed()
    return done


def _rate(port: int, requests: Requests, numbers: Iterator[int], seconds: float) -> float:
    """Requests per second, over all connections."""

    async def measure() -> float:
        began = time.perf_counter()
        done = await asyncio.gather(
            *(_converse(port, requests, numbers, began + seconds) for _ in range(_CONNECTIONS))
        )
        return sum(done) / (time.perf_counter() - began)

    return asyncio.run(measure())


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def _process(command: list[str], port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A server that accepts connections on ``port``, killed with the block."""
    with tempfile.TemporaryFile() as output:
        child = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            deadline = time.monotonic() + _READY_SECONDS
            while not _accepts(port):
                if child.poll() is not None or time.monotonic() > deadline:
                    output.seek(0)
                    raise SystemExit(
                        f"{command[1]} did not come up: {output.read().decode(errors='replace')[-500:]}"
                    )
                time.sleep(0.005)
            yield child
        finally:
            child.kill()
            child.wait()


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _agent(folder: Path, port: int, services: int) -> list[str]:
    definitions = [{"name": f"service-{number}", "port": 1 + number} for number in range(services)]
    configuration = {
        "data_dir": str(folder / "data"),
        "bind_addr": "127.0.0.1",
        "connect": {"enabled": True},
        "log_level": "ERR",
        "ports": {"http": port, "dns": -1},
        "services": definitions,
    }
    (folder / "agent.json").write_text(json.dumps(configuration))
    return [sys.executable, "-m", "proxyproof", "agent", "-config-file", str(folder / "agent.json")]


def _memory(child: subprocess.Popen[bytes]) -> float:
    """The resident memory of a process, MiB."""
    return int(Path(f"/proc/{child.pid}/statm").read_text().split()[1]) * _PAGE / (1 << 20)


def _known_services(port: int) -> int:
    async def ask() -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /v1/agent/services HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        text = await reader.read()
        writer.close()
        return len(json.loads(text.partition(b"\r\n\r\n")[2]))

    return asyncio.run(ask())


def _start(services: int) -> tuple[float, float]:
    """Seconds until an agent shows that many services, and its memory then (MiB)."""
    with tempfile.TemporaryDirectory() as folder:
        port = _free_port()
        command = _agent(Path(folder), port, services)
        began = time.perf_counter()
        with _process(command, port) as child:
            if (known := _known_services(port)) != services:
                raise SystemExit(f"the agent shows {known} of {services} services")
            return time.perf_counter() - began, _memory(child)


def main(arguments: list[str]) -> int:
    """Measure and print; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.agent_api")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement (%(default)s)")
    parser.add_argument("--services", type=int, default=1000, help="in the large configuration (%(default)s)")
    options = parser.parse_args(arguments)
    registered = iter(range(10**9))

    def register(number: int) -> tuple[str, str, bytes]:
        body = json.dumps({"Name": f"new-{number}", "Port": 1 + number % 60000}).encode()
        return "PUT", "/v1/agent/service/register", body

    rates: dict[str, list[float]] = {"echo": [], "authorize": [], "register": []}
    with tempfile.TemporaryDirectory() as folder:
        echo_port, agent_port = _free_port(), _free_port()
        with (
            _process([sys.executable, "-c", _ECHO, str(echo_port)], echo_port),
            _process(_agent(Path(folder), agent_port, 1), agent_port),
        ):
            rows: dict[str, tuple[int, Requests]] = {
                "echo": (echo_port, lambda number: ("POST", "/", _AUTHORIZE)),
                "authorize": (agent_port, lambda number: ("POST", "/v1/agent/connect/authorize", _AUTHORIZE)),
                "register": (agent_port, register),
            }
            for _ in range(_ROUNDS):
                for name, (port, requests) in rows.items():
                    rates[name].append(_rate(port, requests, registered, options.seconds))
    print(f"{'row':<10} {'requests/s':>10} {'to the echo':>12}  (median of {_ROUNDS}, ratio pair by pair)")
    for name, measured in rates.items():
        ratio = median(mine / echo for mine, echo in zip(measured, rates["echo"], strict=True))
        print(f"{name:<10} {median(measured):>10.0f} {ratio:>12.2f}")
    few = [_start(1) for _ in range(_ROUNDS)]
    many = [_start(options.services) for _ in range(_ROUNDS)]
    for services, measured_starts in ((1, few), (options.services, many)):
        ready, memory = (median(column) for column in zip(*measured_starts, strict=True))
        print(f"{services:>5} services: ready after {ready:.2f} s, {memory:.0f} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
