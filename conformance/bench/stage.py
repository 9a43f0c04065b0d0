"""The processes of a run: started, measured, and ended by the marks in their environment."""

from __future__ import annotations

import os
import resource
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from conformance.bench import load
from conformance.instruments import processes
from conformance.instruments.ports import PortAllocator
from conformance.instruments.processes import Process

#: Marks every process of a run, and whose it is.
RUN, PEER = "PROXYPROOF_BENCH", "PROXYPROOF_BENCH_PEER"
#: Marks agents, whose work does not count, and with them all that they start.
AGENT = "PROXYPROOF_BENCH_AGENT"
#: The agents of all proxies and the applications carry no traffic between two ports: they belong to nobody.
NOBODY = "-"
START_SECONDS = 40.0
_TICKS = os.sysconf("SC_CLK_TCK")


class StageError(Exception):
    """A process of the run does not do what it must; the message says which, and the last that it said."""


class Stage:
    """One run: a folder for files and output, ports, processes. A context manager; on leaving all processes end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = PortAllocator()
        self._run = secrets.token_hex(8)
        self._started: list[tuple[str, subprocess.Popen[bytes]]] = []
        self._known: dict[str, list[Process]] = {}

    def __enter__(self) -> Stage:
        # Thousands of connections: nobody is to be measured by the limit of whoever started the bench.
        self._limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (self._limits[1], self._limits[1]))
        processes.adopt_orphans()
        return self

    def __exit__(self, *raised: object) -> None:
        for _, started in reversed(self._started):
            started.terminate()
        for _, started in self._started:
            _wait(started)
        while left := processes.carrying(RUN, self._run):
            for survivor in left:
                with suppress(ProcessLookupError):
                    survivor.signal(signal.SIGKILL)
                processes.reap(survivor)
        self.ports.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, self._limits)

    def start(self, command: Sequence[str], *, peer: str) -> subprocess.Popen[bytes]:
        """Start a process whose work counts for ``peer``, with what it starts in turn."""
        environment = {**os.environ, RUN: self._run, PEER: peer}
        with (self.folder / f"{peer}.log").open("ab") as log:
            try:
                running = subprocess.Popen(
                    list(command),
                    env=environment,
                    cwd=self.folder,  # where a program leaves what it was not told to put elsewhere
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            except OSError as problem:
                raise StageError(f"{command[0]} cannot be started: {problem.strerror}") from None
        self._started.append((peer, running))
        return running

    def end(self, running: subprocess.Popen[bytes]) -> None:
        """End a process before the run does."""
        self._started = [(owner, started) for owner, started in self._started if started is not running]
        running.terminate()
        _wait(running)

    def application(self) -> int:
        """Start the application behind all proxies; its port."""
        port = self.ports.port()
        command = [sys.executable, "-m", "conformance.bench.applications", str(port)]
        self.start(command, peer=NOBODY)
        self.await_(NOBODY, "the application", lambda: load.ask(port) is not None)
        return port

    def await_(self, peer: str, what: str, asked: Callable[[], bool]) -> None:
        """Until ``asked()`` is true; raising OSError means not yet. :class:`StageError` after a while."""
        deadline = time.monotonic() + START_SECONDS
        problem = "no"
        while time.monotonic() < deadline:
            try:
                if asked():
                    return
            except OSError as error:
                problem = str(error)
            if any(owner == peer and started.poll() is not None for owner, started in self._started):
                raise StageError(f"{what} has ended{self._last_words(peer)}")
            time.sleep(0.05)
        raise StageError(
            f"{what} is not ready after {START_SECONDS:.0f} s ({problem}){self._last_words(peer)}"
        )

    def settle(self, peer: str) -> None:
        """Remember who works for ``peer``, now that all of its processes run."""
        # Proxies that an agent started have left it, but keep the mark; some programs wipe their environment.
        found = [process for process in processes.carrying(PEER, peer) if self._is_ours(process)]
        for owner, running in self._started:
            if owner == peer and running.poll() is None:
                found += processes.descendants(running.pid)
        self._known[peer] = [process for process in dict.fromkeys(found) if not _is_agent(process)]

    def _is_ours(self, process: Process) -> bool:
        return process.environment().get(RUN) == self._run

    def cpu_seconds(self, peer: str) -> float:
        """What the processes of ``peer`` have used so far, in user mode and in the kernel."""
        ticks = 0
        for process in self._known[peer]:
            fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / _TICKS

    def memory(self, peer: str) -> int:
        """Bytes of the processes of ``peer``, what they share counted once."""
        kibibytes = 0
        for process in self._known[peer]:
            for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines():
                name, _, value = line.partition(":")
                if name == "Pss":
                    kibibytes += int(value.split()[0])
        return kibibytes * 1024

    def check(self, peer: str) -> None:
        """:class:`StageError` when one of the processes of ``peer`` has ended."""
        for process in self._known[peer]:
            if not process.alive():
                raise StageError(f"a process of {peer} has ended{self._last_words(peer)}")

    def _last_words(self, peer: str) -> str:
        with suppress(OSError):
            lines = (self.folder / f"{peer}.log").read_text(errors="replace").split("\n")
            return next((f"; its last words: {line.strip()}" for line in reversed(lines) if line.strip()), "")
        return ""


def _wait(running: subprocess.Popen[bytes]) -> None:
    try:
        running.wait(5)
    except subprocess.TimeoutExpired:
        running.kill()
        running.wait()


def _is_agent(process: Process) -> bool:
    """An agent and its helpers carry the mark of the proxies that they start, but not the id of a proxy."""
    environment = process.environment()
    return AGENT in environment and "CONNECT_PROXY_ID" not in environment
