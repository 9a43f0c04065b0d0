"""Two hops of mutual TLS: the built-in proxy, direct connections and every peer that is installed, in one run.

``python -m benchmarks.two_hops [--seconds 4] [--only NAME,...]`` prints a table: throughput (Gbit/s) of 1 and 4
streams, CPU seconds that the two proxies spend per GiB of one stream, round trip of 64 bytes (microseconds), new
connections per second from 4 clients; and the ratios to haproxy, or to direct without it. CPU time is the figure that
a busy machine disturbs least. All on loopback, with the same certificates. Figures of different runs or machines do not
compare; ratios within a run do, to some 15 %.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import load

NGINX_STREAM = Path("/usr/lib/nginx/modules/ngx_stream_module.so")


@dataclass(frozen=True, kw_only=True)
class Route:
    """Where to connect to reach the sink and the echo."""

    sink: int
    echo: int


@dataclass(frozen=True, kw_only=True)
class Figures:
    """One row of the table."""

    one: float
    four: float
    cpu: float
    p50: float
    p99: float
    opened: float


class Bench:
    """The applications, the agent, the certificates and the processes of one run."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.directory = directory
        self.stack = stack
        self.sink, self.echo = free_ports(2)
        self._sessions: list[int] = []
        self.run([sys.executable, "-m", "benchmarks.load", "sink", str(self.sink)])
        self.run([sys.executable, "-m", "benchmarks.load", "echo", str(self.echo)])
        for port in (self.sink, self.echo):
            wait_for(port)
        self._sessions.clear()

    def agent(self, *services: Mapping[str, Any]) -> None:
        """Start an agent for these services; their proxies count as processes of the route, the agent does not."""
        (port,) = free_ports(1)
        options = {
            "connect": {"proxy": {"allow_managed_root": True}},
            "log_level": "INFO",
            "services": services,
        }
        path = self.directory / "agent.json"
        path.write_text(json.dumps(options))
        flags = ["-dev", "-config-file", str(path), "-http-port", str(port), "-dns-port", "-1"]
        pid = self.run([sys.executable, "-m", "proxyproof", "agent", *flags])
        wait_for(port)
        for name in ("near", "far"):
            leaf = ask(port, f"/v1/agent/connect/ca/leaf/{name}")
            (self.directory / f"{name}.pem").write_text(leaf["CertPEM"] + leaf["PrivateKeyPEM"])
        roots = ask(port, "/v1/agent/connect/ca/roots")
        (self.directory / "roots.pem").write_text(roots["Roots"][0]["RootCert"])
        self._sessions = [
            int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        ]

    def run(self, command: list[str]) -> int:
        """Start a process that ends with the run, and give its pid; its output is in the directory."""
        log = self.stack.enter_context((self.directory / "log").open("ab"))
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        self._sessions.append(process.pid)
        self.stack.callback(_end, process)
        return process.pid

    def cpu_seconds(self) -> float:
        """What the processes of the route have used so far, with their children."""
        ticks = 0
        for path in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                fields = path.read_text().rpartition(")")[2].split()
                if int(fields[3]) in self._sessions:
                    ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")


def direct(bench: Bench) -> Route:
    return Route(sink=bench.sink, echo=bench.echo)


def built_in(bench: Bench) -> Route:
    """Managed proxies of an agent of ours, each connection authorized; the source side has the two upstreams."""
    sink, echo, public, far_sink, far_echo = free_ports(5)
    upstreams = [
        {"destination_name": "sink", "local_bind_port": sink},
        {"destination_name": "echo", "local_bind_port": echo},
    ]
    bench.agent(
        _service("near", bench.sink, {"config": {"bind_port": public}, "upstreams": upstreams}),
        _service("sink", bench.sink, {"config": {"bind_port": far_sink}}),
        _service("echo", bench.echo, {"config": {"bind_port": far_echo}}),
    )
    wait_for(far_sink)
    wait_for(far_echo)
    return _open(sink, echo)


def _service(name: str, port: int, proxy: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "port": port, "connect": {"proxy": proxy}}


def haproxy(bench: Bench) -> Route:
    bench.agent()
    sink, echo, far_sink, far_echo = free_ports(4)
    verify = f"ssl crt {bench.directory}/%s.pem ca-file {bench.directory}/roots.pem verify required"
    common = "global\n nbthread 2\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 1h\n timeout server 1h\n"
    for side, text in {
        "near": "".join(
            f"listen l{here}\n bind 127.0.0.1:{here}\n server s 127.0.0.1:{there} {verify % 'near'}\n"
            for here, there in ((sink, far_sink), (echo, far_echo))
        ),
        "far": "".join(
            f"listen l{here}\n bind 127.0.0.1:{here} {verify % 'far'}\n server s 127.0.0.1:{there}\n"
            for here, there in ((far_sink, bench.sink), (far_echo, bench.echo))
        ),
    }.items():
        path = bench.directory / f"haproxy-{side}.cfg"
        path.write_text(common + text)
        bench.run(["haproxy", "-db", "-f", str(path)])
    return _open(sink, echo)


def nginx(bench: Bench) -> Route:
    bench.agent()
    sink, echo, far_sink, far_echo = free_ports(4)
    near, far, roots = (bench.directory / f"{name}.pem" for name in ("near", "far", "roots"))
    up = (
        f"proxy_ssl on; proxy_ssl_certificate {near}; proxy_ssl_certificate_key {near};"
        f" proxy_ssl_verify off; proxy_ssl_protocols TLSv1.2 TLSv1.3; proxy_ssl_trusted_certificate {roots};"
    )
    down = (
        f"ssl_certificate {far}; ssl_certificate_key {far}; ssl_verify_client on;"
        f" ssl_client_certificate {roots}; ssl_protocols TLSv1.2 TLSv1.3;"
    )
    for side, servers in {
        "near": ((sink, "", far_sink, up), (echo, "", far_echo, up)),
        "far": ((far_sink, " ssl", bench.sink, down), (far_echo, " ssl", bench.echo, down)),
    }.items():
        text = "".join(
            f"server {{ listen 127.0.0.1:{here}{tls}; proxy_pass 127.0.0.1:{there}; {options} }}\n"
            for here, tls, there, options in servers
        )
        path = bench.directory / f"nginx-{side}.conf"
        path.write_text(
            f"load_module {NGINX_STREAM};\nworker_processes 2; daemon off; pid {bench.directory}/{side}.pid;\n"
            f"error_log {bench.directory}/log;\nevents {{}}\nstream {{ tcp_nodelay on;\n{text}}}\n"
        )
        bench.run(["nginx", "-e", str(bench.directory / "log"), "-c", str(path)])
    return _open(sink, echo)


def stunnel(bench: Bench) -> Route:
    bench.agent()
    sink, echo, far_sink, far_echo = free_ports(4)
    for side, client, pairs in (
        ("near", "yes", ((sink, far_sink), (echo, far_echo))),
        ("far", "no", ((far_sink, bench.sink), (far_echo, bench.echo))),
    ):
        text = (
            f"foreground = yes\npid =\ndebug = 3\nsocket = l:TCP_NODELAY=1\nsocket = r:TCP_NODELAY=1\n"
            f"cert = {bench.directory}/{side}.pem\nCAfile = {bench.directory}/roots.pem\nverifyChain = yes\n"
        )
        for here, there in pairs:
            text += f"[s{here}]\nclient = {client}\naccept = 127.0.0.1:{here}\nconnect = 127.0.0.1:{there}\n"
        path = bench.directory / f"stunnel-{side}.conf"
        path.write_text(text)
        bench.run(["stunnel4", str(path)])
    return _open(sink, echo)


ROUTES: dict[str, tuple[Callable[[Bench], Route], Callable[[], object]]] = {
    "direct": (direct, lambda: True),
    "proxyproof": (built_in, lambda: True),
    "haproxy": (haproxy, lambda: shutil.which("haproxy")),
    "nginx": (nginx, lambda: shutil.which("nginx") and NGINX_STREAM.exists()),
    "stunnel": (stunnel, lambda: shutil.which("stunnel4")),
}


def measure(name: str, seconds: float) -> Figures:
    """One row, with processes of its own."""
    with _bench() as bench:
        route = ROUTES[name][0](bench)
        trips = load.latency(route.echo, seconds=seconds)
        used = bench.cpu_seconds()
        one = load.throughput(route.sink, streams=1, seconds=seconds)
        used = bench.cpu_seconds() - used
        return Figures(
            one=one,
            four=load.throughput(route.sink, streams=4, seconds=seconds),
            cpu=used / (one * seconds / 8 * 1e9 / (1 << 30)),
            p50=trips.p50,
            p99=trips.p99,
            opened=load.connections(route.echo, clients=4, seconds=seconds),
        )


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago, all different."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def ask(port: int, path: str) -> Any:
    """A decoded answer of the agent."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
        return json.load(answer)


def wait_for(port: int, *, say: bytes = b"") -> None:
    """Until something listens on ``port`` (and answers ``say`` with as many bytes), for at most 20 s."""
    deadline = time.monotonic() + 20
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port)) as sock:
                sock.settimeout(5)
                sock.sendall(say)
                if say and not sock.recv(len(say)):
                    raise ConnectionError("no answer")
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def _open(sink: int, echo: int) -> Route:
    wait_for(sink)
    wait_for(echo, say=b"hello")
    return Route(sink=sink, echo=echo)


@contextmanager
def _bench() -> Iterator[Bench]:
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        yield Bench(Path(directory), stack)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=4.0, help="length of each measurement")
    parser.add_argument("--only", default=",".join(ROUTES), help="rows to measure")
    options = parser.parse_args()
    rows: dict[str, Figures] = {}
    head = f"{'':12}{'1 stream':>10}{'4 streams':>10}{'cpu s/GiB':>11}{'p50 us':>9}{'p99 us':>9}{'conn/s':>9}"
    print(head, flush=True)
    for name in options.only.split(","):
        if not ROUTES[name][1]():
            print(f"{name:12} is not installed")
            continue
        row = rows[name] = measure(name, options.seconds)
        print(
            f"{name:12}{row.one:10.2f}{row.four:10.2f}{row.cpu:11.2f}{row.p50:9.0f}{row.p99:9.0f}{row.opened:9.0f}",
            flush=True,
        )
    base = "haproxy" if "haproxy" in rows else "direct"
    if base in rows:
        print(f"\nratios to {base}\n{head}")
        for name, row in rows.items():
            other = rows[base]
            cpu = row.cpu / other.cpu if other.cpu else 0
            print(
                f"{name:12}{row.one / other.one:10.2f}{row.four / other.four:10.2f}{cpu:11.2f}"
                f"{row.p50 / other.p50:9.2f}{row.p99 / other.p99:9.2f}{row.opened / other.opened:9.2f}"
            )


if __name__ == "__main__":
    main()
