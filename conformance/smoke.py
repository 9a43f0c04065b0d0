"""Judges an adapter, not what is behind it: does it do what :mod:`conformance.targets.protocol` says?

The questions are few, each needs what those before it showed, and an adapter that passes is worth a run.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from conformance.instruments import ports
from conformance.instruments.api import ApiClient, Unreachable
from conformance.instruments.history import History
from conformance.instruments.processes import Process
from conformance.plugin.household import VARIABLE, end_run
from conformance.requirements import Feature
from conformance.targets import protocol
from conformance.targets.errors import AdapterError
from conformance.targets.exec import Adapter

_WITHIN_SECONDS = 30.0
_POLL_SECONDS = 0.05
_AGENT = "smoke"


class SmokeFailure(Exception):
    """The adapter does not do its part; the text says what was expected."""


@dataclass(frozen=True, kw_only=True)
class Answered:
    """One question and what came of it; ``problem`` is empty when all is well."""

    question: str
    problem: str


@dataclass
class _Bench:
    adapter: Adapter
    folder: Path
    port: int
    pids: list[int] = field(default_factory=list)

    def start(self) -> None:
        (self.folder / "definitions").mkdir(exist_ok=True)
        options = {"ports": {"http": self.port, "dns": -1, "grpc": -1}}
        (self.folder / "agent.json").write_bytes(msgspec.json.encode(options))
        flags = ["-dev", "-bind", "127.0.0.1", "-client", "127.0.0.1", "-node", "smoke"]
        files = [
            "-config-file",
            str(self.folder / "agent.json"),
            "-config-dir",
            str(self.folder / "definitions"),
        ]
        started = self.adapter.ask(
            protocol.Start(
                agent=_AGENT,
                flags=[*flags, *files],
                prefix=[],
                environment={
                    "PATH": "/usr/local/bin:/usr/bin:/bin",
                    "CHECKPOINT_DISABLE": "1",
                    VARIABLE: self.folder.name,
                },
                directory=str(self.folder),
                output=str(self.folder / "output.log"),
            ),
            protocol.Started,
        )
        self.pids.append(started.pid)

    def exit_code(self) -> int | None:
        return self.adapter.ask(protocol.Status(agent=_AGENT), protocol.State).exit_code

    def await_end(self, what: str) -> int:
        _until(lambda: self.exit_code() is not None, f"status tells of the end after {what}")
        code = self.exit_code()
        assert code is not None
        return code

    def answers(self) -> bool:
        if (code := self.exit_code()) is not None:
            said = (self.folder / "output.log").read_text(errors="replace").strip()[-300:]
            raise SmokeFailure(f"the agent ended with exit code {code} instead of answering; it said: {said}")
        try:
            return (
                ApiClient(port=self.port, history=History(), timeout=5.0).get("/v1/agent/self").status == 200
            )
        except Unreachable:
            return False


def smoke(executable: str) -> Iterator[Answered]:
    """Ask each question in turn; the first problem ends it, because the rest would only follow from it."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="proxyproof-smoke-")))
        allocator = ports.PortAllocator()
        stack.callback(allocator.close)
        stack.callback(end_run, folder.name)  # what an adapter that does not do its part left running
        adapter = Adapter(executable)
        bench = _Bench(adapter, folder, allocator.port())
        entered = False
        for question, ask in _QUESTIONS.items():
            problem = ""
            try:
                if not entered:
                    stack.enter_context(adapter)
                    entered = True
                ask(bench)
            except (AdapterError, SmokeFailure) as error:
                problem = str(error)
            yield Answered(question=question, problem=problem)
            if problem:
                return


def _introduces_itself(bench: _Bench) -> None:
    told = bench.adapter.ask(protocol.Hello(), protocol.Adapted)
    unknown = set(told.features) - set(Feature)
    if not told.name or unknown:
        raise SmokeFailure(
            f"hello must give a name and known features, not {sorted(unknown) or 'an empty name'}"
        )


def _refuses(bench: _Bench, line: bytes, what: str) -> None:
    told = bench.adapter.send(line)
    try:
        msgspec.json.decode(told, type=protocol.Refusal)
    except msgspec.MsgspecError as error:
        raise SmokeFailure(
            f'{what} must be answered with {{"ok": false, "error": ...}}, not {told.decode(errors="replace")}'
        ) from error


def _refuses_nonsense(bench: _Bench) -> None:
    _refuses(bench, b"{", "a line that is no JSON")
    _refuses(bench, b'{"command": "dance"}', "an unknown command")
    _refuses(bench, b'{"command": "status", "agent": "nobody"}', "an agent that was never started")


def _starts(bench: _Bench) -> None:
    bench.start()
    try:
        Process.of(bench.pids[-1])
    except ProcessLookupError:
        raise SmokeFailure(f"start gave pid {bench.pids[-1]}, and this machine has no such process") from None
    _until(bench.answers, "the agent answers /v1/agent/self")


def _reloads(bench: _Bench) -> None:
    bench.adapter.ask(protocol.Reload(agent=_AGENT), protocol.Answer)
    _until(bench.answers, "the agent answers after a reload")


def _stops(bench: _Bench) -> None:
    bench.adapter.ask(protocol.Stop(agent=_AGENT, signal="TERM"), protocol.Answer)
    bench.await_end("stop")


def _restarts_and_crashes(bench: _Bench) -> None:
    bench.start()
    _until(bench.answers, "an agent with the name of one that ended answers")
    bench.adapter.ask(protocol.Crash(agent=_AGENT), protocol.Answer)
    code = bench.await_end("crash")
    if code != -9:
        raise SmokeFailure(f"the exit code after a crash must be -9 (SIGKILL), status says {code}")


def _installs(bench: _Bench) -> None:
    if not bench.adapter.ask(protocol.Hello(), protocol.Adapted).installs:
        return
    for place in ("first", "second", "second"):
        bench.adapter.ask(protocol.Install(place=place), protocol.Answer)
        bench.start()
        _until(bench.answers, f"an agent of the program at the {place} place answers")
        bench.adapter.ask(protocol.Crash(agent=_AGENT), protocol.Answer)
        bench.await_end("crash")


def _cleans_up(bench: _Bench) -> None:
    bench.start()
    process = Process.of(bench.pids[-1])
    bench.adapter.ask(protocol.Bye(), protocol.Answer)
    code = bench.adapter.exit_code(seconds=_WITHIN_SECONDS)
    if code != 0:
        raise SmokeFailure(f"after bye the adapter must end with exit code 0, not {code}")
    _until(lambda: not process.alive(), "bye ends the agents that still run")


_QUESTIONS: dict[str, Callable[[_Bench], None]] = {
    "says what it adapts": _introduces_itself,
    "refuses what it does not know, and goes on": _refuses_nonsense,
    "starts an agent that answers": _starts,
    "reloads it": _reloads,
    "stops it and tells its exit code": _stops,
    "starts it again, and crashes it": _restarts_and_crashes,
    "installs the program elsewhere, if it says so": _installs,
    "ends with its agents": _cleans_up,
}


def _until(predicate: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _WITHIN_SECONDS
    while not predicate():
        if time.monotonic() > deadline:
            raise SmokeFailure(f"within {_WITHIN_SECONDS:g} s it did not happen that {what}")
        time.sleep(_POLL_SECONDS)
