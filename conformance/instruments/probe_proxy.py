"""A custom proxy that tells what the agent did to it, and misbehaves on request.

This file is two things. Imported, it offers :class:`ProbeProxy`, which a check puts into a service definition as the
``command``. Executed by the agent (from a copy in the check's folder, under ``python -I -S``, so that it starts
fast and needs nothing installed), it is that proxy: it appends JSON lines to its journal.

Journal lines have ``event``, ``pid`` and ``time``; ``start`` adds the other fields of :class:`ProbeStart`, ``signal``
the signal's name, ``listening`` the port.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple


class ProbeStart(NamedTuple):
    """One start of the probe: everything that the agent gave it.

    ``time`` is the machine's monotonic clock in seconds; ``child`` the pid of its child, if it has one.
    """

    pid: int
    time: float
    argv: list[str]
    environment: dict[str, str]
    directory: str
    child: int | None


class ProbeProxy:
    """A probe whose journal and script lie in ``folder``, and which ``python`` executes.

    ``ignore_sigint`` lets it survive that signal; ``exit_after`` (seconds) and ``exit_code`` make it end by itself;
    ``spawn_child`` gives it a child that sleeps; ``listen`` makes it fetch its configuration from the agent and
    accept connections on ``bind_port``; ``announce`` makes it send ``READY=1`` to ``NOTIFY_SOCKET`` once it is
    permitted to (:meth:`permit`); ``say`` is written to stdout and ``complain`` to stderr at each start.
    """

    def __init__(
        self,
        folder: Path,
        *,
        python: str = sys.executable,
        ignore_sigint: bool = False,
        exit_after: float | None = None,
        exit_code: int = 0,
        spawn_child: bool = False,
        listen: bool = False,
        announce: bool = False,
        say: str = "",
        complain: str = "",
    ) -> None:
        self._journal = folder / "journal.jsonl"
        self._journal.touch()
        self._permission = folder / "permission"
        script = folder / "probe.py"
        script.write_bytes(Path(__file__).read_bytes())
        behaviour = {
            "ignore_sigint": ignore_sigint,
            "exit_after": exit_after,
            "exit_code": exit_code,
            "spawn_child": spawn_child,
            "listen": listen,
            "announce": str(self._permission) if announce else None,
            "say": say,
            "complain": complain,
        }
        #: What goes into ``connect.proxy.command``.
        self.command: list[str] = [
            python,
            "-I",
            "-S",
            str(script),
            str(self._journal),
            json.dumps(behaviour),
        ]

    def permit(self) -> None:
        """Let it announce itself, now or when it is started."""
        self._permission.touch()

    def events(self, kind: str) -> list[dict[str, Any]]:
        """The journal's lines of one kind, in order."""
        lines = self._journal.read_text(encoding="utf-8").splitlines()
        return [event for event in map(json.loads, lines) if event["event"] == kind]

    def starts(self) -> list[ProbeStart]:
        """Every start so far."""
        return [
            ProbeStart(**{name: event[name] for name in ProbeStart._fields}) for event in self.events("start")
        ]

    def signals(self) -> list[tuple[int, str]]:
        """Every signal so far that can be caught: pid and name, such as ``SIGINT``."""
        return [(event["pid"], event["signal"]) for event in self.events("signal")]


def _tell(journal: str, event: str, **fields: Any) -> None:
    line = json.dumps({"event": event, "pid": os.getpid(), "time": time.monotonic(), **fields}) + "\n"
    descriptor = os.open(journal, os.O_WRONLY | os.O_APPEND)
    os.write(descriptor, line.encode())
    os.close(descriptor)


def _listen(journal: str) -> Any:
    """Listen as the agent's configuration endpoint says; returns the socket, which accepts in its backlog."""
    import http.client
    import socket

    address = os.environ["CONSUL_HTTP_ADDR"].rpartition("//")[2]
    connection = http.client.HTTPConnection(address, timeout=10)
    connection.request(
        "GET",
        f"/v1/agent/connect/proxy/{os.environ['CONNECT_PROXY_ID']}",
        headers={"X-Consul-Token": os.environ["CONNECT_PROXY_TOKEN"]},
    )
    config = json.loads(connection.getresponse().read())["Config"]
    listener = socket.create_server((config["bind_address"], config["bind_port"]))
    _tell(journal, "listening", port=config["bind_port"])
    return listener


def _announce(permission: str) -> None:
    """Tell whoever started it that it is ready, once the file is there."""
    import socket

    while not os.path.exists(permission):
        time.sleep(0.02)
    address = os.environ["NOTIFY_SOCKET"]
    address = "\0" + address[1:] if address.startswith("@") else address
    socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"READY=1", address)


def _run(journal: str, behaviour: Mapping[str, Any]) -> int:
    def caught(number: int, frame: object) -> None:
        name = signal.Signals(number).name
        _tell(journal, "signal", signal=name)
        if not (number == signal.SIGINT and behaviour["ignore_sigint"]):
            os._exit(behaviour["exit_code"])

    for number in (
        signal.SIGINT,
        signal.SIGTERM,
        signal.SIGHUP,
        signal.SIGQUIT,
        signal.SIGUSR1,
        signal.SIGUSR2,
    ):
        signal.signal(number, caught)
    print(behaviour["say"], end="", flush=True)
    print(behaviour["complain"], end="", file=sys.stderr, flush=True)
    child = os.fork() if behaviour["spawn_child"] else None
    while child == 0:
        signal.pause()
    listener = _listen(journal) if behaviour["listen"] else None
    _tell(journal, "start", argv=sys.argv, environment=dict(os.environ), directory=os.getcwd(), child=child)
    if behaviour["announce"] is not None:
        _announce(behaviour["announce"])
    if behaviour["exit_after"] is not None:
        time.sleep(behaviour["exit_after"])
        return int(behaviour["exit_code"])
    while listener is None or listener.fileno() >= 0:
        signal.pause()
    return 0


if __name__ == "__main__":
    sys.exit(_run(sys.argv[1], json.loads(sys.argv[2])))
