"""The stories of ``scenarios/`` with real processes: an agent, its proxies, the loopback interface.

They are those of this machine, or of a container that is a machine of its own. The agent is the reference, installed in
a folder of its own so that it can be upgraded: moved elsewhere. Waiting, budgets and clearing away are those of a check
(:class:`conformance.plugin.lab.Lab`).
"""

from __future__ import annotations

import json
import re
import signal
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from conformance import budgets
from conformance.instruments.api import Unreachable
from conformance.instruments.echo import EchoServer
from conformance.instruments.processes import Process
from conformance.plugin.lab import Lab
from conformance.plugin.session import lone_lab
from conformance.targets import Target, TargetChoice, TargetError, resolve
from conformance.targets.privileges import Privileges
from proxyproof.scenarios import IN_FILES, Action, Expectation, Impossible, Unavailable, Unfulfilled

#: What a story calls a program, as a command. What it calls builtin needs none.
_COMMANDS: Mapping[str, tuple[str, ...]] = {
    "builtin": (),
    "polite": ("/bin/sleep", "3600"),
    "deaf": ("/bin/sh", "-c", "trap '' INT; while :; do sleep 1; done"),
    "crashing": ("/bin/false",),
    "family": ("/bin/sh", "-c", "sleep 3600 & wait"),
}
#: What the implementation may do wrong; anything else is a fault of this module.
_FAILURES = (AssertionError, pytest.fail.Exception, Unreachable, ProcessLookupError, ConnectionError)
#: Registration over HTTP, and less patience with proxies that do not end: the stories are about other things.
_OPTIONS = {
    "connect": {
        "proxy": {"allow_managed_api_registration": True, "supervision": {"stop_grace": "1s"}},
    }
}
_MESSAGE = b"is the connection still open?"


def process_world() -> AbstractContextManager[ProcessWorld]:
    """A world of this machine for one story; every process that it leaves is ended, and its folder removed.

    Raises :class:`Unavailable` when agents cannot be run here.
    """
    return _world(TargetChoice(), name="processes")


def container_world() -> AbstractContextManager[ProcessWorld]:
    """The same in a container of the suite's own image. Raises :class:`Unavailable` also where that is missing."""
    from conformance.containers.images import AGENT  # the library of the engine takes long to import

    return _world(TargetChoice(kind="container", image=AGENT.name, one_file=True), name="containers")


@cache  # many stories are told of one agent
def _tried(choice: TargetChoice) -> tuple[Target, Privileges]:
    target = resolve(choice)
    return target, target.privileges(None)


@contextmanager
def _world(choice: TargetChoice, *, name: str) -> Iterator[ProcessWorld]:
    try:
        target, privileges = _tried(choice)
    except TargetError as error:
        raise Unavailable(str(error)) from error
    with lone_lab(target, privileges, budgets.load()) as lab:
        lab.install("version-1")
        with closing(ProcessWorld(lab, name=name)) as world:
            yield world


class ProcessWorld:
    """One story's agent and what is around it. Programs, pids and addresses are those of where the lab has agents."""

    def __init__(self, lab: Lab, *, name: str = "processes", options: Mapping[str, Any] = _OPTIONS) -> None:
        self.name = name
        self._lab = lab
        self._version = 1
        self._agent = lab.prepare(options=options)
        self._up = False
        self._files: dict[str, Mapping[str, Any]] = {}
        self._ports = {service: lab.port() for service in IN_FILES}
        self._known: dict[str, Process] = {}
        self._refused: set[str] = set()
        self._echo = lab.use(EchoServer())
        self._upstream_port = lab.port()
        self._connection: socket.socket | None = None
        self._stranger: Process | None = None
        self._occupied: list[socket.socket] = []

    def close(self) -> None:
        """Let go of what is not the lab's."""
        for taken in (self._connection, *self._occupied):
            if taken is not None:
                taken.close()

    def do(self, action: Action) -> str:
        doing: Callable[[Action], str | None] = getattr(self, f"_do_{action.verb}")
        try:
            return doing(action) or ""
        except _FAILURES as error:
            raise Unfulfilled(str(error) or type(error).__name__) from error

    def expect(self, expectation: Expectation) -> None:
        subject, state = expectation.subject, expectation.state
        expecting: Callable[[str], None] = getattr(self, f"_expect_{state}")
        try:
            expecting(subject)
        except _FAILURES as error:
            raise Unfulfilled(str(error) or type(error).__name__) from error

    # --- the operator --------------------------------------------------------------------------------

    def _do_start(self, _: Action) -> None:
        self._agent.configure(definitions=list(self._files.values()))
        self._agent.start()
        self._up = True

    def _do_stop(self, _: Action) -> None:
        self._agent.stop()
        self._up = False

    def _do_kill(self, _: Action) -> None:
        self._agent.crash()
        self._up = False

    def _do_upgrade(self, action: Action) -> None:
        self._do_stop(action)
        self._version += 1
        self._lab.install(f"version-{self._version}")
        self._do_start(action)

    def _do_define(self, action: Action) -> None:
        service, command = action.service, _COMMANDS[action.options.get("program", "builtin")]
        upstreams = []
        if upstream := action.options.get("upstream"):
            upstreams = [(upstream, self._upstream_port)]
        if service in IN_FILES:
            proxy: dict[str, Any] = {"command": list(command)} if command else {}
            self._files[service] = self._lab.service(service, port=self._ports[service], proxy=proxy)
            self._reload()
            return
        body: dict[str, Any] = {
            "Name": service,
            "Port": self._echo.port,
            "Connect": {
                "Proxy": {
                    "Command": list(command),
                    "Upstreams": [
                        {"DestinationName": name, "LocalBindPort": port} for name, port in upstreams
                    ],
                }
            },
        }
        self._ask(service, "/v1/agent/service/register", body)

    def _do_remove(self, action: Action) -> None:
        if action.service in IN_FILES:
            del self._files[action.service]
            self._reload()
        else:
            self._ask(action.service, f"/v1/agent/service/deregister/{action.service}", None)

    def _reload(self) -> None:
        if self._up:
            self._agent.reload(definitions=list(self._files.values()))

    def _ask(self, service: str, path: str, body: Mapping[str, Any] | None) -> None:
        refused = self._agent.api.put(path, body).status >= 400
        (self._refused.add if refused else self._refused.discard)(service)

    # --- clients and accidents -----------------------------------------------------------------------

    def _do_connect(self, _: Action) -> None:
        def works() -> bool:
            with suppress(OSError):
                if self._connection is not None:
                    self._connection.close()
                self._connection = socket.create_connection(("127.0.0.1", self._upstream_port), timeout=5)
                return self._echoes()
            return False

        self._lab.until("data_path", works, what="the pair of proxies carries bytes")

    def _do_crash(self, action: Action) -> None:
        process = self._agent.proxy(f"{action.service}-proxy")
        self._known[action.service] = process
        process.signal(signal.SIGKILL)
        self._lab.until("proxy_stop", lambda: not process.alive(), what="the proxy has ended")

    def _do_reboot(self, _: Action) -> str:
        self._lab.lose_power()
        if self._up:
            self._agent.end()  # it has ended: this collects its exit code
            self._up = False
        with suppress(FileNotFoundError, json.JSONDecodeError):  # lost or torn it dates from no boot
            document = json.loads(self._snapshot.read_text())
            document["BootID"] = "the-boot-before"
            self._snapshot.write_text(json.dumps(document))
        return "every process is killed at once, and the snapshot dated to another boot"

    def _do_recycle(self, action: Action) -> str:
        self._stranger = self._lab.use(self._lab.stranger(self._snapshot.stat().st_uid))
        gone = self._known[action.service].pid
        pids = self._snapshot.parent / "pids" / f"{action.service}-proxy.pid"
        for path in (self._snapshot, pids):
            if path.exists():
                path.write_text(re.sub(rf"\b{gone}\b", str(self._stranger.pid), path.read_text()))
        return "pids cannot be chosen: a stranger's is written in place of the proxy's"

    def _do_tear(self, _: Action) -> None:
        if self._snapshot.exists():
            content = self._snapshot.read_bytes()
            self._snapshot.write_bytes(content[: len(content) // 2])

    def _do_lose(self, _: Action) -> None:
        self._snapshot.unlink(missing_ok=True)

    def _do_fill(self, _: Action) -> str:
        self._limit(self._agent.process, "0")
        return "the agent's process may not write to files (RLIMIT_FSIZE)"

    def _do_free(self, _: Action) -> None:
        # Proxies that were started meanwhile have inherited the limit.
        for process in self._lab.processes():
            with suppress(ProcessLookupError):
                self._limit(process, process.file_size_limit()[1])

    def _limit(self, process: Process, size: str) -> None:
        """Limit how far it may write into a file; only a process of the same user is allowed to."""
        command = ("prlimit", "--pid", str(process.pid), f"--fsize={size}:")
        with self._lab.stranger(process.stat().uid, *command) as limiting:
            self._lab.until("teardown", lambda: not limiting.alive(), what="prlimit has ended")
        if process.file_size_limit()[0] != size:
            raise Impossible("prlimit (of util-linux) cannot limit what the agent writes")

    def _do_occupy(self, _: Action) -> None:
        ports = self._agent.proxy_ports
        self._occupied = [socket.create_server(("127.0.0.1", port)) for port in ports[:-1]]

    @property
    def _snapshot(self) -> Path:
        assert self._agent.data_dir is not None
        return self._agent.data_dir / "proxy" / "snapshot.json"

    # --- what must come of it ------------------------------------------------------------------------

    def _expect_runs(self, service: str) -> None:
        self._expect_one(service, lambda process: True, f"one process of {service}-proxy runs")

    def _expect_unchanged(self, service: str) -> None:
        known = [self._known[service]]
        self._lab.holds(
            "blink",
            lambda: self._agent.proxies(f"{service}-proxy") == known,
            what=f"{service} keeps its proxy, process {known[0].pid}",
        )

    def _expect_replaced(self, service: str) -> None:
        old = self._known[service]

        def another(process: Process) -> bool:
            session = process.stat().sid
            if process == old or session != old.pid:
                return process != old
            # What the old one has started is in its session, unless its pid was given anew: after a reboot of a
            # container the same few come again.
            with suppress(ProcessLookupError):
                return Process.of(session) != old
            return False

        self._expect_one(service, another, f"one process of {service}-proxy runs, and not that of {old.pid}")

    def _expect_one(self, service: str, right: Callable[[Process], bool], what: str) -> None:
        def only() -> Process | None:
            found = self._agent.proxies(f"{service}-proxy")
            return found[0] if len(found) == 1 and right(found[0]) else None

        process = self._lab.until("proxy_restart", only, what=what)
        assert process is not None
        self._known[service] = process

    def _expect_waits(self, service: str) -> None:
        proxy_id = f"{service}-proxy"

        def waits() -> bool:
            told = [check for check in self._agent.checks().values() if check["ServiceID"] == proxy_id]
            return not self._agent.proxies(proxy_id) and any(check["Status"] == "critical" for check in told)

        self._lab.until("proxy_restart", waits, what=f"{proxy_id} has no process, and its check is critical")

    def _expect_gone(self, service: str) -> None:
        proxy_id = f"{service}-proxy"
        pid_file = self._snapshot.parent / "pids" / f"{proxy_id}.pid"

        def gone() -> bool:
            records = self._agent.services().keys() & {service, proxy_id}
            return not self._agent.proxies(proxy_id) and not records and not pid_file.exists()

        self._lab.until("proxy_stop", gone, what=f"process, record and pid file of {proxy_id} are gone")

    def _expect_refused(self, service: str) -> None:
        assert service in self._refused, "it was accepted"

    def _expect_open(self, _: str) -> None:
        assert self._echoes(), "what is sent on it does not come back"

    def _expect_unharmed(self, _: str) -> None:
        stranger = self._stranger
        assert stranger is not None
        self._lab.holds("blink", stranger.alive, what="the stranger lives")

    def _echoes(self) -> bool:
        assert self._connection is not None, "there is no connection"
        received = b""
        with suppress(OSError):
            self._connection.sendall(_MESSAGE)
            while len(received) < len(_MESSAGE) and (piece := self._connection.recv(len(_MESSAGE))):
                received += piece
        return received == _MESSAGE
