"""What a thousand idle managed proxies cost their agent: ``python -m benchmarks.idle_supervision [--unchecked]``.

One agent starts that many proxies, tiny programs that sleep. Their checks connect to ports on which this program
listens, unless they are switched off: then it is supervision alone that is measured. The agent's processor time is
taken over some seconds, once every check has passed, and told in per cent of a core; its own time alone counts,
whatever else the machine does. Exit code 1 when the figure reaches the limit.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

#: Per cent of one core, as the project promises.
LIMIT = 1.0
_TICKS = os.sysconf("SC_CLK_TCK")
_PATIENCE = 240.0
#: Where the checks connect. Proxies bind elsewhere, so the agent finds their ports free.
_LISTENING = "127.0.0.9"


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--proxies", type=int, default=1000)
    options.add_argument("--seconds", type=float, default=20.0)
    options.add_argument("--unchecked", action="store_true", help="switch the checks of the proxies off")
    given = options.parse_args()
    ports = range(10000, 10000 + 2 * given.proxies)
    if not given.unchecked:
        _listen(ports)
    with tempfile.TemporaryDirectory() as folder:
        agent, port = _start(Path(folder), given.proxies, ports, unchecked=given.unchecked)
        pids: list[int] = []
        try:
            began = time.monotonic()
            pids = _await_running(port, given.proxies)
            up = time.monotonic() - began
            time.sleep(3.0)  # what the start left to do, such as the last writes
            before = _descriptors(agent.pid), _resident(agent.pid)
            busy = _cpu(agent.pid)
            time.sleep(given.seconds)
            percent = (_cpu(agent.pid) - busy) / given.seconds * 100
            after = _descriptors(agent.pid), _resident(agent.pid)
        finally:
            agent.kill()
            agent.wait()
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)
    checks = "without checks" if given.unchecked else "with their checks"
    print(f"{given.proxies} proxies {checks} were up after {up:.1f} s")
    print(f"descriptors {before[0]} -> {after[0]}, resident MiB {before[1]:.0f} -> {after[1]:.0f}")
    print(f"idle supervision: {percent:.2f} % of a core over {given.seconds:g} s (limit {LIMIT:g} %)")
    return 0 if percent < LIMIT else 1


def _listen(ports: range) -> None:
    """Accept whoever connects to one of these ports, and hang up."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, len(ports) + 1000), most))
    waiting = selectors.DefaultSelector()
    for port in ports:
        waiting.register(socket.create_server((_LISTENING, port)), selectors.EVENT_READ)

    def accept() -> None:
        while True:
            for key, _ in waiting.select():
                listener = key.fileobj
                assert isinstance(listener, socket.socket)
                listener.accept()[0].close()

    threading.Thread(target=accept, daemon=True).start()


def _start(folder: Path, count: int, ports: range, *, unchecked: bool) -> tuple[subprocess.Popen[bytes], int]:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
    check = {"disable_tcp_check": True} if unchecked else {"tcp_check_address": _LISTENING}
    proxy = {"command": ["/bin/sleep", "100000"], "config": check}
    services = [{"name": f"s{n}", "port": 1, "connect": {"proxy": proxy}} for n in range(count)]
    config = {
        "data_dir": str(folder / "data"),
        "bind_addr": "127.0.0.1",
        "log_level": "WARN",
        "ports": {"http": port, "dns": -1, "proxy_min_port": ports[0], "proxy_max_port": ports[-1]},
        "connect": {"enabled": True, "proxy": {"allow_managed_root": True}},
        "services": services,
    }
    (folder / "agent.json").write_text(json.dumps(config))
    command = [sys.executable, "-m", "proxyproof", "agent", "-config-file", str(folder / "agent.json")]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL), port


def _await_running(port: int, count: int) -> list[int]:
    """The pids, once all run, and all checks pass that there are."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        with suppress(OSError):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/agent/connect/proxies") as answer:
                views = json.load(answer)
            pids = [view["PID"] for view in views if view["State"] == "running"]
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/agent/checks") as answer:
                passing = [check["Status"] == "passing" for check in json.load(answer).values()]
            if len(pids) == count and all(passing):
                return pids
        time.sleep(0.2)
    raise SystemExit(f"not all of {count} proxies run after {_PATIENCE:g} s")


def _cpu(pid: int) -> float:
    """Seconds of processor time, in the kernel and outside of it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def _resident(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


if __name__ == "__main__":
    sys.exit(main())
